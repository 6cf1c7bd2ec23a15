import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from numpy.testing import assert_allclose, assert_array_equal

from jaxspec import Background, Model, Observation, PointSource, Problem, Response
from jaxspec.spectra import PowerLaw

FIELDS = ("counts", "errors", "systematic", "exposure", "area_scale", "back_scale")


def same(first, second, fields=FIELDS):
    for field in fields:
        assert_array_equal(getattr(first, field), getattr(second, field), err_msg=field)


def same_response(first, second):
    same(first, second, ("energy_low", "energy_high", "channels", "channel_low", "channel_high"))
    assert_array_equal(first.matrix.toarray(), second.matrix.toarray())


@pytest.fixture
def irregular():
    """Rows with no, one and several groups, channels from 3 with a hole, numbers of no single precision."""
    rng = np.random.default_rng(7)
    matrix = rng.random((5, 4)) * np.array([[0, 1, 1, 1], [0, 0, 1, 1], [0, 1, 0, 1], [0, 1, 0, 1], [0, 0, 1, 1]])
    edges = np.array([0.1, 0.7, 1.3, 2.9, 3.1])
    return Response(edges[:-1], edges[1:], [3, 4, 6, 7, 8], np.arange(5) / 3, np.arange(1, 6) / 3, matrix)


def test_a_response_is_read_back_to_the_last_digit(irregular, tmp_path):
    irregular.to_ogip(tmp_path / "a.rsp")
    same_response(Response.from_ogip(tmp_path / "a.rsp"), irregular)


def test_a_response_split_in_two_files_is_read_back(irregular, tmp_path):
    irregular.to_ogip(tmp_path / "a.rmf", tmp_path / "a.arf")
    back = Response.from_ogip(tmp_path / "a.rmf", tmp_path / "a.arf")
    assert_allclose(back.matrix.toarray(), irregular.matrix.toarray(), rtol=1e-15)
    with fits.open(tmp_path / "a.rmf") as hdus:
        assert_allclose([row.sum() for row in hdus["MATRIX"].data["MATRIX"]], [0, 1, 1, 1])


@pytest.mark.parametrize("gaussian", [False, True])
def test_an_observation_is_read_back_to_the_last_digit(irregular, tmp_path, gaussian):
    errors = np.array([1, 1.1, 1.2, 1.3, 2]) if gaussian else None
    background = Background([4, 4, 0, 1, 7], 1 / 3, errors=errors, back_scale=np.arange(1, 6) / 7)
    observation = Observation(
        [1.5, 2, -1, 0, 3] if gaussian else [1, 2, 0, 0, 3],
        irregular,
        0.1,
        background,
        name="mine",
        errors=errors,
        systematic=np.full(5, 0.03) if gaussian else None,
        area_scale=0.7,
        quality=[0, 0, 1, 0, 0],
        grouping=[1, -1, 1, 1, -1],
    )
    back = Observation.from_ogip(observation.to_ogip(tmp_path))
    same(back, observation, (*FIELDS, "quality", "grouping", "statistic", "name"))
    same(back.background, observation.background)
    same_response(back.response, observation.response)
    assert back.repairs == ()


def test_bins_in_use_are_written_as_grouping(observation, tmp_path):
    back = Observation.from_ogip(observation.group("min_counts", 5).to_ogip(tmp_path / "a.pha"))
    assert_array_equal(back.selection().groups, observation.group("min_counts", 5).selection().groups)
    plain = Observation.from_ogip(observation.group(None).to_ogip(tmp_path / "b.pha"))
    assert plain.grouping is None


def test_files_carry_the_keywords_of_the_standard(observation, tmp_path):
    path = observation.to_ogip(tmp_path / "new" / "a.pha")
    with fits.open(path) as hdus:
        header = hdus["SPECTRUM"].header
        assert (header["HDUCLASS"], header["HDUCLAS1"], header["HDUCLAS2"]) == ("OGIP", "SPECTRUM", "TOTAL")
        assert (header["DETCHANS"], header["TLMIN1"], header["EXPOSURE"]) == (10, 1, 10.0)
        assert (header["BACKFILE"], header["RESPFILE"], header["POISSERR"]) == ("a_bkg.pha", "a.rsp", True)
    with fits.open(path.with_suffix(".rsp")) as hdus:
        header = hdus["SPECRESP MATRIX"].header
        assert (header["HDUCLAS2"], header["HDUCLAS3"]) == ("RSP_MATRIX", "FULL")
        assert (header["TLMIN4"], header["DETCHANS"], header["NUMGRP"]) == (1, 10, 10)


def test_a_file_that_exists_is_kept_unless_told_otherwise(observation, tmp_path):
    path = observation.to_ogip(tmp_path)
    with pytest.raises(FileExistsError, match="give overwrite=True to replace it"):
        observation.to_ogip(tmp_path)
    with pytest.raises(FileExistsError, match="give overwrite=True"):
        observation.response.to_ogip(path.with_suffix(".rsp"))
    assert observation.to_ogip(tmp_path, overwrite=True) == path


THREEML = Path(__file__).parents[2] / "benchmarks/.env-threeml/bin/python"
READ_BY_3ML = """
import json, logging, sys
logging.disable(logging.CRITICAL)
from threeML import OGIPLike
made = []
for arf, response in ((None, "a.rsp"), ("b.arf", "b.rmf")):
    read = OGIPLike("a", "a.pha", background="a_bkg.pha", response=response, arf_file=arf, verbose=False)
    scale = [read.exposure, read.background_exposure, read.scale_factor]
    counts = [read.observed_counts.tolist(), read.background_counts.tolist()]
    made.append([*counts, list(map(float, scale)), read.response.matrix.tolist()])
print(json.dumps(made))
"""


@pytest.fixture
def simulated(demo, tmp_path):
    """An observation, which is written as a.pha, and its response as b.rmf and b.arf too."""
    rng = np.random.default_rng(3)
    background = Background(rng.poisson(50.0, 128), 500.0, back_scale=2.0)
    observation = Observation(rng.poisson(20.0, 128), demo, 100.0, background).group("min_counts", 50)
    observation.to_ogip(tmp_path / "a.pha")
    demo.to_ogip(tmp_path / "b.rmf", tmp_path / "b.arf")
    return observation


@pytest.mark.skipif(not THREEML.exists(), reason="3ML is not installed: benchmarks/setup_threeml.sh makes it")
def test_3ml_reads_what_is_written(simulated, tmp_path):
    done = subprocess.run([THREEML, "-c", READ_BY_3ML], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    for counts, behind, scale, matrix in json.loads(done.stdout.splitlines()[-1]):
        assert_array_equal(counts, simulated.counts)
        assert_array_equal(behind, simulated.background.counts)
        assert_allclose(scale, [100.0, 500.0, 0.1], rtol=1e-12)
        assert_allclose(matrix, simulated.response.matrix.toarray(), rtol=1e-12)


READ_BY_SHERPA = """
import json, logging, sys
logging.disable(logging.CRITICAL)
try:
    from sherpa.astro import ui
except ImportError:
    sys.exit(77)
made = []
for files in ((), ("b.rmf", "b.arf")):
    ui.load_pha("a.pha")
    if files:
        ui.load_rmf(files[0])
        ui.load_arf(files[1])
    ui.set_source(ui.powlaw1d.p)
    ui.get_model_component("p").ampl, ui.get_model_component("p").gamma = 20.0, 1.5
    ui.set_stat("wstat")
    made.append([ui.get_data().counts.tolist(), len(ui.get_dep()), ui.calc_stat()])
print(json.dumps(made))
"""


def test_sherpa_reads_what_is_written_and_has_the_same_w_statistic(simulated, tmp_path):
    command = [sys.executable, "-W", "ignore", "-c", READ_BY_SHERPA]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    if done.returncode == 77:
        pytest.skip("Sherpa is not installed: pip install sherpa (it is built from source, with bison, flex and FFTW)")
    assert done.returncode == 0, done.stderr
    ours = Problem(Model(PointSource("a", PowerLaw(K=20.0, index=-1.5))), simulated)
    for counts, bins, statistic in json.loads(done.stdout.splitlines()[-1]):
        assert_array_equal(counts, simulated.counts)
        assert bins == ours.n_bins < 128
        assert_allclose(statistic, sum(ours.statistics().values()), rtol=1e-12)
