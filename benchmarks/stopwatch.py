"""Wall and CPU seconds of blocks, calls and processes.

Standard library only, because it runs in the environment of jaxspec and in that of 3ML.
"""

import os
import resource
import statistics
import subprocess
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

Seconds = dict[str, float]


@contextmanager
def stopwatch(seconds: dict[str, Seconds], name: str) -> Iterator[None]:
    """Store the wall and CPU seconds of the block in `seconds[name]`."""
    wall, cpu = time.perf_counter(), time.process_time()
    yield
    seconds[name] = {"wall": time.perf_counter() - wall, "cpu": time.process_time() - cpu}


def time_calls(function: Callable[[Any], Any], inputs: Iterable[Any]) -> Seconds:
    """Seconds per call of `function`, called once with each of `inputs`: least and median wall, mean CPU."""
    walls = []
    cpu = time.process_time()
    for value in inputs:
        wall = time.perf_counter()
        function(value)
        walls.append(time.perf_counter() - wall)
    cpu = time.process_time() - cpu
    return {"wall_min": min(walls), "wall_median": statistics.median(walls), "cpu_mean": cpu / len(walls)}


def time_process(command: list[str], **environment: str) -> tuple[Seconds, str]:
    """Seconds of a whole process, the interpreter's start included, and what it printed.

    `environment` holds environment variables that are set on top of those of this process.

    Raises `subprocess.CalledProcessError` where the process fails; its error output is passed on as it comes.
    """
    wall, cpu = time.perf_counter(), _cpu_of_children()
    variables = os.environ | environment
    output = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, env=variables).stdout
    return {"wall": time.perf_counter() - wall, "cpu": _cpu_of_children() - cpu}, output


def median_of(runs: list[Seconds]) -> Seconds:
    """The median of each measured time over several runs of one thing."""
    return {name: statistics.median(run[name] for run in runs) for name in runs[0]}


def _cpu_of_children() -> float:
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime
