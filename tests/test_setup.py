"""What importing jaxspec does, each in a process of its own."""

import subprocess
import sys

import pytest

import jaxspec
from jaxspec import _setup


def run(code, **environment):
    import os

    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        env={**os.environ, "PYTHONPATH": str(_setup.Path(jaxspec.__file__).parents[1]), **environment},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_import_leaves_slow_packages_alone():
    # arviz takes 5 s, pandas 2 s, matplotlib and numpyro 1 s: each is imported where it is needed.
    slow = [
        "pandas",
        "matplotlib",
        "arviz",
        "astropy",
        "astropy.units",
        "ultranest",
        "numpyro",
        "scipy",
        "h5netcdf",
        "corner",
        "tqdm",
    ]
    assert run(f"import sys, jaxspec; print(*(name for name in {slow} if name in sys.modules))") == ""


def test_import_switches_to_64_bit_floats():
    assert run("import jaxspec, jax.numpy as jnp; print(jnp.ones(1).dtype)") == "float64"


def test_import_has_a_cpu_compute_in_the_thread_that_calls():
    assert run("import jaxspec, jax; print(jax.config.values['jax_cpu_enable_async_dispatch'])") == "False"


CACHE = "import jaxspec, jax; print(jax.config.jax_compilation_cache_dir)"


def test_compiled_programs_are_kept_where_the_user_says(tmp_path):
    assert run(CACHE, JAXSPEC_CACHE_DIR=str(tmp_path)) == str(tmp_path)


def test_an_empty_folder_name_switches_the_cache_off():
    assert run(CACHE, JAXSPEC_CACHE_DIR="") == "None"


def test_a_cache_that_jax_has_been_given_stays(tmp_path):
    assert run(CACHE, JAX_COMPILATION_CACHE_DIR=str(tmp_path)) == str(tmp_path)


def test_small_programs_are_kept_too():
    settings = "jax_persistent_cache_min_compile_time_secs, jax.config.jax_persistent_cache_min_entry_size_bytes"
    assert run(f"import jaxspec, jax; print(jax.config.{settings})", JAXSPEC_CACHE_DIR="/tmp/x") == "0.0 -1"


@pytest.mark.parametrize(
    ("platform", "variables", "folder"),
    [
        ("linux", {"XDG_CACHE_HOME": "/c"}, "/c/jaxspec-engine"),
        ("linux", {"HOME": "/home/a"}, "/home/a/.cache/jaxspec-engine"),
        ("darwin", {"HOME": "/Users/a"}, "/Users/a/Library/Caches/jaxspec-engine"),
        ("win32", {"LOCALAPPDATA": "/l"}, "/l/jaxspec-engine"),
    ],
)
def test_the_cache_lies_where_the_platform_keeps_caches(monkeypatch, platform, variables, folder):
    for name in ("JAXSPEC_CACHE_DIR", "XDG_CACHE_HOME", "LOCALAPPDATA"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(_setup.sys, "platform", platform)
    assert _setup.cache_folder().as_posix() == folder


def test_another_package_of_the_same_name_is_warned_of(tmp_path):
    other = tmp_path / "jaxspec-0.4.1.dist-info"
    other.mkdir()
    (other / "METADATA").write_text("Metadata-Version: 2.1\nName: jaxspec\nVersion: 0.4.1\n")
    code = (
        f"import sys, warnings; sys.path.append({str(tmp_path)!r})\n"
        "with warnings.catch_warnings(record=True) as said:\n    warnings.simplefilter('always'); import jaxspec\n"
        "print([str(item.message)[:47] for item in said])"
    )
    assert "two distributions provide the package 'jaxspec'" in run(code)


def test_every_public_name_is_there():
    assert all(hasattr(jaxspec, name) for name in jaxspec.__all__)
