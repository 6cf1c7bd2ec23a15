"""Spoiled files: a clear `ValueError`, or numbers that are what the file says; never another exception."""

import gzip
import warnings

import numpy as np
import pytest
from astropy.io import fits
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose
from ogip_files import area_table, bounds_table, matrix_table, ragged, save, spectrum_table, table

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


def plain(path, name):
    """A column as floats, by astropy alone."""
    with fits.open(path) as hdus:
        return np.array(hdus[1].data[name], float)


@QUICK
@given(columns(MATRIX_COLUMNS, 3), keywords(["TLMIN4", "HDUCLAS3", "TUNIT1", "TUNIT6", "HDUCLAS1"]))
def test_spoiled_matrices(tmp_path, change, header):
    path = write(tmp_path / "a.rmf", matrix_table(change, header), bounds_table())
    response = clear_or_right(Response.from_ogip, path)
    if response is None:
        return
    assert np.isfinite(response.matrix.data).all()
    assert (response.energy_low < response.energy_high).all()
    if "MATRIX" not in change and "TUNIT6" not in header and not response.repairs:
        # No element is lost or counted twice: 0.75, 1, 0.875 in the three rows.
        n_groups = plain(path, "N_GRP")
        whole = np.where(n_groups == 2, 0.875, np.where(n_groups == 1, response.area, 0))
        assert_allclose(response.area, whole)


@QUICK
@given(st.data(), st.sampled_from([{"number": 2}, {"time": 3.0}, {"time": (0.0, 8.0)}, {"weights": [1.0, 3.0]}, {}]))
def test_spoiled_series_of_matrices(tmp_path, data, choice):
    times = ["TSTART", "TSTOP", "TLMIN4", "HDUCLAS3"]
    parts = [
        matrix_table(data.draw(columns(MATRIX_COLUMNS, 3)), {"TSTART": 5.0 * k, "TSTOP": 5.0 * k + 5} | header)
        for k, header in enumerate(data.draw(st.tuples(keywords(times), keywords(times))))
    ]
    path = write(tmp_path / "a.rsp2", bounds_table(), *parts)
    response = clear_or_right(lambda path: Response.from_ogip(path, **choice), path)
    if response is not None:
        assert np.isfinite(response.matrix.data).all()
        assert (response.area >= 0).all()


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


def check_counts(data, path, change):
    """Counts and errors are those of the file, a rate is one in time."""
    name = "RATE" if change.get("COUNTS", True) is None else "COUNTS"
    factor = data.exposure if name == "RATE" else 1.0
    assert_allclose(data.counts, plain(path, name).ravel() * factor, rtol=1e-6, atol=1e-3)
    if data.errors is not None:
        assert_allclose(data.errors, plain(path, "STAT_ERR").ravel() * factor, rtol=1e-12)
    assert 0 < data.exposure < np.inf


@QUICK
@given(columns(SPECTRUM_COLUMNS, 4), keywords([*SPECTRUM_KEYWORDS, "RESPFILE", "ANCRFILE", "TLMIN1", "HDUCLAS2"]))
def test_spoiled_spectra(tmp_path, change, header):
    write(tmp_path / "a.rmf", matrix_table(), bounds_table())
    path = write(tmp_path / "a.pha", spectrum_table(change, header))
    observation = clear_or_right(Observation.from_ogip, path)
    if observation is not None:
        check_counts(observation, path, change)
        assert observation.info()


@QUICK
@given(columns(SPECTRUM_COLUMNS, 4), keywords([*SPECTRUM_KEYWORDS, "HDUCLAS2", "HDUCLAS4"]))
def test_spoiled_backgrounds(tmp_path, change, header):
    write(tmp_path / "a.rmf", matrix_table(), bounds_table())
    write(tmp_path / "a.bak", spectrum_table(change, header))
    path = write(tmp_path / "a.pha", spectrum_table({}, {"BACKFILE": "a.bak"}))
    observation = clear_or_right(Observation.from_ogip, path)
    if observation is not None:
        check_counts(observation.background, tmp_path / "a.bak", change)
        assert observation.info()


@st.composite
def rows(draw, count=2, size=4):
    """Columns of a PHA II file, one or two of them spoiled."""
    result = {
        "CHANNEL": (f"{size}I", [np.arange(size) + 1] * count),
        "COUNTS": (f"{size}J", np.arange(count * size).reshape(count, size)),
        "EXPOSURE": ("D", np.full(count, 10.0)),
    }
    names = [*result, "STAT_ERR", "QUALITY", "GROUPING", "BACKSCAL", "AREASCAL", "TIME", "BACKFILE", "RESPFILE"]
    for name in draw(st.lists(st.sampled_from(names), min_size=1, max_size=2, unique=True)):
        width = draw(st.sampled_from([1, 3, size]))
        values = draw(st.lists(odd_numbers, min_size=count * width, max_size=count * width))
        kind = draw(st.sampled_from(["D", "E", "8A"]))
        content = ["a b"] * count if kind == "8A" else np.reshape(values, (count, width))
        result[name] = (kind if kind == "8A" else f"{width}{kind}", content)
    return result


@QUICK
@given(rows(), keywords([*SPECTRUM_KEYWORDS, "TLMIN2", "HDUCLAS4"]), st.sampled_from([1, 2, "all"]))
def test_spoiled_rows(tmp_path, change, header, row):
    write(tmp_path / "a.rmf", matrix_table(), bounds_table())
    header = {"RESPFILE": "a.rmf"} | {name: value for name, value in header.items() if value is not None}
    path = write(tmp_path / "a.pha", table("SPECTRUM", change, **header))
    read = Observation.all_from_ogip if row == "all" else lambda path: [Observation.from_ogip(path, row=row)]
    for observation in clear_or_right(read, path) or []:
        assert np.isfinite(observation.counts).all()
        number = row if row != "all" else int(observation.name.removeprefix("a_"))
        assert_allclose(observation.counts, plain(path, "COUNTS")[number - 1], rtol=1e-6, atol=1e-3)


READERS = {
    "a.rmf": lambda folder: Response.from_ogip(folder / "a.rmf", folder / "a.arf"),
    "a.arf": lambda folder: Response.from_ogip(folder / "a.rmf", folder / "a.arf"),
    "a.pha": lambda folder: Observation.from_ogip(folder / "a.pha"),
    "a.bak": lambda folder: Observation.from_ogip(folder / "a.pha"),
}


@pytest.fixture
def whole(tmp_path):
    """The bytes of files that belong together."""
    write(tmp_path / "a.rmf", matrix_table(), bounds_table())
    write(tmp_path / "a.arf", area_table())
    write(tmp_path / "a.bak", spectrum_table())
    write(tmp_path / "a.pha", spectrum_table({}, {"BACKFILE": "a.bak", "ANCRFILE": "a.arf"}))
    return {name: (tmp_path / name).read_bytes() for name in READERS}


@pytest.mark.parametrize("name", READERS)
@pytest.mark.parametrize("packed", [False, True], ids=["plain", "gzip"])
@settings(QUICK, max_examples=25)
@given(st.data())
def test_spoiled_bytes(tmp_path, whole, name, packed, data):
    path, content = tmp_path / name, bytearray(gzip.compress(whole[name], mtime=0) if packed else whole[name])
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.sampled_from(b"\x00 0T'=/~\xff"))
    path.write_bytes(content[: data.draw(st.integers(0, len(content)))] if data.draw(st.booleans()) else content)
    found = clear_or_right(lambda path: READERS[name](path.parent), path)
    if isinstance(found, Response):
        assert np.isfinite(found.matrix.data).all()
    elif found is not None:
        assert np.isfinite(found.counts).all()


@pytest.mark.parametrize("size", [0, 1, 2879, 2880, 5000])
@pytest.mark.parametrize("packed", [False, True], ids=["plain", "gzip"])
def test_files_cut_anywhere(tmp_path, packed, size):
    path = write(tmp_path / "a.rmf", matrix_table(), bounds_table())
    content = path.read_bytes()
    path.write_bytes(gzip.compress(content)[: size // 8] if packed else content[:size])
    assert clear_or_right(Response.from_ogip, path) is None
