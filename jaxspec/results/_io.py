"""Results in one file: netCDF-4, readable by arviz and xarray, with everything that made them.

Groups: `posterior` (draws of the parameters that vary), `jaxspec` (the model, the method and versions as JSON, and
arrays), `observation_i` and `response_j` (the data, ungrouped, with their selections).
"""

from __future__ import annotations

import dataclasses
import importlib.metadata
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from jaxspec import methods
from jaxspec.data import Background, FluxPoints, Observation, Response
from jaxspec.problem import Problem
from jaxspec.results import _models
from jaxspec.results._bestfit import BestFit
from jaxspec.results._posterior import Posterior
from jaxspec.results._result import Result

FORMAT = 1
_OBSERVATIONS = {"Observation": Observation, "FluxPoints": FluxPoints}
_PACKAGES = ("jaxspec-engine", "jax", "numpyro", "numpy", "ultranest")


def save(result: Result, path: Any) -> None:
    """Writes a result to `path`, first to a neighbouring file, so that a failure never spoils an older one."""
    import h5netcdf

    target = Path(path)
    if not target.parent.is_dir():
        raise FileNotFoundError(f"cannot save to {target}: the folder {target.parent} does not exist")
    temporary = target.with_name(f".{target.name}.{os.getpid()}.part")
    try:
        with h5netcdf.File(temporary, "w") as file:
            file.attrs["jaxspec_format"] = FORMAT
            file.attrs["kind"] = type(result).__name__
            file.attrs["versions"] = json.dumps(_versions())
            _write_problem(file, result.problem)
            if isinstance(result, Posterior):
                _write_posterior(file, result)
            else:
                group = file.create_group("jaxspec")
                _write_record(group, result, skip=("problem",))
                _write_array(group, "points", result.points)  # of a link whose law is not kept, too
        os.replace(temporary, target)
    finally:
        temporary.unlink(missing_ok=True)


def load(path: Any) -> BestFit | Posterior:
    """Reads a result that `save` wrote.

    Raises `FileNotFoundError` for a missing file, `ValueError` for one that jaxspec did not write or a newer one did.
    """
    import h5netcdf

    if not Path(path).is_file():
        raise FileNotFoundError(f"there is no file {path}")
    try:
        file = h5netcdf.File(path, "r")
    except OSError as error:
        raise ValueError(f"{path} is not a result of jaxspec: it cannot be read as netCDF ({error})") from error
    with file:
        version = file.attrs.get("jaxspec_format")
        if version is None:
            raise ValueError(f"{path} is a netCDF file, but not a result that jaxspec saved")
        if version > FORMAT:
            raise ValueError(
                f"{path} was written by a newer jaxspec (format {version}, known {FORMAT}): upgrade jaxspec"
            )
        problem = _read_problem(file)
        return _read_posterior(file, problem) if file.attrs["kind"] == "Posterior" else _read_best_fit(file, problem)


def _versions() -> dict[str, str]:
    found = {}
    for name in _PACKAGES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def _write_array(group: Any, name: str, array: Any, dims: tuple[str, ...] | None = None) -> None:
    array = np.asarray(array)
    dims = dims or tuple(f"{name}_{axis}" for axis in range(array.ndim))
    for dim, size in zip(dims, array.shape):
        if dim not in group.dimensions:
            group.dimensions[dim] = size
    compressed = {"compression": "gzip", "shuffle": True} if array.size > 1 else {}
    group.create_variable(name, dims, data=array, **compressed)


def _write_record(group: Any, record: Any, skip: tuple[str, ...] = ()) -> None:
    """A dataclass: its arrays as variables, the rest as JSON."""
    plain = {}
    for field in dataclasses.fields(record):
        value = getattr(record, field.name)
        if field.name in skip:
            continue
        if isinstance(value, np.ndarray):
            _write_array(group, field.name, value)
        else:
            plain[field.name] = value
    group.attrs["fields"] = json.dumps(plain)


def _read_record(group: Any) -> dict[str, Any]:
    return {
        **json.loads(group.attrs["fields"]),
        **{name: group.variables[name][...] for name in group.variables},
    }


def _write_problem(file: Any, problem: Problem) -> None:
    arrays: list[np.ndarray] = []
    file.attrs["model"] = json.dumps(_models.model_to_dict(problem.model, arrays))
    for i, array in enumerate(arrays):
        _write_array(file.create_group("tables") if i == 0 else file.groups["tables"], f"array_{i}", array)
    responses: dict[int, int] = {}

    def number(response: Response) -> int:
        if id(response) not in responses:
            responses[id(response)] = len(responses)
            group = file.create_group(f"response_{responses[id(response)]}")
            _write_record(group, response, skip=("matrix",))
            for part in ("data", "indices", "indptr"):
                _write_array(group, f"matrix_{part}", getattr(response.matrix, part))
        return responses[id(response)]

    for i, observation in enumerate(problem.observations):
        group = file.create_group(f"observation_{i}")
        group.attrs["class"] = type(observation).__name__
        group.attrs["response"] = number(observation.response)
        models = [(name, number(response)) for name, response in observation.background_models]
        group.attrs["background_models"] = json.dumps(models)
        _write_record(group, observation, skip=("response", "background", "background_models"))
        if observation.background is not None:
            _write_record(group.create_group("background"), observation.background)


def _read_problem(file: Any) -> Problem:
    from scipy.sparse import csr_array

    responses = []
    while f"response_{len(responses)}" in file.groups:
        fields = _read_record(file.groups[f"response_{len(responses)}"])
        parts = tuple(fields.pop(f"matrix_{part}") for part in ("data", "indices", "indptr"))
        shape = (len(fields["channels"]), len(fields["energy_low"]))
        responses.append(Response(**_tuples(fields), matrix=csr_array(parts, shape=shape)))
    observations = []
    while f"observation_{len(observations)}" in file.groups:
        group = file.groups[f"observation_{len(observations)}"]
        background = _tuples(_read_record(group.groups["background"])) if "background" in group.groups else None
        fields = _tuples(_read_record(group))
        observations.append(
            _OBSERVATIONS[group.attrs.get("class", "Observation")](
                **fields,
                response=responses[int(group.attrs["response"])],
                background_models=tuple(
                    (name, responses[number]) for name, number in json.loads(group.attrs.get("background_models", "[]"))
                ),
                background=None if background is None else Background(**background),
            )
        )
    tables = file.groups["tables"].variables if "tables" in file.groups else {}
    arrays = [tables[f"array_{i}"][...] for i in range(len(tables))]
    return Problem(_models.model_from_dict(json.loads(file.attrs["model"]), arrays), observations)


def _tuples(fields: Mapping[str, Any]) -> dict[str, Any]:
    """JSON knows no tuples; ranges of channels and energies are tuples of their own class."""
    from jaxspec.data._selection import Range

    result = {}
    for name, value in fields.items():
        if name in ("noticed", "ignored"):
            value = tuple(Range(*item) for item in value)
        result[name] = tuple(value) if isinstance(value, list) else value
    return result


def _write_draws(file: Any, names: list[str], samples: np.ndarray) -> None:
    group = file.create_group("posterior")
    for axis, size in zip(("chain", "draw"), samples.shape):
        group.dimensions[axis] = size
        group.create_variable(axis, (axis,), data=np.arange(size))
    for i, name in enumerate(names):
        _write_array(group, name, samples[..., i], ("chain", "draw"))


def _write_posterior(file: Any, posterior: Posterior) -> None:
    rows = list(posterior.problem.model.parameters)
    columns = [rows.index(name) for name in posterior.varied]
    _write_draws(file, list(posterior.varied), posterior.samples[..., columns])
    group = file.create_group("jaxspec")
    group.attrs["method"] = json.dumps([type(posterior.method).__name__, dataclasses.asdict(posterior.method)])
    group.attrs["statistics"] = json.dumps(dict(posterior.statistics))
    group.attrs["log_evidence"] = json.dumps(posterior.log_evidence)
    _write_array(group, "key", posterior.key)


def _read_posterior(file: Any, problem: Problem) -> Posterior:
    draws, group = file.groups["posterior"], file.groups["jaxspec"]
    values = problem.model.values
    rows = list(values)
    shape = (draws.dimensions["chain"].size, draws.dimensions["draw"].size)
    samples = np.empty((*shape, len(rows)))
    for i, name in enumerate(rows):
        samples[..., i] = draws.variables[name][...] if name in draws.variables else float(values[name])
    evidence = json.loads(group.attrs["log_evidence"])
    return Posterior(
        problem,
        samples,
        method=methods.from_settings(*json.loads(group.attrs["method"])),
        key=group.variables["key"][...],
        statistics=json.loads(group.attrs["statistics"]),
        log_evidence=None if evidence is None else tuple(evidence),
    )


def _read_best_fit(file: Any, problem: Problem) -> BestFit:
    fields = _tuples(_read_record(file.groups["jaxspec"]))
    points = fields.pop("points")
    best = BestFit(problem, **fields)
    object.__setattr__(best, "points", points)
    return best
