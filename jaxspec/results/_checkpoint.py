"""A file of finished rows, so that a long run can go on where it stopped."""

from __future__ import annotations

import dataclasses
import json
import os
from pathlib import Path
from typing import Any

import numpy as np

from jaxspec.results._catalogue import Rows

_FORMAT = 1


class Checkpoint:
    """Chunks of rows in a text file: a line that says of which run they are, then a line of JSON for each chunk.

    A line that a killed process has not finished is cut off, so that at most one chunk is lost. Numbers are written
    with all their digits.

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
            arrays = {name: np.array(value, _kind(name)) for name, value in record["rows"].items()}
            self.finished[record["start"], record["stop"]] = Rows(**arrays)
        if end < len(whole):
            os.truncate(self.path, end)

    def add(self, start: int, stop: int, rows: Rows) -> None:
        """Writes the rows from number `start` to before `stop`."""
        arrays = {field.name: getattr(rows, field.name).tolist() for field in dataclasses.fields(rows)}
        with self.path.open("a") as file:
            file.write(json.dumps({"start": start, "stop": stop, "rows": arrays}) + "\n")
            file.flush()
            os.fsync(file.fileno())


def _read(line: str) -> Any:
    try:
        return json.loads(line)
    except ValueError:
        return None


def _kind(name: str) -> Any:
    return {"n_bins": int, "converged": bool, "trouble": object}.get(name, float)
