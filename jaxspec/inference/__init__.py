"""Fitting and sampling: `fit(problem)`, `sample(problem, method, key=...)`."""

from jaxspec.inference._fit import fit
from jaxspec.inference._sample import sample

__all__ = ["fit", "sample"]
