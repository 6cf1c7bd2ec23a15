"""The law of a link as plain data: what a lambda computes, written down and read back without running foreign code."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

_WITHOUT_OPTIONS = (
    "add", "sub", "mul", "div", "neg", "abs", "sign", "max", "min", "pow", "rem", "exp", "exp2", "log", "log1p",
    "expm1", "sqrt", "rsqrt", "cbrt", "square", "sin", "cos", "tan", "asin", "acos", "atan", "atan2", "sinh",
    "cosh", "tanh", "asinh", "acosh", "atanh", "erf", "erfc", "lgamma", "digamma", "logistic", "floor", "ceil",
    "eq", "ne", "lt", "le", "gt", "ge",
)  # fmt: skip
_OPERATIONS: dict[str, Callable[..., Any]] = {
    **{name: getattr(lax, name) for name in _WITHOUT_OPTIONS},
    "integer_pow": lambda x, y: lax.integer_pow(x, y),
    "select_n": lax.select_n,
    "convert_element_type": lambda x, new_dtype: lax.convert_element_type(x, np.dtype(new_dtype)),
    "copy": lambda x: x,
    "stop_gradient": lax.stop_gradient,
}


_CALLS = ("jit", "pjit", "closed_call", "core_call", "custom_jvp_call", "custom_vjp_call", "remat", "checkpoint")


@dataclasses.dataclass(frozen=True)
class Law:
    """A function of numbers as a list of steps: name of the operation, its option, and where its operands are.

    An operand is a number itself, or the index of an input or of an earlier step (as a list of one).
    """

    text: str

    def __call__(self, *inputs: Any) -> Any:
        law = json.loads(self.text)
        known = [jnp.asarray(value, float) for value in inputs]

        def read(operand: Any) -> Any:
            return known[operand[0]] if isinstance(operand, list) else jnp.asarray(operand)

        for name, option, operands in law["steps"]:
            arguments = [read(operand) for operand in operands]
            known.append(_OPERATIONS[name](*arguments, **option))
        return read(law["result"])


def write(function: Callable[..., Any], n_inputs: int) -> str | None:
    """The text of a `Law` that computes what a function of `n_inputs` numbers does; None where it is not elementary."""
    if isinstance(function, Law):
        return function.text
    closed = jax.make_jaxpr(function)(*[1.0] * n_inputs)
    steps: list[Any] = []

    def trace(jaxpr: Any, constants: list[Any], operands: list[Any]) -> list[Any] | None:
        places = dict(zip([*jaxpr.constvars, *jaxpr.invars], [*constants, *operands]))

        def place(variable: Any) -> Any:
            return np.asarray(variable.val).item() if hasattr(variable, "val") else places[variable]

        for equation in jaxpr.eqns:
            name, given = equation.primitive.name, [place(variable) for variable in equation.invars]
            inner = equation.params.get("jaxpr") or equation.params.get("call_jaxpr")
            if name in _CALLS and inner is not None:  # a loop has an inner program too, but runs it many times
                results = trace(inner.jaxpr, [np.asarray(c).item() for c in inner.consts], given)
                if results is None:
                    return None
            elif name in _OPERATIONS:
                steps.append([name, _option(name, equation.params), given])
                results = [[n_inputs + len(steps) - 1]]
            else:
                return None
            places.update(zip(equation.outvars, results))
        return [place(variable) for variable in jaxpr.outvars]

    constants = [np.asarray(constant) for constant in closed.consts]
    if any(constant.ndim for constant in constants):
        return None
    result = trace(closed.jaxpr, [constant.item() for constant in constants], [[i] for i in range(n_inputs)])
    return None if result is None else json.dumps({"steps": steps, "result": result[0]})


def _option(name: str, given: Any) -> dict[str, Any]:
    """What of an operation is not an operand."""
    if name == "integer_pow":
        return {"y": given["y"]}
    return {"new_dtype": np.dtype(given["new_dtype"]).name} if name == "convert_element_type" else {}
