"""Are the numbers of populations right? Pulls of 2,000 fits, and calibration of hyper-parameters on 100 populations.

    python benchmarks/population_truth.py pulls [2000]
    python benchmarks/population_truth.py calibration [100]

Pulls: (found - true) / error of values and fluxes of simulated spectra have mean 0 and width 1, within 1 / sqrt(n) and
1 / sqrt(2 n). Calibration: hyper-parameters are drawn from their priors, then members, then counts; the rank of each
truth among the draws of `sample_population` is uniform (Talts et al. 2018, arXiv:1804.06788).
"""

from __future__ import annotations

import argparse
import time
import warnings
from pathlib import Path

import jax
import numpy as np
import numpyro.distributions as dist
from scipy.stats import chisquare, kstest

from jaxspec import NUTS, Model, PointSource, Population, Response, fit_each, sample_population, simulate_each
from jaxspec.spectra import PowerLaw

K, INDEX = "src.powerlaw.K", "src.powerlaw.index"
DEMO = Path(__file__).parents[1] / "notebooks/data/demo.rsp"
MODEL = Model(PointSource("src", PowerLaw(K=1e-3, index=-1.6, pivot=1000)))
LOW, HIGH = 100.0, 1e4  # keV, of the flux


def pulls(n: int) -> None:
    """Prints mean and width of the pulls of values and of photon and energy fluxes."""
    rng = np.random.default_rng(0)
    truth = {K: 4e-3 * np.exp(rng.normal(0, 0.3, n)), INDEX: rng.normal(-1.8, 0.1, n)}
    response = Response.from_ogip(DEMO)
    observations = simulate_each(MODEL, truth, response, 10, np.full(128, 20.0), key=jax.random.key(3))
    bands = {"photon flux": (LOW, HIGH, "1 / (cm2 s)"), "energy flux": (LOW, HIGH, "erg / (cm2 s)")}
    table = fit_each(MODEL, observations, flux=bands).table()
    erg = 1.602176634e-9  # of a keV
    for name, moment, unit in (("photon flux", 1, 1.0), ("energy flux", 2, erg)):
        power = truth[INDEX] + moment
        scale = truth[K] * 1000 ** -truth[INDEX] * unit
        truth[name] = scale * (HIGH**power - LOW**power) / power
    print(f"{n} spectra, {table['converged'].mean():.1%} converged")
    print(f"{'expected':20s} mean 0 +- {n**-0.5:.3f}, width 1 +- {(2 * n) ** -0.5:.3f}")
    for name, true in truth.items():
        each = (table[name] - true) / table[f"{name} error"]
        print(f"{name:20s} mean {each.mean():+.3f}, width {each.std():.3f}")


def calibration(n: int, members: int = 20) -> None:
    """Prints how the ranks of hyper-parameters are distributed over populations.

    The spectra have no background: W, which profiles it out, is no likelihood of counts, and its bias is not asked for.
    """
    rng = np.random.default_rng(1)
    scatter = {
        K: Population(dist.Normal(-8, 0.5), dist.HalfNormal(0.7), log=True),
        INDEX: Population(dist.Normal(-1.8, 0.3), dist.HalfNormal(0.3)),
    }
    response, ranks, start = Response.from_ogip(DEMO), [], time.perf_counter()
    for i in range(n):
        mean, width = rng.normal([-8, -1.8], [0.5, 0.3]), np.abs(rng.normal(0, [0.7, 0.3]))
        each = mean + width * rng.normal(size=(members, 2))
        values = {K: np.exp(each[:, 0]), INDEX: each[:, 1]}
        seen = simulate_each(MODEL, values, response, 2, key=jax.random.key(i))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            found = sample_population(
                MODEL, seen, scatter, NUTS(draws=400, chains=2), key=jax.random.key(i), progress=False
            )
        truth = {
            (name, what): v for what, both in (("mean", mean), ("width", width)) for name, v in zip((K, INDEX), both)
        }
        ranks.append([np.mean(found.draws(*what) < true) for what, true in truth.items()])
        if (i + 1) % 10 == 0:
            print(f"{i + 1} populations, {(time.perf_counter() - start) / (i + 1):.1f} s each", flush=True)
            report([f"{what} of {name}" for name, what in truth], np.array(ranks))


def report(names: list[str], ranks: np.ndarray) -> None:
    """Coverage of the central 68 and 95 %, and the probability of ranks as uneven as these if they are uniform."""
    n = len(ranks)
    for name, column in zip(names, ranks.T):
        central = np.abs(column - 0.5)
        bins = np.histogram(column, bins=10, range=(0, 1))[0]
        print(
            f"  {name:32s} within 68 %: {np.mean(central < 0.34):.0%}, 95 %: {np.mean(central < 0.475):.0%} of {n}; "
            f"p = {kstest(column, 'uniform').pvalue:.2f} (Kolmogorov), {chisquare(bins).pvalue:.2f} (chi-squared)"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["pulls", "calibration"])
    parser.add_argument("n", type=int, nargs="?")
    arguments = parser.parse_args()
    {"pulls": lambda n: pulls(n or 2000), "calibration": lambda n: calibration(n or 100)}[arguments.what](arguments.n)


if __name__ == "__main__":
    main()
