"""Spoiled files: a clear `ValueError`, or numbers that are what the file says; never another exception."""

import warnings

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from ogip_files import area_table, bounds_table, matrix_table, ragged, save, spectrum_table

from jaxspec.data import Observation, RepairWarning, Response

QUICK = settings(
    max_examples=60,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)

odd_numbers = st.sampled_from([np.nan, np.inf, -np.inf, 0.0, -1.0, 0.5, 1e30, -1e30, 3e9, 2.0, 1.0])
odd_keywords = st.sampled_from(["", "none", "nonsense", "0", "-1", True, False, 0, -1, 7, 1e300, 0.5, None])
formats = st.sampled_from(["D", "E", "J", "I", "2D", "PD()", "4A"])


@st.composite
def columns(draw, names, rows):
    """One or two columns of other kind or content, or missing."""
    result = {}
    for name in draw(st.lists(st.sampled_from(names), min_size=1, max_size=2, unique=True)):
        form = draw(formats)
        values = draw(st.lists(odd_numbers, min_size=2 * rows, max_size=2 * rows))
        if draw(st.booleans()) and draw(st.booleans()):
            result[name] = None
        elif form == "4A":
            result[name] = (form, ["a b"] * rows)
        elif form == "PD()":
            lengths = draw(st.lists(st.integers(0, 3), min_size=rows, max_size=rows))
            result[name] = (form, ragged([values[:length] for length in lengths]))
        elif form == "2D":
            result[name] = (form, np.reshape(values, (rows, 2)))
        elif form in "DE":
            result[name] = (form, values[:rows])
        else:
            result[name] = (form, np.nan_to_num(np.clip(values[:rows], -30000, 30000)))
    return result


def keywords(names):
    return st.dictionaries(st.sampled_from(names), odd_keywords, max_size=2)


def clear_or_right(read, path):
    """What the reader returns, or None where it refuses with a message that names the file."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RepairWarning)
        try:
            return read(path)
        except (ValueError, FileNotFoundError) as error:
            message = str(error)
    assert str(path.parent) in message
    return None


def write(path, *tables):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return save(path, *tables)


MATRIX_COLUMNS = ["ENERG_LO", "ENERG_HI", "N_GRP", "F_CHAN", "N_CHAN", "MATRIX"]


@QUICK
@given(columns(MATRIX_COLUMNS, 3), keywords(["TLMIN4", "HDUCLAS3", "TUNIT1", "TUNIT6", "HDUCLAS1"]))
def test_spoiled_matrices(tmp_path, change, header):
    path = write(tmp_path / "a.rmf", matrix_table(change, header), bounds_table())
    response = clear_or_right(Response.from_ogip, path)
    if response is not None:
        assert np.isfinite(response.matrix.data).all()
        assert (response.energy_low < response.energy_high).all()


@QUICK
@given(columns(["CHANNEL", "E_MIN", "E_MAX"], 4), columns(["ENERG_LO", "ENERG_HI", "SPECRESP"], 3), st.booleans())
def test_spoiled_bounds_and_areas(tmp_path, bounds, area, spoil_area):
    bounds = {} if spoil_area else {key: value or ("D", [1, 2, 3, 4]) for key, value in bounds.items()}
    area = {key: value or ("4A", ["a"] * 3) for key, value in area.items()} if spoil_area else {}
    path = write(tmp_path / "a.rmf", matrix_table(), bounds_table(bounds))
    arf = write(tmp_path / "a.arf", area_table(area))
    response = clear_or_right(lambda rmf: Response.from_ogip(rmf, arf), path)
    if response is not None:
        assert (response.area >= 0).all()


SPECTRUM_COLUMNS = [
    "CHANNEL",
    "COUNTS",
    "STAT_ERR",
    "SYS_ERR",
    "QUALITY",
    "GROUPING",
    "AREASCAL",
    "BACKSCAL",
    "RATE",
]
SPECTRUM_KEYWORDS = [
    "EXPOSURE",
    "POISSERR",
    "AREASCAL",
    "BACKSCAL",
    "QUALITY",
    "GROUPING",
    "SYS_ERR",
    "BACKFILE",
]


@QUICK
@given(columns(SPECTRUM_COLUMNS, 4), keywords([*SPECTRUM_KEYWORDS, "RESPFILE", "ANCRFILE", "TLMIN1", "HDUCLAS2"]))
def test_spoiled_spectra(tmp_path, change, header):
    write(tmp_path / "a.rmf", matrix_table(), bounds_table())
    path = write(tmp_path / "a.pha", spectrum_table(change, header))
    observation = clear_or_right(Observation.from_ogip, path)
    if observation is not None:
        assert np.isfinite(observation.counts).all()
        assert observation.exposure > 0
        assert observation.info()


@QUICK
@given(st.data())
def test_spoiled_bytes(tmp_path, data):
    write(tmp_path / "a.rmf", matrix_table(), bounds_table())
    path = write(tmp_path / "a.pha", spectrum_table())
    content = bytearray(path.read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.sampled_from(b"\x00 0T'=/~\xff"))
    path.write_bytes(content[: data.draw(st.integers(0, len(content)))] if data.draw(st.booleans()) else content)
    observation = clear_or_right(Observation.from_ogip, path)
    if observation is not None:
        assert np.isfinite(observation.counts).all()


@pytest.mark.parametrize("size", [0, 1, 2879, 2880, 5000])
def test_files_cut_anywhere(tmp_path, size):
    path = write(tmp_path / "a.rmf", matrix_table(), bounds_table())
    path.write_bytes(path.read_bytes()[:size])
    assert clear_or_right(Response.from_ogip, path) is None
