"""How the cost grows with channels, photon bins, parameters, draws and chains: measured, and drawn into growth.png.

CPU seconds, the least of several runs, each after one that compiles. The exponent p of cost ~ n^p is that of the upper
part of each range, where what every call costs (dispatch, Python) no longer hides it. The last line is JSON.

    OPENBLAS_NUM_THREADS=1 python benchmarks/growth.py     # 3 minutes; threads of numpy that wait count as CPU
"""

import argparse
import json
import os
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import numpy as np
import numpyro.distributions as dist
from matplotlib.figure import Figure
from scipy import sparse
from scipy.special import ndtr

from jaxspec import NUTS, Model, PointSource, Posterior, Problem, Response, fit, sample, simulate
from jaxspec.spectra import GaussianLine, PowerLaw

EDGES = (0.5, 10.5)  # keV
WIDTH = 0.06  # keV, the standard deviation of the redistribution
LINES = 14
USUAL = 512  # channels and photon bins, where they do not grow
RANGES = {
    "channels": (1024, 2048, 4096, 8192),
    "photon bins": (1024, 2048, 4096, 8192),
    "parameters": (2, 4, 8, 16),
    "draws": (500, 1000, 2000),
    "chains": (2, 4, 8),
}
FLUX_DRAWS = (8000, 16_000, 32_000)
UPPER = 3  # points at the end of a range that give the exponent


def response_of(channels: int, bins: int) -> Response:
    """A response of Gaussian redistribution, without what is less than 1e-7."""
    seen, true = (np.linspace(*EDGES, n + 1) for n in (channels, bins))
    below = ndtr((seen[:, None] - 0.5 * (true[1:] + true[:-1])) / WIDTH)
    share = np.diff(below, axis=0)
    matrix = sparse.csr_array(np.where(share > 1e-7, 300.0 * share, 0.0))
    return Response(true[:-1], true[1:], np.arange(1, channels + 1), seen[:-1], seen[1:], matrix, name="growth")


def problem_of(channels: int = USUAL, bins: int = USUAL, parameters: int = 4) -> Problem:
    """A power law with 14 lines, of whose parameters so many are free: scale, index, then lines' scales."""
    spectrum = PowerLaw(K=0.05, index=-1.7)
    priors: dict[str, Any] = {"a.powerlaw.K": dist.LogNormal(-3.0, 1.0), "a.powerlaw.index": dist.Normal(-1.7, 0.5)}
    for i, energy in enumerate(np.linspace(1.0, 9.0, LINES)):
        spectrum = spectrum + GaussianLine(K=1e-3, energy=float(energy), sigma=0.05, name=f"line{i}")
        priors[f"a.line{i}.K"] = dist.LogNormal(-7.0, 1.0)
    model = Model(PointSource("a", spectrum))
    model = model.freeze(*(set(model.free) - set(list(priors)[:parameters])))
    model = model.with_priors({name: priors[name] for name in model.free})
    return Problem(model, simulate(spectrum, response_of(channels, bins), 3000.0, key=jax.random.key(0)))


def least(work: Callable[[], Any], repeats: int = 3, calls: int = 1) -> float:
    """CPU seconds of a call, the least of some runs, after one that compiles."""
    work()
    found = []
    for _ in range(repeats):
        start = time.process_time()
        for _ in range(calls):
            work()
        found.append((time.process_time() - start) / calls)
    return min(found)


def gradient_and_fit(problem: Problem) -> dict[str, float]:
    """Seconds of one value with gradient, and of a fit with its covariance."""
    vector = problem.vector()
    return {
        "value and gradient": least(
            lambda: jax.block_until_ready(problem.log_likelihood_and_gradient(vector)), calls=40
        ),
        "fit": least(lambda: fit(problem), repeats=2),
    }


def draws_of(problem: Problem, draws: int, chains: int) -> dict[str, float]:
    """Seconds of a sampling."""
    method = NUTS(draws=draws, warmup=200, chains=chains)
    return {"NUTS": least(lambda: sample(problem, method, key=jax.random.key(1), progress=False), repeats=2)}


def fluxes_of(problem: Problem, draws: int) -> dict[str, float]:
    """Seconds of a flux table."""
    rng = np.random.default_rng(0)
    values = np.array(list(problem.model.values.values()), float)
    samples = values * (1 + 0.01 * rng.standard_normal((1, draws, len(values))))
    posterior = Posterior.of(problem, samples, method=NUTS(), key=jax.random.key(0), statistics={"ess": draws})
    return {"flux table": least(lambda: posterior.flux(1, 8))}


def measured() -> dict[str, dict[str, list[tuple[int, float]]]]:
    """(size, seconds) by what grows and by what is done."""
    usual = problem_of()
    works: dict[str, Callable[[int], dict[str, float]]] = {
        "channels": lambda n: gradient_and_fit(problem_of(channels=n)),
        "photon bins": lambda n: gradient_and_fit(problem_of(bins=n)),
        "parameters": lambda n: gradient_and_fit(problem_of(parameters=n)),
        "draws": lambda n: draws_of(usual, n, 2),
        "chains": lambda n: draws_of(usual, 500, n),
    }
    found: dict[str, dict[str, list[tuple[int, float]]]] = {}
    for axis, sizes in RANGES.items():
        for size in sizes:
            for stage, seconds in works[axis](size).items():
                found.setdefault(axis, {}).setdefault(stage, []).append((size, seconds))
    for size in FLUX_DRAWS:
        found["draws"].setdefault("flux table", []).append((size, fluxes_of(usual, size)["flux table"]))
    return found


def exponent(points: list[tuple[int, float]]) -> float:
    """The slope of the logarithms over the upper part of the range."""
    sizes, seconds = np.log(np.array(points[-UPPER:])).T
    return float(np.polyfit(sizes, seconds, 1)[0])


def draw(found: dict[str, dict[str, list[tuple[int, float]]]], path: Path) -> None:
    """A panel for everything that grows."""
    figure = Figure(figsize=(16, 3.8), layout="constrained")
    for ax, (axis, stages) in zip(figure.subplots(1, len(found)), found.items(), strict=True):
        for stage, points in stages.items():
            sizes, seconds = np.array(points).T
            (line,) = ax.loglog(sizes, seconds, "o-", label=f"{stage}: p = {exponent(points):.2f}")
            ax.loglog(sizes, seconds[-1] * sizes / sizes[-1], ":", color=line.get_color(), linewidth=1)
        ax.set_xlabel(axis if axis != "parameters" else "free parameters")
        ax.set_xticks(ticks := sorted({size for points in stages.values() for size, _ in points}))
        ax.set_xticks([], minor=True)
        ax.set_xticklabels([str(tick) for tick in ticks], fontsize="small", rotation=45)
        ax.legend(fontsize="small")
    figure.axes[0].set_ylabel("CPU seconds (dotted: linear)")
    figure.savefig(path, dpi=110)


def main() -> None:
    """Measure, draw, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--picture", type=Path, default=Path(__file__).with_name("growth.png"))
    arguments = parser.parse_args()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = measured()
    draw(found, arguments.picture)
    exponents = {axis: {stage: exponent(points) for stage, points in stages.items()} for axis, stages in found.items()}
    for axis, stages in exponents.items():
        for stage, value in stages.items():
            print(f"{axis:12s} {stage:20s} n^{value:.2f}   {'ok' if value <= 1.1 else 'more than linear'}")
    print(json.dumps({"cpu_seconds": found, "exponents": exponents, "load": os.getloadavg()}))


if __name__ == "__main__":
    main()
