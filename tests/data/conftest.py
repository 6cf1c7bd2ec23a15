"""Fixtures: the real files, small files that tests spoil in one place each, and a small observation."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from ogip_files import area_table, bounds_table, matrix_table, save, spectrum_table

from jaxspec.data import Background, Observation, Response

SHARED = Path(__file__).parents[2].parent / "shared" / "data"


@pytest.fixture
def shared():
    if not SHARED.is_dir():
        pytest.skip(f"the real files are not at {SHARED}")
    return SHARED


@pytest.fixture
def build(tmp_path):
    """Writers of a.rmf, a.arf and a.pha in one folder, each with changes to its columns and keywords."""

    def rmf(change=None, header=None, bounds=None, first=1, name="a.rmf", extension="MATRIX"):
        return save(tmp_path / name, matrix_table(change, header, extension), bounds_table(bounds, first))

    def pha(change=None, header=None, name="a.pha", extra=()):
        if not (tmp_path / "a.rmf").exists():
            rmf()
        return save(tmp_path / name, spectrum_table(change, header), *extra)

    def arf(change=None, name="a.arf"):
        return save(tmp_path / name, area_table(change))

    return SimpleNamespace(rmf=rmf, pha=pha, arf=arf, folder=tmp_path)


@pytest.fixture
def response():
    """Ten channels of 1 keV, from 1 to 11 keV, area 1 cm2."""
    return Response.diagonal(np.arange(1.0, 12.0))


@pytest.fixture
def observation(response):
    background = Background(np.arange(10.0), 20.0, back_scale=2.0)
    return Observation([4, 0, 3, 6, 1, 2, 8, 0, 5, 7], response, 10.0, background)
