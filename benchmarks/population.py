"""Fits of many spectra at once: time and memory for each, and against one fit after the other.

    python benchmarks/population.py [10000] [--alone 20]
    python benchmarks/population.py 10000 --workers 1 2    # on Dask workers of one core each

Simulated time bins of a burst in the response of GRB 090217's detector n6 (128 channels): the Band function, 4 free
parameters, 300 to 3000 source counts per second over a Poisson background; W statistic; values, covariance and a flux.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import tempfile
import time
import warnings
from pathlib import Path

import jax
import numpy as np
import pandas as pd

from jaxspec import Catalogue, Model, Observation, PointSource, Problem, fit, fit_each, simulate_each
from jaxspec.spectra import Band

FOLDER = Path(__file__).parents[1] / "notebooks/data/gbm_bn090217206"
EXPOSURE, BACKGROUND = 10.0, 40.0  # s, counts in each channel


def spectra(n: int, seed: int = 0) -> tuple[Model, list[Observation]]:
    """The model, and bins of a burst that differ in all parameters."""
    response = Observation.from_ogip(FOLDER / "bn090217206_n6_srcspectra.pha").response
    model = Model(PointSource("grb", Band(K=0.03, alpha=-0.9, beta=-2.4, cutoff=200)))
    rng = np.random.default_rng(seed)
    values = {
        "grb.band.K": 0.03 * np.exp(rng.normal(0, 0.5, n)),
        "grb.band.alpha": rng.normal(-0.9, 0.15, n),
        "grb.band.beta": rng.normal(-2.4, 0.1, n),
        "grb.band.cutoff": 200 * np.exp(rng.normal(0, 0.3, n)),
    }
    background = np.full(128, BACKGROUND)
    return model, simulate_each(model, values, response, EXPOSURE, background, key=jax.random.key(seed))


def pin(core: int) -> None:
    """Keeps all threads of a worker on one core."""
    for thread in os.listdir("/proc/self/task"):
        os.sched_setaffinity(int(thread), {core})


def on_workers(size: int, numbers: list[int]) -> None:
    """Prints the time for each spectrum on as many workers, once they have compiled."""
    from dask.distributed import Client, LocalCluster

    model, observations = spectra(size)
    cores, one = sorted(os.sched_getaffinity(0)), []
    for number in numbers:
        with (
            LocalCluster(n_workers=number, threads_per_worker=1, dashboard_address=None) as cluster,
            Client(cluster) as client,
        ):
            for worker, core in zip(client.scheduler_info()["workers"], cores):
                client.run(pin, core, workers=[worker])
            times = []
            for _ in range(3):
                start = time.perf_counter()
                fit_each(model, observations, client=client, progress=False)
                times.append(time.perf_counter() - start)
        each = 1e3 * min(times[1:]) / size
        print(f"{number} workers: {each:.3f} ms each; first call {times[0]:.1f} s, others {times[1:]}", flush=True)
        one.append(each * number)
        print(f"   {one[0] / one[-1]:.1%} of linear", flush=True)


def on_this_machine(size: int) -> tuple[Model, list[Observation], Catalogue, float]:
    """Prints time and memory for each of so many spectra; gives them, their fits, and ms of CPU for each."""
    start = time.perf_counter()
    model, observations = spectra(size)
    simulated = time.perf_counter() - start
    times, cpu, catalogues = [], [], []
    for _ in range(2):
        start, used = time.perf_counter(), time.process_time()
        catalogues.append(fit_each(model, observations, flux={"F": (10, 1000, "erg / (cm2 s)")}, progress=False))
        times.append(1e3 * (time.perf_counter() - start) / size)
        cpu.append(1e3 * (time.process_time() - used) / size)
    rows = catalogues[1].rows
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(
        f"{size:7d} spectra: {times[1]:.3f} ms each ({cpu[1]:.3f} of CPU), {times[0]:.3f} with compilation; "
        f"{100 * rows.converged.mean():.1f} % converged, {100 * np.mean(rows.trouble == ''):.1f} % without trouble; "
        f"simulated in {1e3 * simulated / size:.3f} ms each; {memory:.2f} GiB",
        flush=True,
    )
    return model, observations, catalogues[1], cpu[1]


def one_by_one(model: Model, alone: list[Observation], table: pd.DataFrame) -> None:
    """Prints the time of `fit`, and how far rows differ from it."""
    start = time.perf_counter()
    results = [fit(Problem(model, observation)) for observation in alone]
    print(f"one after the other with `fit` (16 starts): {1e3 * (time.perf_counter() - start) / len(alone):.0f} ms each")
    names = list(results[0].errors)
    values = [[best.values[name] for name in names] for best in results]
    differences = np.abs(table[names].to_numpy()[: len(alone)] / np.array(values) - 1).max(axis=1)
    print(f"largest relative difference of a value: median {np.median(differences):.1e}, worst {differences.max():.1e}")


def in_threeml(python: Path, alone: list[Observation], table: pd.DataFrame, cpu: float) -> None:
    """Prints the time of 3ML, and how far its maxima are below ours."""
    with tempfile.TemporaryDirectory() as folder:
        for observation in alone:
            observation.to_ogip(Path(folder) / f"s{int(observation.name):03d}.pha")
        response = FOLDER / "bn090217206_n6_weightedrsp.rsp"
        script = Path(__file__).with_name("threeml_population.py")
        process = subprocess.run([python, script, folder, response], capture_output=True, text=True, check=True)
    theirs = json.loads(process.stdout.splitlines()[-1])
    second = 1e3 * np.median(theirs["cpu"])
    print(f"3ML: {second:.0f} ms of CPU each: {second / cpu:.0f} times ours, covariance on both sides")
    better = np.array(theirs["minus_lnL"]) + table["ln L"].to_numpy()[: len(alone)]
    print(f"ln L that we reach above theirs: median {np.median(better):.4f}, least {better.min():.4f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sizes", type=int, nargs="*", default=[100, 1000, 10_000])
    parser.add_argument("--threeml", action="store_true", help="fit the same spectra one by one in 3ML, too")
    parser.add_argument("--python", default=Path(__file__).parent / ".env-threeml/bin/python", help="that has 3ML")
    parser.add_argument("--alone", type=int, default=20, help="spectra that are fitted alone, for comparison")
    parser.add_argument("--workers", type=int, nargs="+", help="only this: Dask workers, of one core each")
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    if arguments.workers:
        on_workers(arguments.sizes[0], arguments.workers)
        return
    for size in arguments.sizes[:-1]:
        on_this_machine(size)
    model, observations, catalogue, cpu = on_this_machine(arguments.sizes[-1])
    alone = observations[: arguments.alone]
    one_by_one(model, alone, catalogue.table())
    if arguments.threeml:
        in_threeml(arguments.python, alone, catalogue.table(), cpu)


if __name__ == "__main__":
    main()
