"""Fits of real data against the numbers of other systems, quoted in shared/reference/real_fits.md."""

import warnings

import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pytest
from numpy.testing import assert_allclose
from scipy.optimize import minimize_scalar

from jaxspec import Calibration, Model, Observation, PointSource, Problem, fit, profile_errors, statistics
from jaxspec.folding import fitted_matrix
from jaxspec.quadrature import Bins
from jaxspec.spectra import BlackbodyRadius, LogParabola10, PowerLaw, TBabs, xspec

# -- the Crab nebula by five instruments: Nigro et al. 2019, A&A 625, A10 ----------------------------------------------

RUNS = {
    "fermi": ["obs0"],
    "magic": ["obs5029747", "obs5029748"],
    "hess": ["obs23523", "obs23526", "obs23559", "obs23592"],
    "veritas": ["obs54809", "obs57993"],
    "fact": ["stacked"],
}
RANGES = {"fermi": "0.03-2", "magic": "0.08-30", "hess": "0.66-30", "veritas": "0.15-30", "fact": "0.4-30"}
# W, then amplitude in 1e-11 / (TeV cm2 s), alpha and beta with the signs of the paper. "run" in real_fits.md. Fermi is
# in test_fit.py.
SINGLE = {
    "magic": (89.1710, 4.14545, 2.60044, 0.44250),
    "hess": (143.2222, 4.47441, 2.39290, 0.37193),
}
NAMES = [f"crab.logparabola10.{name}" for name in ("K", "alpha", "beta")]
KEV = 1e-9  # of 1 / (TeV cm2 s) in 1 / (keV cm2 s)


@pytest.fixture(scope="module")
def crab(files):
    """The observations of each instrument."""

    def read(instrument, run):
        path = files / f"joint_crab/{instrument}/pha_{run}.fits"
        observation = Observation.from_ogip(path, name=f"{instrument}-{run}").ignore("bad")
        return observation.notice(f"{RANGES[instrument]} TeV", partial=False)

    return {instrument: [read(instrument, run) for run in runs] for instrument, runs in RUNS.items()}


@pytest.fixture(scope="module")
def everything(crab):
    return [observation for group in crab.values() for observation in group]


def source():
    return PointSource("crab", LogParabola10(K=4e-20, alpha=-2.5, beta=0.24, pivot=1e9))


@pytest.fixture(scope="module")
def fits(crab, everything):
    """The best fit of each instrument that the paper fits alone, and of all."""
    chosen = {name: crab[name] for name in SINGLE} | {"joint": everything}
    return {name: fit(Problem(Model(source()), seen), starts=2) for name, seen in chosen.items()}


@pytest.fixture
def joint(fits):
    return fits["joint"]


@pytest.mark.parametrize("instrument", SINGLE)
def test_the_crab_by_one_instrument_is_that_of_the_paper(fits, instrument):
    best = fits[instrument]
    statistic, amplitude, alpha, beta = SINGLE[instrument]
    assert_allclose(best.statistic, statistic, atol=1e-4, rtol=0)
    published = np.array([amplitude * 1e-11 * KEV, -alpha, beta])
    assert (abs(best.theta - published) < 0.02 * np.array([best.errors[name] for name in NAMES])).all()


def test_the_crab_by_all_is_that_of_the_paper(joint):
    assert_allclose(joint.statistic, 460.2945, atol=0.01, rtol=0)
    assert joint.problem.n_bins == 386
    published = np.array([3.84913e-11 * KEV, -2.505374, 0.236211])
    errors = np.array([1.1435e-12 * KEV, 0.025495, 0.024509])
    assert (abs(joint.theta - published) < 0.02 * errors).all()
    assert_allclose([joint.errors[name] for name in NAMES], errors, rtol=2e-3)


def read_contours(path):
    """The points of each contour; the file is YAML of one shape."""
    contours, name, column = {}, None, None
    for line in path.read_text().splitlines():
        if line.startswith("contour"):
            name = line.rstrip(":")
            contours[name] = {}
        elif line.strip().endswith(":"):
            column = contours[name].setdefault(line.strip().rstrip(":"), [])
        else:
            column.append(float(line.strip().removeprefix("- ")))
    return contours


UNITS = {"amplitude": (0, KEV), "alpha": (1, -1.0), "beta": (2, 1.0)}


@pytest.mark.parametrize("contour", ["amplitude_alpha", "amplitude_beta", "alpha_beta"])
@pytest.mark.parametrize("name", [*SINGLE, "joint"])
def test_the_published_contours_lie_at_one_sigma_of_two_parameters(files, fits, name, contour):
    best = fits[name]
    points = read_contours(files / f"joint_crab/answers/contours_{name}.yaml")[f"contour_{contour}"]
    places = [UNITS[name][0] for name in points]
    (left,) = {0, 1, 2} - set(places)
    scaled = [np.array(values) * UNITS[name][1] for name, values in points.items()]
    rises = []
    for pair in zip(*scaled):

        def deviance(step, pair=pair):
            theta = np.array(best.theta)
            theta[places] = pair
            theta[left] += step * best.errors[NAMES[left]]
            return -2 * float(best.problem.log_likelihood_and_gradient(jnp.asarray(theta))[0])

        rises.append(minimize_scalar(deviance, bounds=(-4, 4), method="bounded").fun + 2 * best.log_likelihood)
    assert len(rises) == 20
    assert_allclose(rises, 2.30, atol=0.05, rtol=0)


# gammapy's own tests, a power law: index, amplitude in 1e-11 / (TeV cm2 s), W ("quoted" in real_fits.md).
HESS = {("obs23523",): (2.817, 5.142, 38.343), ("obs23523", "obs23592"): (2.7806, 5.200, 65.361)}


@pytest.mark.parametrize("runs", HESS)
def test_a_power_law_of_hess_runs_is_that_of_gammapy(files, runs):
    read = [Observation.from_ogip(files / f"joint_crab/hess/pha_{run}.fits").ignore("bad") for run in runs]
    best = fit(Problem(Model(PointSource("crab", PowerLaw(K=5e-20, index=-2.5, pivot=1e9))), read), starts=1)
    index, amplitude, statistic = HESS[runs]
    assert_allclose(best.statistic, statistic, atol=1e-3, rtol=0)
    assert_allclose(best.values["crab.powerlaw.index"], -index, atol=1e-3, rtol=0)
    assert_allclose(best.values["crab.powerlaw.K"], amplitude * 1e-11 * KEV, rtol=1e-3)
    if len(runs) == 1:
        assert_allclose(best.errors["crab.powerlaw.index"], 0.150, atol=1e-3, rtol=0)
        assert_allclose(best.errors["crab.powerlaw.K"], 6.4e-12 * KEV, rtol=0.02)


def test_energy_scales_with_priors_are_those_of_the_paper(everything):
    """Sect. 5.2 of the paper: energies are (1 + z) times the true ones, z of a normal distribution."""
    # github.com/open-gamma-ray-astro/joint-crab, results/fit/fit_joint_systematics.yaml (2018): value and error.
    published = {
        NAMES[0]: (3.880974551e-20, 3.5392879e-21),
        NAMES[1]: (-2.510857652, 0.0376445),
        NAMES[2]: (0.242421921, 0.0275802),
        "fermi": (1.00430589, 0.0449504),
        "magic": (0.99706319, 0.0604886),
        "hess": (1.09911011, 0.0721492),
        "veritas": (0.94418579, 0.0637819),
        "fact": (0.89703933, 0.0652386),
    }
    model = Model(source(), *(Calibration(observation.name) for observation in everything))
    scales = {name: [f"{name}-{run}.calibration.energy_scale" for run in runs] for name, runs in RUNS.items()}
    width = {name: 0.05 if name == "fermi" else 0.15 for name in RUNS}
    for name, (first, *others) in scales.items():
        model = model.thaw(first).with_priors({first: dist.Normal(1, width[name])})
        for other in others:
            model = model.link(other, to=first)
    flat = zip(NAMES, (dist.Uniform(1e-20, 1e-19), dist.Uniform(-5, -1), dist.Uniform(0.001, 1)))
    best = fit(Problem(model.with_priors(dict(flat)), everything), use_priors=True, starts=1)
    for name, (value, error) in published.items():
        found = scales[name][0] if name in scales else name
        assert abs(best.values[found] - value) < 0.02 * error, name
        assert_allclose(best.errors[found], error, rtol=0.015)
    penalty = sum(((best.values[scales[name][0]] - 1) / width[name]) ** 2 for name in RUNS)
    assert_allclose(best.statistic + penalty, 441.2305321, atol=1e-4, rtol=0)


# -- EXOSAT: the worked example of the XSPEC manual, chapter 4 ---------------------------------------------------------


@pytest.fixture(scope="module")
def exosat(files):
    observation = Observation.from_ogip(files / "exosat/s54405.pha", response=files / "exosat/s54405.rsp")
    return observation.ignore("bad", "15.0-**")


def statistic_of(observation, photons):
    """Chi-squared or W of photons / (cm2 s) in each photon bin of the response."""
    response, selection = observation.response, observation.selection()
    expected = selection.exposure * (fitted_matrix(response, selection) @ photons)
    if selection.statistic == "wstat":
        return statistics.wstat(expected, selection.counts, selection.background, selection.ratio).sum()
    return (((selection.counts - expected) / selection.errors) ** 2).sum()


def by_trapezoids(response, spectrum):
    """Photons / (cm2 s) in each photon bin, from the values at its edges alone."""
    low, high = response.energy_low, response.energy_high
    return 0.5 * (high - low) * np.asarray(spectrum(low) + spectrum(high))


# Of an absorbed power law in XSPEC's words: abundances; chi-squared, nH, index, K; errors.
ABSORBED = {
    "phabs": ("angr", (43.8179, 0.55144, 2.23582, 0.0130247), (0.2776, 0.1264, 0.00256)),
    "tbabs": ("wilm", (43.9502, 0.7977, None, None), None),
}


@pytest.mark.parametrize("name", ABSORBED)
def test_an_absorbed_power_law_of_exosat_is_that_of_xspec(exosat, name):
    abundances, (statistic, nH, index, K), errors = ABSORBED[name]
    # Photon bins are up to 30 % wide: integrated exactly, chi-squared is 0.005 and 0.002 lower.
    spectrum = xspec(f"{name}*powerlaw", {"powerlaw.norm": 0.01}, abundances=abundances, xspec_bins=True)
    best = fit(Problem(Model(PointSource("a", spectrum)), exosat), starts=1)
    assert_allclose(best.statistic, statistic, atol=1e-4, rtol=0)
    assert_allclose(best.values[f"a.{name}.nH"], nH, rtol=5e-4)
    if errors is None:
        return
    assert_allclose([best.values["a.powerlaw.PhoIndex"], best.values["a.powerlaw.norm"]], [index, K], rtol=2e-4)
    found = [best.errors[f"a.{each}"] for each in ("phabs.nH", "powerlaw.PhoIndex", "powerlaw.norm")]
    assert_allclose(found, errors, rtol=0.02)
    # erg / (cm2 s), of the absorbed spectrum
    assert_allclose(best.flux(2, 10)["flux"]["a: total"].value, 2.233e-11, rtol=1e-3)
    assert_allclose(best.flux(0.2, 2)["flux"]["a: total"].value, 8.58e-12, rtol=2e-3)
    intervals = profile_errors(best, level=0.9).table[["low", "high"]].to_numpy()
    assert_allclose(intervals, [[0.109, 1.034], [2.037, 2.449], [0.00954, 0.01815]], rtol=4e-3)


@pytest.mark.parametrize(
    ("name", "kT", "norm", "statistic", "digits"),
    [("bbody", 0.8904, 2.786e-4, 123.77, 6e-3), ("bremss", 5.293, 8.32e-3, 40.0263, 1e-3)],
)
def test_thermal_spectra_of_exosat_are_those_of_xspec(exosat, name, kT, norm, statistic, digits):
    # At XSPEC's best values, to the digits given; its column density is 0.
    values = {f"{name}.kT": kT, f"{name}.norm": norm}
    problem = Problem(Model(PointSource("a", xspec(name, values, xspec_bins=True))), exosat)
    assert_allclose(sum(problem.statistics().values()), statistic, atol=digits, rtol=0)


# -- 3C 273 by Chandra, NGC 7793 ULX-4 by XMM --------------------------------------------------------------------------


@pytest.mark.parametrize(("grouped", "exact"), [(True, 62.12275005769554), (False, 652.9968167212116)])
def test_the_w_statistic_of_all_bins_of_3c273_is_that_of_sherpa(files, grouped, exact):
    observation = Observation.from_ogip(files / "chandra_3c273/3c273.pi")
    observation = observation if grouped else observation.group(None)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # few background counts
        problem = Problem(Model(PointSource("a", PowerLaw(K=1.622e-4, index=-1.782))), observation)
    assert_allclose(sum(problem.statistics().values()), exact, rtol=1e-9)


# Sherpa 4.19 (run), a power law with nothing fitted: files, scale at 1 keV, photon index, and the statistic of all.
SWIFT = ("swift_xrt/xrt_src.pha", "swift_xrt/xrt_bkg.pha.gz", "swift_xrt/xrt.rmf.gz", "swift_xrt/xrt.arf")
BY_SHERPA = {
    "swift": (SWIFT, 0.1, 2.0, 1025.5446273443664),
    "pn": (("xmm_pn/pnS004-A2443_reg2.fak",), 0.5, 2.0, 122612798.31755361),
    "ulx": (("xmm_ulx4/PN_spectrum_grp20.fits",), 3e-4, 2.0, 22383.407718768496),
}


@pytest.mark.parametrize("name", BY_SHERPA)
def test_the_statistic_of_x_ray_files_is_that_of_sherpa(files, name):
    paths, K, index, exact = BY_SHERPA[name]
    observation = Observation.from_ogip(*(files / path for path in paths))
    # Sherpa joins bins of the file across flagged channels, where XSPEC and we end them.
    observation = observation.group(None) if name == "swift" else observation
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # few background counts
        problem = Problem(Model(PointSource("a", PowerLaw(K=K, index=-index))), observation)
    assert_allclose(sum(problem.statistics().values()), exact, rtol=1e-12)


def test_steps_that_are_too_long_do_not_leave_the_valley(files):
    # From the default values; 96 climbs from far lead no higher. With longer steps all climbs met 74 in ln L below.
    observation = Observation.from_ogip(files / "xmm_ulx4/PN_spectrum_grp20.fits").notice("0.5-8 keV")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # no absorption is left at the best fit
        best = fit(Problem(Model(PointSource("ulx", xspec("tbabs*cutoffpl"))), observation))
    assert_allclose(best.statistic, 113.818, atol=1e-3, rtol=0)


def test_a_ulx_by_xmm_is_that_of_elisa(files):
    # elisa 0.3.1 (run): W 100.98; index 2.175 +- 0.118, kT 0.756 +- 0.034 keV, nH 0.123 +- 0.029.
    observation = Observation.from_ogip(files / "xmm_ulx4/PN_spectrum_grp20.fits").notice("0.5-8 keV", partial=False)
    spectrum = TBabs(nH=0.12) * (PowerLaw(K=1e-4) + BlackbodyRadius(kT=0.75))
    best = fit(Problem(Model(PointSource("ulx", spectrum)), observation), starts=2)
    rows = {"powerlaw.index": (-2.175, 0.118), "blackbodyradius.kT": (0.756, 0.034), "tbabs.nH": (0.123, 0.029)}
    for name, (value, error) in rows.items():
        assert abs(best.values[f"ulx.{name}"] - value) < 0.05 * error, name
        assert_allclose(best.errors[f"ulx.{name}"], error, rtol=0.02)
    # elisa takes the values at the edges of photon bins, which are wider than the structure of the oxygen edge. By its
    # rule we get its W, up to its table of cross-sections; integrals 64 times finer give 101.29.
    spectrum = best.problem.model.at(best.values)["ulx"].spectrum
    assert_allclose(statistic_of(observation, by_trapezoids(observation.response, spectrum)), 100.98, atol=0.03, rtol=0)
    response = observation.response
    edges = np.geomspace(response.energy_low, response.energy_high, 65)
    fine = np.asarray(spectrum.integral(Bins.of(edges[:-1].ravel(), edges[1:].ravel(), 3))).reshape(64, -1).sum(axis=0)
    assert_allclose(best.statistic, statistic_of(observation, fine), atol=0.06, rtol=0)
