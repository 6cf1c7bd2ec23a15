"""XSPEC's expressions: every name against XSPEC's values, what is read, what is refused."""

import json
from pathlib import Path

import astropy.units as u
import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pytest
from numpy.testing import assert_allclose
from references import tolerance

from jaxspec import Model, Observation, PointSource, Problem, Response, fit, load, parameters
from jaxspec.quadrature import Bins
from jaxspec.spectra import (
    CompTT,
    Constant,
    DiskBlackbody,
    DustExtinction,
    Edge,
    GalacticExtinction,
    GaussianLine,
    PartialCovering,
    PowerLaw,
    PowerLawComptonization,
    Redshift,
    TBabs,
    _xspec_bins,
    _xspec_forms,
    xspec,
)
from jaxspec.spectra._xspec_bins import XspecBins
from jaxspec.spectra._xspec_forms import FORMS, form_class

SHARED = Path(__file__).parents[3] / "shared/reference/xspec_models.json"
ENERGY = np.geomspace(0.5, 15.0, 9)
BINS = Bins.of(ENERGY[:-1], ENERGY[1:])
CONVOLUTIONS = [name for name in FORMS if form_class(name).kind == "convolution"]
DUST = ("redden", "zdust", "zredden")  # 1 at X-ray energies
# XSPEC's values of plasmas are those of its own files.
LISTED = [name for name in FORMS if name not in (*CONVOLUTIONS, *DUST) and not FORMS[name].reads]


@pytest.fixture(scope="module")
def library():
    if not SHARED.is_file():
        pytest.skip(f"the values of XSPEC are not at {SHARED}")
    return json.loads(SHARED.read_text())


@pytest.mark.parametrize("name", LISTED)
def test_every_name_has_the_values_of_xspec(name, library):
    energy, half = np.array(library["energies_keV"]), library["bin_halfwidth_rel"]
    low, high = energy * (1 - half), energy * (1 + half)
    model = library["models"][name]
    names = [theirs.lstrip("*") for theirs in model["pars"]] + ["norm"] * (model["type"] == "add")
    plain = xspec(name)
    assert list(parameters.declarations(plain)) == [each for each in names if each != FORMS[name].switch]
    for run in model["runs"]:
        expected = np.array(run["y"])
        spectrum = xspec(name, {f"{name}.{field}": value for field, value in zip(names, run["p"])})
        assert repr(spectrum) == repr(plain) or run is not model["runs"][0]  # XSPEC's defaults are ours
        seen = expected > 1e-8 * expected.max()
        bins = Bins.of(low, high, 5)
        if spectrum.kind == "additive":
            found = XspecBins()(spectrum).integral(bins) / (high - low)
        else:
            found = _xspec_bins.factor(spectrum, bins, energy)
        if name.startswith(("tb", "ztb")):
            # On resonances of oxygen and neon that are narrower than the bins.
            seen &= (abs(energy - 0.5583) > 0.01) & (abs(energy - 0.8652) > 0.01)
        assert_allclose(found[seen], expected[seen], rtol=tolerance(name, 0))


def test_published_values_are_typed_as_they_stand():
    spectrum = xspec(
        "tbabs*(powerlaw + diskbb)",
        {
            "tbabs.nH": 0.7,
            "powerlaw.PhoIndex": 2.1,
            "powerlaw.norm": 0.02,
            "diskbb.Tin": 1.2 * u.keV,
            "diskbb.norm": 30,
        },
    )
    ours = TBabs(nH=0.7, abundances="angr") * (PowerLaw(K=0.02, index=-2.1) + DiskBlackbody(K=30, T=1.2))
    assert_allclose(spectrum(ENERGY), ours(ENERGY), rtol=1e-14)
    assert_allclose(spectrum.integral(BINS, 1), ours.integral(BINS, 1), rtol=1e-14)
    assert list(spectrum.parts()) == ["powerlaw", "diskbb"]
    other = xspec("tbabs*powerlaw", abundances="wilm")
    assert_allclose(other(ENERGY), (TBabs() * PowerLaw(K=1, index=-1))(ENERGY), rtol=1e-14)


@pytest.mark.parametrize(
    ("expression", "names"),
    [
        ("TBabs(powerlaw+gaussian+gaussian)", ["tbabs", "powerlaw", "gaussian", "gaussian_4"]),
        ("constant * tbabs * zashift * powerlaw", ["constant", "tbabs", "zashift", "powerlaw"]),
        ("tbabs*(cflux*(powerlaw + bbody)+simpl*diskbb)", ["tbabs", "cflux", "powerlaw", "bbody", "simpl", "diskbb"]),
        ("powerlaw", ["powerlaw"]),
        ("powerlaw*tbabs", ["tbabs", "powerlaw"]),
    ],
)
def test_names_come_from_the_expression(expression, names):
    assert list(xspec(expression).components()) == names


def test_convolutions_act_on_what_stands_to_their_right():
    spectrum = xspec("edge*simpl*constant*diskbb + powerlaw", {"simpl.UpScOnly": 0, "simpl.FracSctr": 0.3})
    scattered = PowerLawComptonization(fraction=0.3, down=1.0)(Constant() * DiskBlackbody(K=1, T=1))
    ours = Edge() * scattered + PowerLaw(K=1, index=-1)
    assert_allclose(spectrum(ENERGY), ours(ENERGY), rtol=1e-13)
    factors = xspec("partcov*tbabs*zmshift(edge)*zgauss", {"zmshift.Redshift": 0.5, "zgauss.Redshift": 0.2})
    ours = PartialCovering()(TBabs(abundances="angr")) * Redshift(z=0.5)(Edge())
    ours = ours * Redshift(z=0.2, name="source")(GaussianLine(K=1))
    assert_allclose(factors(ENERGY), ours(ENERGY), rtol=1e-13)


@pytest.mark.parametrize(
    ("expression", "names"),
    [
        ("wa*(po + ga)", ["wabs", "powerlaw", "gaussian"]),
        ("PHA(bb + zg)", ["phabs", "bbody", "zgauss"]),
        ("const*TB(gauss + brems + diskb)", ["constant", "tbabs", "gaussian", "bremss", "diskbb"]),
        ("edge*cutoff", ["edge", "cutoffpl"]),
    ],
)
def test_abbreviations_are_those_of_xspec(expression, names):
    # XSPEC's manual, at `addcomp`: mo wa(po), zg is zgauss, ga is gaussian; its list has powerlaw before posm.
    assert list(xspec(expression).components()) == names


def test_what_xspec_calls_a_switch_chooses_the_component():
    sphere = xspec("comptt + comptt", {"comptt.approx": 2, "comptt_2.taup": 3, "comptt.Redshift": 0.1})
    ours = Redshift(z=0.1)(CompTT(geometry="sphere")) + CompTT(tau=3, name="disk")
    assert_allclose(sphere(ENERGY), ours(ENERGY), rtol=1e-13)
    small = xspec("zdust*powerlaw", {"zdust.method": 3, "zdust.E_BmV": 0.2})
    light = np.array([0.002, 0.005])
    ours = DustExtinction(E_BV=0.2, law="smc") * PowerLaw(K=1, index=-1)
    assert_allclose(small(light), ours(light), rtol=1e-13)
    with pytest.raises(ValueError, match=r"nthcomp\.inp_type is one of 0 \(blackbody\), 1 \(disk\); got 3"):
        xspec("nthcomp", {"nthcomp.inp_type": 3})


@pytest.mark.parametrize("name", CONVOLUTIONS)
def test_every_convolution_can_be_used(name):
    inside = "edge*powerlaw" if name in ("partcov", "vmshift", "zmshift") else "powerlaw"
    spectrum = xspec(f"{name}*{inside}")
    assert (jax.jit(lambda spectrum: spectrum.integral(BINS))(spectrum) > 0).all()
    assert list(spectrum.parts()) == ["powerlaw"]


@pytest.mark.parametrize(
    ("expression", "error", "message"),
    [
        ("tbabs*powerlaww", KeyError, "no XSPEC component known here is called 'powerlaww'; did you mean 'powerlaw'"),
        ("tbabs*(powerlaw", ValueError, r"a parenthesis is not closed; write it like 'tbabs\*\(powerlaw \+ diskbb\)'"),
        ("tbabs*", ValueError, "a component is expected in place of 'the end'"),
        ("tbabs**powerlaw", ValueError, r"a component is expected in place of '\*'"),
        ("powerlaw)", ValueError, r"'\)' is not expected here"),
        ("powerlaw - bbody", ValueError, "cannot read '- bbody'"),
        ("", ValueError, "a component is expected in place of 'the end'"),
        ("tbabs + powerlaw", TypeError, r"is multiplicative; only additive spectra can be added"),
    ],
)
def test_what_cannot_be_read_is_an_error_that_says_what_to_do(expression, error, message):
    with pytest.raises(error, match=message):
        xspec(expression)


def test_values_are_checked():
    with pytest.raises(KeyError, match=r"called 'powerlaw\.Phoindex'; did you mean 'powerlaw\.PhoIndex'"):
        xspec("powerlaw", {"powerlaw.Phoindex": 2})
    with pytest.raises(ValueError, match="tbabs: nH = -1 1e22 / cm2 lies outside its bounds"):
        xspec("tbabs*powerlaw", {"tbabs.nH": -1})
    with pytest.raises(AttributeError, match="has no attribute 'powerlow'"):
        _ = _xspec_forms.powerlow


def test_units_bounds_and_freedom_follow_from_ours():
    declared = parameters.declarations(xspec("pegpwrlw"))
    assert declared["PhoIndex"].bounds == (-10, 10)
    assert declared["norm"].unit == "1e-12 erg / (cm2 s)"
    assert not declared["eMin"].free
    assert parameters.declarations(xspec("pcfabs"))["CvrFract"].free
    assert parameters.declarations(xspec("simpl(powerlaw)").convolution)["UpScOnly"].bounds == (0, 1)


def test_a_model_in_xspecs_words_is_fitted_linked_saved_and_loaded(tmp_path, compilations):
    edges = np.geomspace(0.5, 10.0, 41)
    response = Response.diagonal(edges, area=500.0)
    truth = xspec("tbabs*(powerlaw + gaussian)", {"tbabs.nH": 0.3, "powerlaw.PhoIndex": 1.7, "gaussian.norm": 0.01})
    counts = np.round(500 * 100 * np.asarray(truth.integral(Bins.of(edges[:-1], edges[1:]))))
    model = (
        Model(PointSource("agn", xspec("tbabs*(powerlaw + gaussian)", {"gaussian.norm": 0.01})))
        .freeze("agn.gaussian.LineE", "agn.gaussian.Sigma")
        .link("agn.gaussian.norm", to="agn.powerlaw.norm", function=lambda norm: 0.01 * norm)
        .with_priors({"agn.powerlaw.PhoIndex": dist.Uniform(0, 4)})
    )
    problem = Problem(model, [Observation(counts, response, 100.0, name="o")])
    best = fit(problem)
    assert_allclose(best.values["agn.powerlaw.PhoIndex"], 1.7, atol=0.01)
    assert_allclose(best.values["agn.tbabs.nH"], 0.3, atol=0.01)
    with compilations.none():
        fit(Problem(model, [Observation(counts + 1.0, response, 100.0, name="p")]))
    best.save(tmp_path / "best.nc")
    back = load(tmp_path / "best.nc")
    assert repr(back.problem.model.sources) == repr(best.problem.model.sources)
    at = {name: best.values[name] for name in model.free}
    assert_allclose(back.problem.log_likelihood(at), problem.log_likelihood(at), rtol=1e-13)


def test_tables_of_absorbers_are_arguments_of_compiled_programs():
    spectrum = jax.tree.map(jnp.asarray, xspec("tbabs*powerlaw"))
    program = jax.jit(lambda spectrum: spectrum(ENERGY))
    assert len(program.lower(spectrum).as_text()) < 100_000


def test_extinction_is_that_of_the_component_of_ours():
    light = np.array([0.002, 0.005])
    assert_allclose(
        xspec("redden*powerlaw", {"redden.E_BmV": 0.3})(light),
        (GalacticExtinction(E_BV=0.3) * PowerLaw(K=1, index=-1))(light),
        rtol=1e-13,
    )
