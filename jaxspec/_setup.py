"""What importing jaxspec does to JAX: 64-bit floats, calls without a thread between, compiled programs on disk."""

import importlib.metadata
import os
import sys
import warnings
from pathlib import Path

import jax


def cache_folder() -> Path:
    """Where compiled programs are kept: JAXSPEC_CACHE_DIR, or a folder of the platform's cache."""
    if "JAXSPEC_CACHE_DIR" in os.environ:
        return Path(os.environ["JAXSPEC_CACHE_DIR"])
    if sys.platform == "darwin":
        base = Path.home() / "Library" / "Caches"
    elif sys.platform == "win32":
        base = Path(os.environ.get("LOCALAPPDATA", Path.home()))
    else:
        base = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache"))
    return base / "jaxspec-engine"


jax.config.update("jax_enable_x64", True)

# On a CPU, handing a likelihood to another thread takes about as long as the likelihood. No effect on other devices.
jax.config.update("jax_cpu_enable_async_dispatch", False)

# A cache that the user has chosen stays; JAXSPEC_CACHE_DIR="" switches ours off.
if jax.config.values["jax_compilation_cache_dir"] is None and os.environ.get("JAXSPEC_CACHE_DIR") != "":
    jax.config.update("jax_compilation_cache_dir", str(cache_folder()))
    # Spectral programs compile in seconds together, but one by one in less than JAX's threshold of one second.
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
    jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)

try:
    importlib.metadata.distribution("jaxspec")
except importlib.metadata.PackageNotFoundError:
    pass
else:
    warnings.warn(
        "two distributions provide the package 'jaxspec': this one, jaxspec-engine, and another called jaxspec. They "
        "overwrite each other's files: uninstall one (pip uninstall jaxspec) and reinstall the other.",
        stacklevel=3,
    )
