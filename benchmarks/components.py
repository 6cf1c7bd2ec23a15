"""What each component costs on 2,000 bins: value and gradient, alone and for 1000 sets of parameters.

    python benchmarks/components.py [name ...]

Each component is in use: a factor multiplies a power law, a convolution acts on one. The gradient is that of the sum of
the logarithms of the bins' photons, by the parameters that are free unless a user says otherwise.
"""

from __future__ import annotations

import argparse
import os
import time
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import ArrayLike

import jaxspec.spectra as spectra
from jaxspec import parameters
from jaxspec.photons import photons_in
from jaxspec.quadrature import Bins
from jaxspec.spectra import AbstractComponent, AbstractSpectrum
from jaxspec.spectra._plasma import AbstractPlasma

EDGES = np.geomspace(0.3, 12.0, 2001)
N_SETS = 1000
JOINED = "tbabs * (powerlaw + diskbb + gaussian)"


def in_use() -> dict[str, AbstractSpectrum]:
    """Every component that can be made, in an additive spectrum, and one spectrum of several."""
    base = spectra.PowerLaw(name="base")
    found: dict[str, AbstractSpectrum] = {}
    for name in spectra.__all__:
        exported = getattr(spectra, name)
        if isinstance(exported, type) and issubclass(exported, AbstractComponent) and not name.startswith("Abstract"):
            component: Any = exported
            if issubclass(component, AbstractPlasma) and "ATOMDB" not in os.environ:
                continue
            component = component()
            if component.kind == "convolution":
                acts_on_factors = "additive" not in component.acts_on
                found[name] = component(spectra.Edge()) * base if acts_on_factors else component(base)
            else:
                found[name] = component if component.kind == "additive" else component * base
    found[JOINED] = spectra.TBabs() * (spectra.PowerLaw() + spectra.DiskBlackbody() + spectra.GaussianLine())
    return found


def free_values(spectrum: AbstractSpectrum) -> dict[tuple[str, str], float]:
    """The free parameters and their values, by component and field."""
    return {
        (name, field): getattr(component, field)
        for name, component in spectrum.components().items()
        if name != "base"
        for field, declared in parameters.declarations(component).items()
        if declared.free
    }


def value_and_gradient(theta: jax.Array, spectrum: AbstractSpectrum, bins: Bins) -> tuple[jax.Array, jax.Array]:
    """A number made of the photons in all bins, and its gradient by the free parameters."""
    names = list(free_values(spectrum))

    def value(theta: jax.Array) -> jax.Array:
        fields = dict(zip(names, theta))
        moved = spectrum.map_components(
            lambda c: c.with_fields(**{field: at for (name, field), at in fields.items() if name == c.label})
        )
        return jnp.log(photons_in(moved, bins) + 1e-30) @ jnp.ones_like(bins.low)

    return jax.value_and_grad(value)(theta)


@jax.jit
def once(theta: jax.Array, spectrum: AbstractSpectrum, bins: Bins) -> Any:
    return value_and_gradient(theta, spectrum, bins)


@jax.jit
def batch(thetas: jax.Array, spectrum: AbstractSpectrum, bins: Bins) -> Any:
    return jax.lax.map(lambda theta: value_and_gradient(theta, spectrum, bins), thetas)


def microseconds(function: Any, *arguments: ArrayLike, repeats: int) -> float:
    """Of one call: the least of several after a first one, which compiles."""
    jax.block_until_ready(function(*arguments))
    seconds = []
    for _ in range(repeats):
        start = time.perf_counter()
        jax.block_until_ready(function(*arguments))
        seconds.append(time.perf_counter() - start)
    return 1e6 * min(seconds)


def main() -> None:
    """Prints a table in Markdown."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", help="components; without any, all")
    cases = in_use()
    names = parser.parse_args().names or list(cases)
    bins = Bins.fine_enough(EDGES[:-1], EDGES[1:])
    cost = {}
    for name in ["PowerLaw", *(name for name in names if name != "PowerLaw")]:
        spectrum = cases[name]
        # Arrays, not numbers, so that frozen parameters are not built into the program.
        theta, leaves = np.array(list(free_values(spectrum).values()), float), jax.tree.map(jnp.asarray, spectrum)
        alone = microseconds(once, jnp.asarray(theta), leaves, bins, repeats=200)
        sets = jnp.asarray(np.tile(theta, (N_SETS, 1)))
        cost[name] = alone, microseconds(batch, sets, leaves, bins, repeats=3) / N_SETS
    first = cost["PowerLaw"]
    print("| component | us | of a power law | us in a batch | of a power law |\n|---|--:|--:|--:|--:|")
    for name, (alone, each) in cost.items():
        print(f"| {name} | {alone:.0f} | {alone / first[0]:.1f} | {each:.0f} | {each / first[1]:.1f} |")


if __name__ == "__main__":
    main()
