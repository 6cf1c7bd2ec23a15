"""Spectral fitting for X-ray and gamma-ray astronomy, differentiable and compiled with JAX."""

import jax

jax.config.update("jax_enable_x64", True)
