"""Compiled programs that another process finds again without tracing them: `program` in place of `jax.jit`."""

from __future__ import annotations

import concurrent.futures
import dataclasses
import functools
import hashlib
import importlib.metadata
import inspect
import os
import pickle
import platform
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import equinox as eqx
import jax
import jax.core
import jax.monitoring
import numpy as np

from jaxspec.parameters import Link
from jaxspec.priors import Priors

keeping = True  # on disk; JAX's own cache has to be on as well
_OURS = {"jaxspec", "jax", "numpyro", "builtins"}  # whose code is known by its version, or by the files' contents
_found = threading.local()  # by this thread, in JAX's own cache


def program(function: Callable[..., Any], static_argnames: str | Sequence[str] = (), **options: Any) -> Program:
    """`jax.jit` for large programs: compiled in half the time, as fast, and found on disk without being traced.

    JAX allows none inside another program: there, call its `__wrapped__`.

    XLA's newer code generator for fused loops, and cutting a program into parts to compile side by side, cost more
    than they save here. The likelihood alone, and what users compile of it, keeps JAX's own settings: it gains 10 %.
    """
    names = (static_argnames,) if isinstance(static_argnames, str) else tuple(static_argnames)
    return Program(function, names, options)


class Program:
    """A compiled function of pytrees; arguments named as static are parts of the program."""

    def __init__(self, function: Callable[..., Any], static: tuple[str, ...], options: dict[str, Any]) -> None:
        functools.update_wrapper(self, function)
        self.__wrapped__ = function
        settings = {"xla_cpu_use_fusion_emitters": False, "xla_cpu_parallel_codegen_split_count": 1}
        self._jit = functools.partial(jax.jit, compiler_options=settings, **options)
        self.jitted = self._jit(function, static_argnames=static)
        self.lower = self.jitted.lower
        self._signature = inspect.signature(function)
        self._static = static
        self._ready: dict[Any, _Whole | None] = {}
        self._lock = threading.Lock()

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if not _can_keep():
            return self.jitted(*args, **kwargs)
        given = dict(self._signature.bind(*args, **kwargs).arguments)
        fixed = {name: given.pop(name) for name in self._static if name in given}
        leaves, tree = jax.tree.flatten(given)
        if any(isinstance(leaf, jax.core.Tracer) for leaf in leaves):
            return self.jitted(*args, **kwargs)
        key = (tree, *fixed.items(), *map(_kind, leaves))
        with self._lock:
            if key not in self._ready:
                self._ready[key] = self._found_or_compiled(given, fixed, leaves, tree)
        whole = self._ready[key]
        return self.jitted(*args, **kwargs) if whole is None else whole(leaves)

    def _found_or_compiled(self, given: Any, fixed: dict[str, Any], leaves: list[Any], tree: Any) -> _Whole | None:
        """The program whole; None where its structure cannot be told from that of another by what it says of itself."""
        try:
            says = "\n".join([*_described(given), *_stated(fixed)])
        except _CannotTellError:
            return None
        name = f"{self.__wrapped__.__module__}.{self.__wrapped__.__qualname__}"
        code = hashlib.sha256("\n".join([name, _surroundings(), says]).encode()).hexdigest()
        path = Path(jax.config.values["jax_compilation_cache_dir"]) / "programs" / code
        return _Whole.read(path) or self._compiled(path, fixed, leaves, tree)

    def _compiled(self, path: Path, fixed: dict[str, Any], leaves: list[Any], tree: Any) -> _Whole:
        structure: list[Any] = []

        def flat(*leaves: Any) -> list[Any]:
            made, out = jax.tree.flatten(self.__wrapped__(**jax.tree.unflatten(tree, leaves), **fixed))
            structure.append(out)
            return made

        # JAX's cache shall find what was kept under this name only.
        flat.__name__ = f"{self.__wrapped__.__name__}_{path.name}"
        _found.hits = 0
        compiled = self._jit(flat).lower(*leaves).compile()
        whole = _Whole(compiled, structure[0])
        # A program that comes from JAX's cache itself cannot be written whole.
        if not _found.hits:
            whole.write(path)
        return whole


def on_all_processors(function: Callable[[np.ndarray], Any], rows: np.ndarray, multiple: int = 1) -> Any:
    """`function` of rows, shape (n, ...): arrays of numpy with a leading axis over them.

    On a CPU a thread for each processor calls it with an equal part of the rows, padded to a `multiple`.
    """
    threads = (os.cpu_count() or 1) if jax.default_backend() == "cpu" else 1
    size = -(-len(rows) // (threads * multiple)) * multiple
    padded = np.concatenate([rows, np.broadcast_to(rows[:1], (-len(rows) % size, *rows.shape[1:]))])
    with concurrent.futures.ThreadPoolExecutor(threads) as pool:
        parts = list(pool.map(function, np.split(padded, len(padded) // size)))
    return jax.tree.map(lambda *arrays: np.concatenate(arrays)[: len(rows)], *parts)


class _Whole:
    """A program for the leaves of its arguments, and the structure of what it gives."""

    def __init__(self, compiled: Any, structure: Any) -> None:
        self.compiled = compiled
        self.structure = structure

    def __call__(self, leaves: list[Any]) -> Any:
        return jax.tree.unflatten(self.structure, self.compiled(*leaves))

    @classmethod
    def read(cls, path: Path) -> _Whole | None:
        from jax.experimental import serialize_executable

        try:
            parts, structure = pickle.loads(path.read_bytes())
            _make_lapack_ready()
            return cls(serialize_executable.deserialize_and_load(*parts), structure)
        except Exception:  # whatever is wrong with a file of the cache: it is made anew
            return None

    def write(self, path: Path) -> None:
        from jax.experimental import serialize_executable

        try:
            content = pickle.dumps((serialize_executable.serialize(self.compiled), self.structure))
            path.parent.mkdir(parents=True, exist_ok=True)
            own = path.with_name(f"{path.name}.{os.getpid()}")
            own.write_bytes(content)
            own.replace(path)
        except Exception:  # no room, no permission, a device that cannot: the program runs all the same
            return


@functools.cache
def _make_lapack_ready() -> None:
    """JAX looks up LAPACK's functions when it translates a call of one; a program read from disk would call none."""
    jax.jit(jax.lax.linalg.cholesky).lower(np.eye(1))


class _CannotTellError(Exception):
    """A structure has parts, like a user's own class, whose code may change while its name stays."""


def _can_keep() -> bool:
    values = jax.config.values
    plain = not any(values[f"jax_{name}"] for name in ("default_device", "disable_jit", "debug_nans", "debug_infs"))
    folder = values["jax_compilation_cache_dir"]
    return keeping and plain and bool(folder) and "://" not in folder and jax.device_count() == 1


def _kind(leaf: Any) -> tuple[Any, ...]:
    return np.shape(leaf), getattr(leaf, "dtype", type(leaf)), getattr(leaf, "weak_type", not hasattr(leaf, "dtype"))


@jax.monitoring.register_event_listener
def _count_hits(event: str, **_: Any) -> None:
    if event == "/jax/compilation_cache/cache_hits":
        _found.hits = getattr(_found, "hits", 0) + 1


@functools.cache
def _surroundings() -> str:
    """What else a program depends on: the package's code, versions, JAX's settings, the processor."""
    package = Path(__file__).parent
    code = hashlib.sha256(b"".join(path.read_bytes() for path in sorted(package.rglob("*.py")))).hexdigest()
    versions = sys.version, *map(importlib.metadata.version, ("jax", "jaxlib", "numpyro", "equinox", "numpy"))
    settings = {name: value for name, value in jax.config.values.items() if "cache" not in name}
    device = jax.devices()[0]
    described = Path("/proc/cpuinfo")
    flags = described.read_text().split("flags", 1)[-1].split("\n", 1)[0] if described.exists() else ""
    machine = platform.machine(), platform.processor(), flags, device.platform, device.device_kind
    return repr((code, versions, sorted(settings.items(), key=str), machine, os.environ.get("XLA_FLAGS")))


def _described(value: Any) -> Iterator[str]:
    """What a tree of arguments is, without its numbers."""
    if isinstance(value, Priors):
        # In numpyro's own words a distribution has its parts in an order that changes from process to process.
        yield from _stated((value.members, value.distribution(value.numbers)))
        yield from _described(value.numbers)
    elif hasattr(value, "open"):  # a packed density
        yield from _described(value.open())
    elif isinstance(value, eqx.Module):
        yield _class(type(value))
        for field in dataclasses.fields(value):
            yield field.name
            yield from (_stated if field.metadata.get("static") else _described)(getattr(value, field.name))
    elif isinstance(value, (tuple, list, dict)):
        yield f"{_class(type(value))} {len(value)}"
        for item in value.items() if type(value) is dict else value:
            yield from _stated(item[0]) if type(value) is dict else ()
            yield from _described(item[1] if type(value) is dict else item)
    elif value is None or hasattr(value, "dtype") or isinstance(value, (bool, int, float)):
        yield repr(None if value is None else _kind(value))
    else:
        raise _CannotTellError


def _stated(value: Any) -> Iterator[str]:
    """What a static part is, with its numbers."""
    if value is None or isinstance(value, (bool, int, float, str)):
        yield repr(value)
    elif isinstance(value, type):
        yield _class(value)
    elif isinstance(value, Link):
        yield repr(value.inputs)
        if value.function is not None:
            traced = jax.make_jaxpr(value.function)(*(0.0 for _ in value.inputs))
            yield f"{traced} {[np.asarray(constant).tolist() for constant in traced.consts]}"
    elif isinstance(value, (tuple, list)):
        yield f"{_class(type(value))} {len(value)}"
        for item in value:
            yield from _stated(item)
    elif isinstance(value, dict):
        for name in sorted(value):
            yield from _stated((name, value[name]))
    elif type(value).__module__.startswith("numpyro."):  # a distribution, a constraint, a transform
        yield _class(type(value))
        for name, part in sorted(vars(value).items()):
            yield name
            yield from [repr(_kind(part))] if isinstance(part, jax.Array) else _stated(part)
    elif dataclasses.is_dataclass(value):
        yield from _stated((type(value), *(getattr(value, field.name) for field in dataclasses.fields(value))))
    else:
        raise _CannotTellError


def _class(cls: type) -> str:
    """The name of a class; raises where that does not say what it is."""
    module = sys.modules.get(cls.__module__)
    if cls.__module__.partition(".")[0] not in _OURS or getattr(module, cls.__qualname__, None) is not cls:
        raise _CannotTellError
    return f"{cls.__module__}.{cls.__qualname__}"
