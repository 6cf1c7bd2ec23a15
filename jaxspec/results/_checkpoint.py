"""A file of finished rows, so that a long run can go on where it stopped."""

from __future__ import annotations

import base64
import dataclasses
import json
import os
from pathlib import Path
from typing import Any

import numpy as np

from jaxspec.results._rows import Rows

_FORMAT = 2


class Checkpoint:
    """Chunks of rows in a text file: a line that says of which run they are, then a line of JSON for each chunk.

    A line that a killed process has not finished is cut off, so that at most one chunk is lost. Numbers are written
    byte by byte.

    Args:
        path: of the file; it is begun where there is none.
        fingerprint: of model, settings and data.
        kind: of the rows.

    Raises `ValueError` for a file of another run, or one that is no such file, `FileNotFoundError` for a folder that is
    not there.
    """

    def __init__(self, path: Any, fingerprint: str, kind: type[Rows]) -> None:
        self.path = Path(path)
        if not self.path.parent.is_dir():
            raise FileNotFoundError(f"cannot write {path}: the folder {self.path.parent} does not exist")
        self.finished: dict[tuple[int, int], Rows] = {}
        head = {"jaxspec_rows": _FORMAT, "run": fingerprint}
        if not self.path.is_file():
            self.path.write_text(json.dumps(head) + "\n")
            return
        whole = self.path.read_bytes()
        end = whole.rfind(b"\n") + 1
        first, *lines = whole[:end].decode(errors="replace").splitlines() or [""]
        if _read(first) != head:
            raise ValueError(
                f"{path} is not of this run: model, settings or data differ. Give another file, or delete this one"
            )
        for record in map(json.loads, lines):
            arrays = {name: _array(value) for name, value in record["rows"].items()}
            self.finished[record["start"], record["stop"]] = kind(**arrays)
        if end < len(whole):
            os.truncate(self.path, end)

    def add(self, start: int, stop: int, rows: Rows) -> None:
        """Writes the rows from number `start` to before `stop`."""
        arrays = {field.name: _stored(getattr(rows, field.name)) for field in dataclasses.fields(rows)}
        with self.path.open("a") as file:
            file.write(json.dumps({"start": start, "stop": stop, "rows": arrays}) + "\n")
            file.flush()
            os.fsync(file.fileno())


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
