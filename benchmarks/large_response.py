"""A response of many photon bins and as many channels, as of a calorimeter: how fast, and in how much memory.

The redistribution is a Gaussian with a standard deviation of 5 eV and a tail to low energies that falls by e in 15 eV
and holds a tenth of the photons. The last line is JSON.

    python large_response.py [--size 15000]
"""

import argparse
import json
import resource
import sys

import jax
import numpy as np
from scipy import sparse
from scipy.special import erf
from stopwatch import Seconds, stopwatch, time_calls

from jaxspec import Model, PointSource, Problem, Response, fit, simulate
from jaxspec.spectra import GaussianLine, PowerLaw, TBabs

CORE, TAIL, TAIL_SHARE = 0.005, 0.015, 0.1  # keV, keV
REACH = (-0.1, 0.025)  # keV around the true energy; 0.1 % of the tail lies beyond
EDGES = (0.3, 12.3)  # keV
AREA = 300.0  # cm2


def response_of(size: int) -> Response:
    """The response with as many channels as photon bins."""
    edges = np.linspace(*EDGES, size + 1)
    width = edges[1] - edges[0]
    offsets = np.arange(int(np.floor(REACH[0] / width)), int(np.ceil(REACH[1] / width)) + 1)
    # All photons of a bin are alike, so the matrix has equal numbers along its diagonals.
    share = _below((offsets + 0.5) * width) - _below((offsets - 0.5) * width)
    values = [np.full(size - abs(offset), AREA * value) for offset, value in zip(offsets, share, strict=True)]
    matrix = sparse.diags_array(values, offsets=-offsets, shape=(size, size), format="csr")
    low, high = edges[:-1], edges[1:]
    return Response(low, high, np.arange(1, size + 1), low, high, matrix, name=f"calorimeter of {size} channels")


def _below(offset: np.ndarray) -> np.ndarray:
    """The share of photons that are seen below their energy plus `offset`."""
    tail = np.where(offset < 0, np.exp(np.minimum(offset, 0) / TAIL), 1.0)
    return (1 - TAIL_SHARE) * 0.5 * (1 + erf(offset / (CORE * np.sqrt(2)))) + TAIL_SHARE * tail


def main() -> None:
    """Run everything once; the likelihood twenty times."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", type=int, default=15_000, help="photon bins and channels")
    parser.add_argument("--single", action="store_true", help="the matrix in single precision")
    arguments = parser.parse_args()
    size = arguments.size
    seconds: dict[str, Seconds] = {}
    spectrum = TBabs(nH=0.3) * (PowerLaw(K=0.05, index=-1.8) + GaussianLine(K=1e-3, energy=6.4, sigma=0.003))
    with stopwatch(seconds, "response"):
        response = response_of(size).in_single_precision() if arguments.single else response_of(size)
    with stopwatch(seconds, "simulate"):
        seen = simulate(spectrum, response, 50_000.0, key=jax.random.key(0), name="calorimeter")
    with stopwatch(seconds, "problem"):
        problem = Problem(Model(PointSource("source", spectrum)), seen)
    vectors = [problem.vector() * (1 + 1e-4 * i) for i in range(21)]
    with stopwatch(seconds, "gradient_first"):
        jax.block_until_ready(problem.log_likelihood_and_gradient(vectors[0]))
    seconds["gradient"] = time_calls(
        lambda vector: jax.block_until_ready(problem.log_likelihood_and_gradient(vector)), vectors[1:]
    )
    for name in ("fit_first", "fit_again"):
        with stopwatch(seconds, name):
            best = fit(problem)
    print(best, file=sys.stderr)
    truth = problem.model.values
    pulls = {name: (best.values[name] - float(truth[name])) / best.errors[name] for name in problem.names}
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    values = {"size": size, "stored": response.matrix.nnz, "counts": seen.counts.sum(), "peak_GiB": peak}
    values |= {"pulls": pulls, "fold": type(problem.density.folds[0]).__name__, "converged": bool(best.converged)}
    print(json.dumps({"seconds": seconds, "values": values}))


if __name__ == "__main__":
    main()
