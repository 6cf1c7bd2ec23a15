"""jaxspec against 3ML on the seed analysis, in one run: a table of ratios beside the goals of the project.

The two sides take turns, each in processes of its own environment, so that whatever else the machine does falls on
both. Run it in the environment of jaxspec, after `setup_threeml.sh`. The last line is JSON.

    python compare_seed.py            # 6 minutes
    python compare_seed.py --quick    # without UltraNest: 2 minutes
"""

import argparse
import json
import os
import sys
from collections import defaultdict
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from stopwatch import Seconds, median_of, time_process

HERE = Path(__file__).parent
JAXSPEC = [sys.executable, str(HERE / "jaxspec_seed.py")]
THREEML = [str(HERE / ".env-threeml" / "bin" / "python"), str(HERE / "threeml_seed.py")]
NEEDS_ULTRANEST = ("sample again", "analysis, empty cache", "analysis, warm cache")


@dataclass(frozen=True)
class Goal:
    """What is compared, by the names of the stages on both sides, and the greatest ratio that is good enough."""

    name: str
    ours: str
    theirs: str
    limit: float


@dataclass(frozen=True)
class Outcome:
    """A goal with the seconds of both sides."""

    goal: Goal
    ours: float
    theirs: float

    @property
    def ratio(self) -> float:
        """Seconds of jaxspec over seconds of 3ML (for the import: of jax and numpyro)."""
        return self.ours / self.theirs

    @property
    def met(self) -> bool:
        """Whether the ratio is within the goal's limit."""
        return self.ratio <= self.goal.limit


GOALS = (
    Goal("import, over jax and numpyro", "import", "import_jax_numpyro", 1.3),
    Goal("value and gradient in a compiled loop, over 3ML's value", "likelihood_loop_each", "likelihood", 0.4),
    Goal("the same, each by a call from Python", "likelihood_gradient", "likelihood", 0.4),
    Goal("the same, each of 1000 at once", "likelihood_batch_each", "likelihood", 0.08),
    Goal("flux table, 10,000 draws", "flux_erg_1keV_1MeV_68", "flux_trapz_erg_1keV_1MeV_68", 1 / 100),
    Goal("sample again", "sample_again", "sample", 1 / 20),
    Goal("analysis, empty cache", "analysis_cold_process", "analysis_process", 1 / 5),
    Goal("analysis, warm cache", "analysis_warm_process", "analysis_process", 1 / 10),
)


class Runs:
    """Reports of all processes of both sides: their seconds by stage, and the last values and versions."""

    def __init__(self) -> None:
        self.seconds: dict[str, list[Seconds]] = defaultdict(list)
        self.values: dict[str, dict[str, Any]] = {"jaxspec": {}, "3ML": {}}
        self.versions: dict[str, dict[str, str]] = {}
        self.loads: list[float] = []

    def add(self, side: str, command: list[str]) -> None:
        """Run one process, and keep what it reports and the load of the machine when it ends."""
        whole, output = time_process(command)
        load = os.getloadavg()[0]
        report = json.loads(output.splitlines()[-1])
        for stage, seconds in report["seconds"].items():
            self.seconds[stage].append(seconds)
        if side == "3ML" and "analysis" in command:
            self.seconds["analysis_process"].append(whole)
        compilations = self.values[side].get("compilations", {}) | report["values"].get("compilations", {})
        self.values[side] |= report["values"] | {"compilations": compilations}
        self.versions[side] = report["versions"]
        self.loads.append(load)
        print(f"  {side:8s}{command[2]:12s}{whole['wall']:7.1f} s   load {load:.1f}", file=sys.stderr)

    def wall(self, stage: str) -> float:
        """The median over processes of a stage's wall seconds (themselves medians where a process makes many calls)."""
        median = median_of(self.seconds[stage])
        return median.get("wall", median.get("wall_median", float("nan")))


def run_both(repeats: int, slow_repeats: int, quick: bool) -> Runs:
    """Run both sides in turns."""
    runs = Runs()
    runs.add("jaxspec", [*JAXSPEC, "import"])
    for _ in range(repeats):
        runs.add("3ML", [*THREEML, "likelihood"])
        runs.add("jaxspec", [*JAXSPEC, "likelihood"])
    for _ in range(repeats):
        runs.add("3ML", [*THREEML, "flux", "--integrators", "trapz"])
        runs.add("jaxspec", [*JAXSPEC, "flux"])
    runs.add("jaxspec", [*JAXSPEC, "fit"])
    runs.add("jaxspec", [*JAXSPEC, "sample"])
    for _ in range(slow_repeats):
        if not quick:
            runs.add("3ML", [*THREEML, "analysis"])
        runs.add("jaxspec", [*JAXSPEC, "processes"])
    return runs


def outcomes(runs: Runs, quick: bool) -> list[Outcome]:
    """The goals with what was measured."""
    goals = [goal for goal in GOALS if not (quick and goal.name in NEEDS_ULTRANEST)]
    return [Outcome(goal, runs.wall(goal.ours), runs.wall(goal.theirs)) for goal in goals]


def time_text(seconds: float) -> str:
    """Seconds with a unit that suits them."""
    for size, unit in ((1.0, "s"), (1e-3, "ms")):
        if seconds >= size:
            return f"{seconds / size:.3g} {unit}"
    return f"{seconds / 1e-6:.3g} us"


def ratio_text(ratio: float) -> str:
    """A ratio as in the goals: a decimal number down to 0.04, then one over a number."""
    return f"{ratio:.2f}" if ratio >= 0.21 or 0.04 < ratio < 0.095 else f"1/{1 / ratio:.3g}"


def table_text(found: list[Outcome]) -> str:
    """The outcomes as a table in Markdown."""
    rows = ["| | jaxspec | 3ML | ratio | goal | met |", "|---|---|---|---|---|---|"]
    for each in found:
        cells = [
            each.goal.name,
            time_text(each.ours),
            time_text(each.theirs),
            ratio_text(each.ratio),
            ratio_text(each.goal.limit),
            "yes" if each.met else "**no**",
        ]
        rows.append(f"| {' | '.join(cells)} |")
    return "\n".join(rows)


def beside_text(runs: Runs) -> str:
    """What the table has no column for."""
    ours, lines = runs.values["jaxspec"], []
    compilations = ours["compilations"]
    lines.append(
        f"compilations: {compilations['sample_again']} in sample again, {compilations['fit_again']} in fit again, "
        f"{compilations['flux_warm']} in warm flux tables of other bands and units"
    )
    lines.append(f"least ESS of any parameter in sample again: {ours['ess_min']:.0f} of 4000 draws (goal: 2000)")
    return "\n".join(lines)


def main() -> None:
    """Read the command line, run both sides, print table and JSON."""
    raw_text = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=raw_text)
    parser.add_argument("--quick", action="store_true", help="leave UltraNest out, and the goals that need it")
    parser.add_argument("--repeats", type=int, default=3, help="of likelihoods and flux tables")
    parser.add_argument("--slow-repeats", type=int, default=2, help="of the whole analysis")
    arguments = parser.parse_args()

    runs = run_both(arguments.repeats, arguments.slow_repeats, arguments.quick)
    found = outcomes(runs, arguments.quick)
    now = datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC")
    print(f"{now}, {os.cpu_count()} cores, load {min(runs.loads):.1f} to {max(runs.loads):.1f}")
    for side, versions in runs.versions.items():
        print(f"{side}: " + ", ".join(f"{package} {number}" for package, number in versions.items()))
    print(f"\n{table_text(found)}\n\n{beside_text(runs)}\n")
    report = {
        "goals": [asdict(each.goal) | {"ratio": each.ratio, "met": each.met} for each in found],
        "seconds": runs.seconds,
        "values": runs.values,
        "versions": runs.versions,
        "loads": runs.loads,
    }
    print(json.dumps(report, default=float))


if __name__ == "__main__":
    main()
