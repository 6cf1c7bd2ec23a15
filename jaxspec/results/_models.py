"""Models as plain data, and back: spectra by class and values, priors by family and numbers, links by their law."""

from __future__ import annotations

import inspect
import warnings
from typing import Any

import jax
import numpy as np

from jaxspec import parameters
from jaxspec.calibration import Calibration
from jaxspec.model import Model
from jaxspec.parameters import JointPrior, Link
from jaxspec.results import _laws, _spectra
from jaxspec.sources import BackgroundModel, PointSource


def model_to_dict(model: Model, arrays: list[np.ndarray]) -> dict[str, Any]:
    """A model as JSON can hold it; the arrays of tables are appended to `arrays`.

    A prior or law that cannot be written is kept as text, and a warning says so.
    """
    rows = model.parameters
    return {
        "sources": [
            {"name": s.name, "ra": s.ra, "dec": s.dec, "spectrum": _spectra.to_dict(s.spectrum, arrays)}
            for s in model.at({}).sources
        ],
        "backgrounds": [
            {"name": b.name, "spectrum": _spectra.to_dict(b.spectrum, arrays)} for b in model.at({}).backgrounds
        ],
        "calibrations": [
            _spectra.component_to_dict(calibration)["fields"] for calibration in model.at({}).calibrations
        ],
        "free": {name: row.free for name, row in rows.items() if row.link is None},
        "bounds": {name: row.bounds for name, row in rows.items()},
        "priors": {
            name: _prior_to_dict(name, prior)
            for name, prior in model.priors.items()
            if not isinstance(prior, JointPrior)
        },
        "joint_priors": [
            [prior.names, _prior_to_dict(", ".join(prior.names), prior.distribution)]
            for name, prior in model.priors.items()
            if isinstance(prior, JointPrior) and name == prior.names[0]
        ],
        "links": {name: _link_to_dict(name, link) for name, link in model.links.items()},
    }


def model_from_dict(data: dict[str, Any], arrays: list[np.ndarray]) -> Model:
    """The model of `model_to_dict`. Raises `ValueError` for a component whose class is not to be found."""
    model = Model(
        *(
            PointSource(s["name"], _spectra.from_dict(s["spectrum"], arrays), ra=s["ra"], dec=s["dec"])
            for s in data["sources"]
        ),
        *(BackgroundModel(b["name"], _spectra.from_dict(b["spectrum"], arrays)) for b in data.get("backgrounds", ())),
        *(Calibration(**fields) for fields in data.get("calibrations", ())),
    )
    declared = {name: row.bounds for name, row in model.parameters.items()}
    for name, free in data["free"].items():
        model = model.thaw(name) if free else model.freeze(name)
    bounds = {name: tuple(pair) for name, pair in data["bounds"].items() if tuple(pair) != declared[name]}
    priors = {name: _prior_from_dict(prior) for name, prior in data["priors"].items()}
    for names, written in data.get("joint_priors", ()):
        prior = _prior_from_dict(written)
        priors |= dict.fromkeys(names, prior and JointPrior(prior, tuple(names)))
    # A frozen or linked parameter may keep a sleeping prior, which with_priors refuses.
    model = model._with(
        _bounds=bounds,
        priors={name: prior for name, prior in priors.items() if prior is not None},
    )
    for name, link in data["links"].items():
        if not link["equal"] and link["law"] is None:
            warnings.warn(
                f"load: the law of the link of {name} was not kept; it is frozen, its draws are right", stacklevel=4
            )
            model = model.freeze(name)
        else:
            model = model.link(name, to=link["inputs"], function=link["law"] and _laws.Law(link["law"]))
    return model


def _prior_to_dict(name: str, prior: Any) -> dict[str, Any]:
    """Family and numbers of a prior, where it can be made again of them."""
    try:
        written = _family_and_numbers(prior)
        if _same(_prior_from_dict(written), prior):
            return written
    except (TypeError, ValueError, AttributeError):
        pass
    warnings.warn(f"save: the prior of {name}, {prior!r}, cannot be written; it is kept as text", stacklevel=5)
    return {"text": repr(prior), "family": None}


_IMPLIED = {"covariance_matrix", "precision_matrix", "correlation_matrix", "validate_args"}  # by a Cholesky factor
_KEPT_AS = {"base_distribution": "base_dist"}  # what a distribution calls an argument


def _family_and_numbers(prior: Any) -> dict[str, Any]:
    arguments = {
        name: _written(getattr(prior, _KEPT_AS.get(name, name)))
        for name in list(inspect.signature(type(prior).__init__).parameters)[1:]
        if name not in _IMPLIED
    }
    return {"text": parameters.prior_text(prior), "family": type(prior).__name__, "arguments": arguments}


def _written(value: Any) -> Any:
    """An argument of a distribution: numbers, another distribution, or transforms without numbers of their own."""
    if isinstance(value, list):
        if jax.tree.leaves(value):
            raise ValueError("a transform with numbers cannot be written")
        return {"transforms": [type(each).__name__ for each in value]}
    if isinstance(value, int):
        return value
    if isinstance(value, (float, np.ndarray, jax.Array)):
        return np.asarray(value, float).tolist()
    return _family_and_numbers(value)


def _read(written: Any) -> Any:
    from numpyro.distributions import transforms

    if isinstance(written, dict):
        if "transforms" in written:
            return [getattr(transforms, name)() for name in written["transforms"]]
        return _prior_from_dict(written)
    return np.array(written) if isinstance(written, list) else written


def _same(first: Any, second: Any) -> bool:
    leaves, others = jax.tree.leaves(first), jax.tree.leaves(second)
    return type(first) is type(second) and len(leaves) == len(others) and all(map(np.allclose, leaves, others))


def _prior_from_dict(data: dict[str, Any]) -> Any:
    import numpyro.distributions as dist
    from numpyro.distributions import truncated

    if data["family"] is None:
        warnings.warn(
            f"load: the prior {data['text']} was kept as text only; set it again to sample anew", stacklevel=5
        )
        return None
    family = getattr(dist, data["family"], None) or getattr(truncated, data["family"])
    return family(**{name: _read(value) for name, value in data["arguments"].items()})


def _link_to_dict(name: str, link: Link) -> dict[str, Any]:
    law = None if link.function is None else _laws.write(link.function, len(link.inputs))
    if link.function is not None and law is None:
        warnings.warn(
            f"save: the law of the link of {name} is no formula of elementary functions, so it is not kept; "
            f"the draws of {name} are",
            stacklevel=5,
        )
    return {"inputs": list(link.inputs), "equal": link.function is None, "law": law}
