"""A database of plasmas, made up, where the user's would be."""

import os
import tempfile
from pathlib import Path

import atomdb_files
import jax
import pytest

# Before the modules with tests are read: they list every component, and make it.
_FOLDER = tempfile.TemporaryDirectory()
os.environ["ATOMDB"] = str(atomdb_files.write(Path(_FOLDER.name)))


@pytest.fixture(scope="module", autouse=True)
def forget():
    """Programs of components serve one module: kept until the end, they fill gigabytes."""
    yield
    jax.clear_caches()
