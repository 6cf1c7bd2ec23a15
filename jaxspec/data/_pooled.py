"""Several background regions as one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from ._observation import Background


def pooled(regions: tuple[Background, ...]) -> dict[str, Any]:
    """The fields of the background region that several make together."""
    if not regions:
        raise ValueError("pooled takes backgrounds, and got none")
    size = regions[0].counts.size
    for region in regions:
        if region.counts.size != size:
            raise ValueError(
                f"the backgrounds {regions[0].name!r} and {region.name!r} have {size} and {region.counts.size} "
                "channels: only those of the same channels can be pooled"
            )
    exposure = sum(region.exposure for region in regions)
    weights = [region.exposure * region.area_scale * region.back_scale for region in regions]
    counts = sum(region.counts for region in regions)
    fields: dict[str, Any] = {"counts": counts, "exposure": exposure, "back_scale": sum(weights) / exposure}
    if any(region.errors is not None for region in regions):
        variances = [region.counts if region.errors is None else region.errors**2 for region in regions]
        fields["errors"] = np.sqrt(sum(variances))
    if any(region.systematic is not None for region in regions):
        squares = [(region.systematic * region.counts) ** 2 for region in regions if region.systematic is not None]
        fields["systematic"] = np.divide(np.sqrt(sum(squares)), counts, out=np.zeros(size), where=counts > 0)
    return fields | {"name": " + ".join(region.name for region in regions)}
