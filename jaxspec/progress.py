"""Progress bars on work that takes seconds."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterator


def wanted(show: bool | None) -> bool:
    """Whether to show progress: as asked, or where someone is looking, at a terminal or in a notebook."""
    return (sys.stderr.isatty() or "IPython" in sys.modules) if show is None else show


@contextlib.contextmanager
def bar(total: int, text: str, show: bool | None) -> Iterator[Callable[[int], None]]:
    """A bar over `total` steps; gives the function to call with the number of steps just made.

    Nothing is shown where it is not `wanted`.
    """
    if not wanted(show):
        yield lambda steps: None
        return
    from tqdm.auto import tqdm

    with tqdm(total=total, desc=text) as shown:

        def advance(steps: int) -> None:
            shown.update(min(steps, total - shown.n))

        yield advance


@contextlib.contextmanager
def share(text: str, show: bool | None) -> Iterator[Callable[[float], None]]:
    """A bar for what tells only which share of it is done, about: gives the function to call with that."""
    with bar(100, text, show) as advance:
        done = 0

        def reached(part: float) -> None:
            nonlocal done
            percent = max(int(100 * part), done)  # an estimate may fall, what is done does not
            advance(percent - done)
            done = percent

        yield reached
