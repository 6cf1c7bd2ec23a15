"""Draws of a population and of its members."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from jaxspec import parameters
from jaxspec.problem import Problem
from jaxspec.results._catalogue import observations_of
from jaxspec.results._posterior import Posterior
from jaxspec.results._table import interval as interval_of

if TYPE_CHECKING:
    from jaxspec.methods import NUTS
    from jaxspec.model import Model
    from jaxspec.populations import Population

_MAX_R_HAT = 1.01


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class PopulationPosterior:
    """Draws of what members of a population have in common, and of each member.

    `posterior["name"]` is the ordinary posterior of a member, within the population.
    """

    model: Model
    observations: Mapping[str, Any]
    population: Mapping[str, tuple[Population, ...]]  # one, or two of a mixture
    # By name, each (chains, draws, ...): "mean", "width" (n_classes, n), "fraction" (n_classes,), "correlation" (n, n),
    # "shared" (n_shared,).
    hyper: Mapping[str, np.ndarray]
    shared: tuple[str, ...]
    samples: np.ndarray  # of all parameters of all members, (chains, draws, n_members, n_parameters)
    in_first: np.ndarray  # the probability that each member belongs to the first class, (n_members,)
    method: NUTS
    key: np.ndarray
    divergences: int

    @property
    def scattering(self) -> tuple[str, ...]:
        """The parameters that scatter, in the order of the model."""
        return tuple(name for name in self.model.free if name in self.population)

    def __len__(self) -> int:
        return len(self.observations)

    def __iter__(self) -> Iterator[str]:
        return iter(self.observations)

    def __getitem__(self, name: str) -> Posterior:
        """The posterior of a member. Raises `KeyError` for an unknown name."""
        if name not in self.observations:
            raise parameters.unknown(name, self.observations, "spectrum")
        i = list(self.observations).index(name)
        return Posterior(
            problem=Problem(self.model, observations_of(self.observations[name])),
            samples=self.samples[:, :, i],
            method=self.method,
            key=self.key,
            statistics={"divergences": self.divergences},
        )

    def draws(self, name: str, what: str = "mean", second: bool = False) -> np.ndarray:
        """Draws of the "mean" or "width" of a parameter (of its logarithm where that scatters), (n_draws,).

        Of the first population of a mixture, or of the `second`. Raises `KeyError` for a parameter that does not
        scatter.
        """
        return self._chains(name, what, int(second)).reshape(-1)

    def _chains(self, name: str, what: str, place: int) -> np.ndarray:
        if name not in self.scattering:
            raise parameters.unknown(name, self.scattering, "scattering parameter")
        return self.hyper[what][..., min(place, self._n_classes - 1), self.scattering.index(name)]

    @property
    def _n_classes(self) -> int:
        return self.hyper["fraction"].shape[-1]

    def _hyper_chains(self) -> dict[str, np.ndarray]:
        """Each row of the table of hyper-parameters, (chains, draws)."""
        rows = {}
        for name in self.scattering:
            classes = self.population[name]
            shown = f"ln {name}" if classes[0].log else name
            for place, order in enumerate(("", "second ")[: len(classes)]):
                for what in ("mean", "width"):
                    rows[f"{order}{what} of {shown}"] = self._chains(name, what, place)
        if self._n_classes > 1:
            rows["fraction of the first"] = self.hyper["fraction"][..., 0]
        names = self.scattering
        if np.any(self.hyper["correlation"] != np.eye(len(names))):
            for i, first in enumerate(names):
                for j in range(i):
                    rows[f"correlation of {names[j]}, {first}"] = self.hyper["correlation"][..., i, j]
        return rows | {name: self.hyper["shared"][..., i] for i, name in enumerate(self.shared)}

    def hyper_table(self, level: float = 0.68) -> Any:
        """Means, widths, correlations, fraction, shared parameters: median, interval, R-hat, ESS; a pandas table."""
        import pandas as pd
        from numpyro.diagnostics import effective_sample_size, split_gelman_rubin

        table = {}
        for row, chains in self._hyper_chains().items():
            low, high = interval_of(chains.reshape(-1), level)
            numbers = np.median(chains), low, high, split_gelman_rubin(chains), effective_sample_size(chains)
            table[row] = dict(zip(("median", "low", "high", "r_hat", "ess"), map(float, numbers)))
        return pd.DataFrame.from_dict(table, orient="index")

    def table(self) -> Any:
        """Median and standard deviation of each member's free and linked parameters, as a pandas table.

        Of a mixture, "in first" is the probability that the member belongs to the first population.
        """
        import pandas as pd

        columns = {}
        for i, (name, row) in enumerate(self.model.parameters.items()):
            if row.free or row.link is not None:
                columns[name] = np.median(self.samples[..., i], axis=(0, 1))
                columns[f"{name} error"] = np.std(self.samples[..., i], axis=(0, 1))
        if self._n_classes > 1:
            columns["in first"] = self.in_first
        return pd.DataFrame(columns, index=pd.Index(list(self.observations), name="spectrum"))

    @property
    def troubles(self) -> list[str]:
        """What is wrong with the draws, in words."""
        worst = float(np.nanmax(self.hyper_table()["r_hat"]))
        found = [f"the chains do not agree (R-hat {worst:.3f}): take more draws"] if worst > _MAX_R_HAT else []
        if self.divergences:
            found.append(f"{self.divergences} draws diverged: raise NUTS(target_accept=...)")
        return found

    def plot_population(self, name: str, *, figsize: tuple[float, float] | None = None) -> Any:
        """The members' values of a parameter, and on top the distribution of the population with its 68 % band.

        Returns a matplotlib figure. Raises `KeyError` for a parameter that does not scatter.
        """
        from jaxspec.plots._history import population
        from jaxspec.plots._style import with_unit

        classes = range(self._n_classes)
        mean, width = (
            np.stack([self._chains(name, what, c).reshape(-1) for c in classes]) for what in ("mean", "width")
        )
        fraction = self.hyper["fraction"].reshape(-1, self._n_classes).T
        index = list(self.model.parameters).index(name)
        values = np.median(self.samples[..., index], axis=(0, 1))
        label = name if len(self.model.sources) > 1 else name.split(".", 1)[1]
        label = with_unit(label, self.model.parameters[name].unit)
        return population(values, mean, width, fraction, label=label, log=self.population[name][0].log, figsize=figsize)

    def __repr__(self) -> str:
        lines = [f"Population of {len(self)} spectra", *(f"! {trouble}" for trouble in self.troubles), ""]
        return "\n".join([*lines, self.hyper_table().to_string(float_format=lambda value: f"{value:.5g}")])
