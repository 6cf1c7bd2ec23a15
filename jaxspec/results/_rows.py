"""What is known of each of many spectra, as arrays: what chunks report, and files of finished rows hold."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import TypeVar

import numpy as np

_R = TypeVar("_R", bound="Rows")
_OTHERS = {"n_bins": 0, "converged": False, "divergences": 0}  # what is no float, with what it is without a result


@dataclasses.dataclass(frozen=True, eq=False)
class Rows:
    """Arrays with a leading axis over spectra; n is the number of free parameters.

    A spectrum without a result has NaN and says why in `trouble`.
    """

    values: np.ndarray  # of all parameters, (n_spectra, n_parameters)
    errors: np.ndarray  # their standard deviations, (n_spectra, n_parameters)
    n_bins: np.ndarray
    fluxes: np.ndarray  # (n_spectra, n_fluxes)
    flux_errors: np.ndarray
    start: np.ndarray  # in s; NaN where it is not known
    stop: np.ndarray
    trouble: np.ndarray  # text, empty where there is none

    @classmethod
    def failed(cls: type[_R], trouble: Sequence[str], shapes: Mapping[str, tuple[int, ...]]) -> _R:
        """Rows of spectra without a result; `shapes` of the fields whose entries are no scalars."""
        arrays = {
            field.name: np.full((len(trouble), *shapes.get(field.name, ())), _OTHERS.get(field.name, np.nan))
            for field in dataclasses.fields(cls)
        }
        return cls(**(arrays | {"trouble": np.array(trouble, object)}))

    def put(self: _R, index: np.ndarray, other: _R) -> None:
        """Writes other rows over those of these numbers."""
        for field in dataclasses.fields(self):
            getattr(self, field.name)[index] = getattr(other, field.name)

    @classmethod
    def joined(cls: type[_R], pieces: Sequence[_R]) -> _R:
        """Rows one after the other."""
        names = [field.name for field in dataclasses.fields(cls)]
        return cls(*(np.concatenate([getattr(piece, name) for piece in pieces]) for name in names))

    def __len__(self) -> int:
        return len(self.trouble)


@dataclasses.dataclass(frozen=True, eq=False)
class FitRows(Rows):
    """Best fits."""

    u: np.ndarray  # best values in the unbounded space, (n_spectra, n)
    covariance_u: np.ndarray  # (n_spectra, n, n), zero for parameters that have no error
    statistic: np.ndarray
    log_likelihood: np.ndarray
    converged: np.ndarray  # bool


@dataclasses.dataclass(frozen=True, eq=False)
class DrawRows(Rows):
    """Posteriors: `values` are medians, `errors` standard deviations."""

    draws: np.ndarray  # in the unbounded space, (n_spectra, chains, draws, n)
    r_hat: np.ndarray  # the worst of the free parameters
    ess: np.ndarray  # the least of them
    divergences: np.ndarray
    at_max_depth: np.ndarray  # part of the trajectories
    log_evidence: np.ndarray  # natural logarithm
    log_evidence_error: np.ndarray
