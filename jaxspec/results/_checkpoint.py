"""Files of what a long run has made so far, so that it can go on where it stopped."""

from __future__ import annotations

import base64
import dataclasses
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxspec.results._rows import Rows

_FORMAT = 3


class RunFile:
    """What a run has made so far, in a text file: a line that says of which run it is, then a line of JSON each time.

    A line that a killed process has not finished is cut off, so that at most one is lost. Numbers are written byte by
    byte.

    Args:
        path: of the file; it is begun where there is none.
        fingerprint: of model, settings and data.

    Raises `ValueError` for a file of another run, or one that is no such file, `FileNotFoundError` for a folder that is
    not there.
    """

    def __init__(self, path: Any, fingerprint: str) -> None:
        self.path = Path(path)
        if not self.path.parent.is_dir():
            raise FileNotFoundError(f"cannot write {path}: the folder {self.path.parent} does not exist")
        head = {"jaxspec_run": _FORMAT, "run": fingerprint}
        if not self.path.is_file():
            self.path.write_text(json.dumps(head) + "\n")
        whole = self.path.read_bytes()
        end = whole.rfind(b"\n") + 1
        first, *lines = whole[:end].decode(errors="replace").splitlines() or [""]
        if _read(first) != head:
            raise ValueError(
                f"{path} is not of this run: model, settings or data differ. Give another file, or delete this one"
            )
        self.records = [json.loads(line) for line in lines]
        if end < len(whole):
            os.truncate(self.path, end)

    def write(self, record: Any) -> None:
        """Appends a line."""
        with self.path.open("a") as file:
            file.write(json.dumps(record) + "\n")
            file.flush()
            os.fsync(file.fileno())


class Checkpoint(RunFile):
    """Chunks of finished rows, in any order.

    Args:
        path, fingerprint: as for `RunFile`.
        kind: of the rows.
    """

    def __init__(self, path: Any, fingerprint: str, kind: type[Rows]) -> None:
        super().__init__(path, fingerprint)
        self.finished: dict[tuple[int, int], Rows] = {}
        for record in self.records:
            arrays = {name: _array(value) for name, value in record["rows"].items()}
            self.finished[record["start"], record["stop"]] = kind(**arrays)

    def add(self, start: int, stop: int, rows: Rows) -> None:
        """Writes the rows from number `start` to before `stop`."""
        arrays = {field.name: _stored(getattr(rows, field.name)) for field in dataclasses.fields(rows)}
        self.write({"start": start, "stop": stop, "rows": arrays})


class Journal(RunFile):
    """The outcomes of steps: those of the same run are read in their order, as long as there are any."""

    def step(self, like: Any, make: Callable[[], Any]) -> Any:
        """The outcome of the next step: as the file has it, else made and written.

        `like` is a pytree of the same structure, with keys where the outcome has them.
        """
        if self.records:
            structure, leaves = jax.tree.structure(like), jax.tree.leaves(like)
            return structure.unflatten(_as(leaf, _array(each)) for leaf, each in zip(leaves, self.records.pop(0)))
        outcome = make()
        self.write([_stored(_data(leaf)) for leaf in jax.tree.leaves(outcome)])
        return outcome


class NoJournal(Journal):
    """Of a run that is not to be kept: every step is made."""

    def __init__(self) -> None:
        pass

    def step(self, like: Any, make: Callable[[], Any]) -> Any:
        """The outcome of the next step."""
        return make()


def _is_key(leaf: Any) -> bool:
    return isinstance(leaf, jax.Array) and jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)


def _data(leaf: Any) -> np.ndarray:
    return np.asarray(jax.random.key_data(leaf) if _is_key(leaf) else leaf)


def _as(leaf: Any, array: np.ndarray) -> Any:
    return jax.random.wrap_key_data(jax.device_put(array), impl=jax.random.key_impl(leaf)) if _is_key(leaf) else array


def _read(line: str) -> Any:
    try:
        return json.loads(line)
    except ValueError:
        return None


def _stored(array: np.ndarray) -> Any:
    """As JSON takes it: text as it is, numbers byte by byte."""
    if array.dtype == object:
        return array.tolist()
    return {"type": array.dtype.str, "shape": array.shape, "base64": base64.b64encode(array.tobytes()).decode()}


def _array(stored: Any) -> np.ndarray:
    if isinstance(stored, list):
        return np.array(stored, object)
    data = base64.b64decode(stored["base64"])
    return np.frombuffer(data, stored["type"]).reshape(stored["shape"]).copy()
