"""Fit with covariance and profile errors against 3ML with Minuit and MINOS: GRB 090217 and the seed, in one run.

Run it in the environment of jaxspec, after `setup_threeml.sh`. Both sides take turns; medians and ratios are printed,
and JSON as the last line. The intervals of both sides are compared first: 2 % is the most they may differ.

    python benchmarks/errors.py --data ../shared/data/gbm_bn090217206
"""

import argparse
import json
import os
import sys
from pathlib import Path
from typing import Any

from stopwatch import Seconds, median_of, stopwatch, time_process

HERE = Path(__file__).parent
SEED, RESPONSE = HERE / "data/seed_spectra.json", HERE.parent / "notebooks/data/demo.rsp"
THREEML = str(Path(os.environ.get("THREEML_PYTHON", HERE / ".env-threeml" / "bin" / "python")))
SELECTIONS = {"n6": ["10-30 keV", "40-950 keV"], "n9": ["10-30 keV", "40-950 keV"], "b1": ["250-43000 keV"]}
AGAIN = 20


def ours(folder: Path) -> tuple[dict[str, Seconds], dict[str, Any]]:
    """Seconds of fits and profile errors, first and again (each in the mean of several), and the intervals."""
    from jaxspec_seed import observed_problem

    from jaxspec import Model, Observation, PointSource, Problem, fit, profile_errors
    from jaxspec.spectra import CutoffPowerLawPeak

    observations = [
        Observation.from_ogip(folder / f"bn090217206_{name}_srcspectra.pha", name=name).notice(*ranges)
        for name, ranges in SELECTIONS.items()
    ]
    burst = Problem(Model(PointSource("grb", CutoffPowerLawPeak(K=1.0, index=-1.0, peak=500.0))), observations)
    seconds: dict[str, Seconds] = {}
    intervals = {}
    for label, problem in (("burst", burst), ("seed", observed_problem(json.loads(SEED.read_text()), RESPONSE))):
        with stopwatch(seconds, f"{label}_fit_first"):
            best = fit(problem)
        with stopwatch(seconds, f"{label}_errors_first"):
            profile_errors(best, problem.names, delta=1.0)
        for stage, work in (
            ("fit", lambda problem=problem: fit(problem).errors),
            ("climb", lambda problem=problem: fit(problem, starts=1).errors),  # once, like Minuit
            ("errors", lambda best=best, problem=problem: profile_errors(best, problem.names, delta=1.0)),
        ):
            with stopwatch(seconds, f"{label}_{stage}_again"):
                for _ in range(AGAIN):
                    work()
            seconds[f"{label}_{stage}_again"] = {
                clock: value / AGAIN for clock, value in seconds[f"{label}_{stage}_again"].items()
            }
        table = profile_errors(best, problem.names, delta=1.0).table
        intervals[label] = {name.rsplit(".", 1)[-1]: [row["minus"], row["plus"]] for name, row in table.iterrows()}
    return seconds, intervals


def theirs(folder: Path) -> tuple[dict[str, Seconds], dict[str, Any]]:
    """The same of 3ML."""
    seconds = {}
    _, output = time_process([THREEML, str(HERE / "threeml_gbm.py"), "--data", str(folder)])
    burst = json.loads(output.splitlines()[-1])
    _, output = time_process([THREEML, str(HERE / "threeml_seed.py"), "fit"])
    seed = json.loads(output.splitlines()[-1])
    for label, report in (("burst", burst), ("seed", seed)):
        seconds[f"{label}_fit_first"] = report["seconds"]["fit_first"]
        seconds[f"{label}_fit_again"] = seconds[f"{label}_climb_again"] = report["seconds"]["fit_again"]
        seconds[f"{label}_errors_again"] = report["seconds"]["profile_errors"]
    values = burst["values"]["best_value_and_errors"]
    return seconds, {"K": values["K"][1:], "index": values["index"][1:], "peak": values["xp"][1:]}


def main() -> None:
    """Measure both sides in turns, compare, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=HERE.parent / "../shared/data/gbm_bn090217206")
    parser.add_argument("--repeats", type=int, default=3)
    arguments = parser.parse_args()
    runs: dict[str, list[Seconds]] = {}
    worst = 0.0
    for _ in range(arguments.repeats):
        for side, (seconds, intervals) in (("3ML", theirs(arguments.data)), ("jaxspec", ours(arguments.data))):
            for stage, value in seconds.items():
                runs.setdefault(f"{side} {stage}", []).append(value)
            if side == "3ML":
                minos = intervals
            else:
                pairs = [(minos[name][k], intervals["burst"][name][k]) for name in minos for k in (0, 1)]
                worst = max(abs(b / a - 1) for a, b in pairs)
    if worst > 0.02:
        raise SystemExit(f"the intervals differ from MINOS's by up to {worst:.1%}")
    medians = {stage: median_of(values) for stage, values in runs.items()}
    print(f"intervals differ from MINOS's by at most {worst:.2%}; load {os.getloadavg()[0]:.1f}", file=sys.stderr)
    for stage in (f"{label}_{work}_again" for label in ("burst", "seed") for work in ("climb", "fit", "errors")):
        a, b = medians[f"jaxspec {stage}"]["wall"], medians[f"3ML {stage}"]["wall"]
        print(f"{stage:20s} jaxspec {1e3 * a:8.2f} ms   3ML {1e3 * b:8.2f} ms   {b / a:6.1f} times", file=sys.stderr)
    print(json.dumps({"seconds": medians, "worst": worst}))


if __name__ == "__main__":
    main()
