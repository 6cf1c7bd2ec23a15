"""What an observation would measure, before it is made."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from jaxspec.inference._fit import fit
from jaxspec.problem import Problem
from jaxspec.simulation import simulate

if TYPE_CHECKING:
    from jaxspec.data import Response
    from jaxspec.model import Model
    from jaxspec.results import BestFit


def forecast(model: Model, response: Response, exposure: Any, background: Any = None, **how: Any) -> BestFit:
    """The errors that an observation would have, by the Fisher matrix at the values of the model.

    The data are the expected counts themselves, so the best values are the model's, and the second derivatives are
    those expected: intervals, fluxes, correlations and profiles of the result are a forecast.

    Args:
        model: sources with the values that are thought to be true.
        response, exposure, background: the observation, as for `simulate`; further arguments of it may follow by name.

    Raises as `simulate`.
    """
    return fit(Problem(model, simulate(model, response, exposure, background, key=None, **how)), starts=1)
