"""Observations, backgrounds and responses: from OGIP files or arrays to what the likelihood sees."""

from ._background_model import region_ratio, with_background_regions
from ._fits import RepairWarning
from ._flux_points import FluxPoints
from ._folder import read_each
from ._observation import Background, Observation
from ._response import Response
from ._selection import Selection

__all__ = [
    "Background",
    "FluxPoints",
    "Observation",
    "RepairWarning",
    "Response",
    "Selection",
    "read_each",
    "region_ratio",
    "with_background_regions",
]
