"""Goodness of fit by simulated data, and nested sampling, of the seed: against 3ML, in one run.

Run it in the environment of jaxspec, after `setup_threeml.sh`. Both sides take turns; medians and ratios of wall and of
CPU time are printed (on a busy machine the second is the fairer), and JSON as the last line.

    python benchmarks/goodness.py            # 4 minutes; --quick: no nested sampling
"""

import argparse
import json
import os
import sys
import tempfile
import warnings
from pathlib import Path
from typing import Any

from stopwatch import Seconds, median_of, stopwatch, time_process

HERE = Path(__file__).parent
SEED, RESPONSE = HERE / "data/seed_spectra.json", HERE.parent / "notebooks/data/demo.rsp"
THREEML = str(Path(os.environ.get("THREEML_PYTHON", HERE / ".env-threeml" / "bin" / "python")))
SIMULATIONS = 1000
LIVE_POINTS = 120  # of NestedSlice: its ln Z is then as good as that of UltraNest with 400
STAGES = {  # of ours: that of 3ML, and how many times faster ours is to be
    "goodness_each": ("goodness_each", 200),
    "slices": ("sample", 20),
    "ultranest": ("sample", 5),
}


def ours(quick: bool) -> tuple[dict[str, Seconds], dict[str, Any]]:
    """Seconds by stage, each for a second call of the same structure; and p-value, expected statistic, evidences."""
    import jax
    from jaxspec_seed import observed_problem

    from jaxspec import NestedSlice, UltraNest, bootstrap, fit, sample

    problem = observed_problem(json.loads(SEED.read_text()), RESPONSE)
    best = fit(problem)
    seconds: dict[str, Seconds] = {}
    values: dict[str, Any] = {}
    for stage in ("goodness_first", "goodness"):
        with stopwatch(seconds, stage):
            drawn = bootstrap(best, SIMULATIONS, key=jax.random.key(0), progress=False)
    seconds["goodness_each"] = {clock: value / SIMULATIONS for clock, value in seconds["goodness"].items()}
    values["p_value"] = drawn.p_value
    if quick:
        return seconds, values
    slices, ultranest = NestedSlice(live_points=LIVE_POINTS, batch=20, moves=1), UltraNest(frac_remain=0.5)
    for name, method in (("slices", slices), ("ultranest", ultranest)):
        for stage, key in ((f"{name}_first", 1), (name, 2)):
            with stopwatch(seconds, stage), warnings.catch_warnings():
                warnings.simplefilter("ignore")
                posterior = sample(problem, method, key=jax.random.key(key), progress=False)
        values[f"{name}_lnZ"] = posterior.log_evidence
    return seconds, values


def theirs(quick: bool) -> tuple[dict[str, Seconds], dict[str, Any]]:
    """The same of 3ML: 30 simulations, and UltraNest."""
    seconds: dict[str, Seconds] = {}
    values: dict[str, Any] = {}
    for command in ("goodness",) if quick else ("goodness", "sample"):
        report = json.loads(time_process([THREEML, str(HERE / "threeml_seed.py"), command])[1].splitlines()[-1])
        seconds |= report["seconds"]
        values |= report["values"]
    if not quick:
        values["lnZ"] = values["lnZ"], values["lnZ_error"]
    return seconds, values


def main() -> None:
    """Measure both sides in turns, compare, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=2)
    parser.add_argument("--quick", action="store_true", help="goodness of fit alone")
    parser.add_argument("--ours", action="store_true", help="this side alone, in this process")
    arguments = parser.parse_args()
    if arguments.ours:
        print(json.dumps(ours(arguments.quick)))
        return
    command = [sys.executable, __file__, "--ours", *(["--quick"] if arguments.quick else [])]
    runs: dict[str, list[Seconds]] = {}
    values: dict[str, list[Any]] = {}
    for _ in range(arguments.repeats):
        with tempfile.TemporaryDirectory() as empty:  # so that the first of each stage compiles
            mine = json.loads(time_process(command, JAXSPEC_CACHE_DIR=empty)[1].splitlines()[-1])
        for side, (seconds, found) in (("jaxspec", mine), ("3ML", theirs(arguments.quick))):
            for stage, value in seconds.items():
                runs.setdefault(f"{side} {stage}", []).append(value)
            for name, value in found.items():
                values.setdefault(f"{side} {name}", []).append(value)
    medians = {stage: median_of(each) for stage, each in runs.items()}
    print(f"load {os.getloadavg()[0]:.1f}; evidences and their errors:", file=sys.stderr)
    for name, each in values.items():
        if "lnZ" in name and "error" not in name:
            print(f"  {name:24s}", *("{:.2f} +- {:.2f}".format(*pair) for pair in each), file=sys.stderr)
    for stage, (other, goal) in STAGES.items():
        if f"jaxspec {stage}" in medians:
            a, b = medians[f"jaxspec {stage}"], medians[f"3ML {other}"]
            print(
                f"{stage:15s} goal {goal}",
                *(f"{c} {a[c]:.5f} s, 3ML {b[c]:.5f} s, {b[c] / a[c]:.1f} times;" for c in ("wall", "cpu")),
                file=sys.stderr,
            )
    print(json.dumps({"seconds": medians, "values": values}))


if __name__ == "__main__":
    main()
