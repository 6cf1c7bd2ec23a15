"""Long runs that stop and go on; spectra from folders and tables; several models; histories."""

import json
import warnings

import jax
import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from jaxspec import Model, PointSource, RepairWarning, compare, fit_each, read_each, simulate_each
from jaxspec.inference import _population
from jaxspec.spectra import PowerLaw

N = 24


@pytest.fixture(scope="module")
def model():
    return Model(PointSource("src", PowerLaw(K=1e-3, index=-1.6, pivot=1000)))


@pytest.fixture(scope="module")
def observations(model, demo):
    rng = np.random.default_rng(5)
    truth = {"src.powerlaw.K": 2e-3 * np.exp(rng.normal(0, 0.5, N)), "src.powerlaw.index": rng.normal(-1.8, 0.2, N)}
    return simulate_each(model, truth, demo, 10, np.full(128, 20.0), key=jax.random.key(1))


@pytest.fixture
def chunks_of_eight(monkeypatch):
    monkeypatch.setattr(_population, "CHUNK", 8)


def stop_after(monkeypatch, n):
    """Has the n-th chunk and all later ones fail, like a process that is killed."""
    begun, whole = [], _population.run_chunk

    def fails(task):
        begun.append(task)
        if len(begun) >= n:
            raise KeyboardInterrupt
        return whole(task)

    monkeypatch.setattr(_population, "run_chunk", fails)
    monkeypatch.setattr(_population.os, "sched_getaffinity", lambda _: {0})


def test_a_run_that_was_stopped_goes_on_and_changes_no_number(
    tmp_path, monkeypatch, chunks_of_eight, model, observations
):
    file, fluxes = tmp_path / "run.jsonl", {"F": (100, 1e4, "erg / (cm2 s)")}
    whole = fit_each(model, observations, flux=fluxes)
    with monkeypatch.context() as patch:
        stop_after(patch, 3)
        with pytest.raises(KeyboardInterrupt):
            fit_each(model, observations, flux=fluxes, file=file)
    assert len(file.read_text().splitlines()) == 3  # the head and two chunks
    with file.open("a") as stream:
        stream.write('{"start": 16, "stop": 24, "rows": {"u": [[0.1')  # what a killed process leaves
    with monkeypatch.context() as patch:
        stop_after(patch, 2)  # only the chunk that is missing is fitted
        again = fit_each(model, observations, flux=fluxes, file=file)
    for field in ("u", "covariance_u", "values", "errors", "statistic", "fluxes", "flux_errors"):
        assert_array_equal(getattr(again.rows, field), getattr(whole.rows, field))
    assert_array_equal(again.rows.trouble, whole.rows.trouble)
    assert [json.loads(line).get("start") for line in file.read_text().splitlines()] == [None, 0, 8, 16]


def test_a_file_of_another_run_is_refused(tmp_path, model, observations):
    file = tmp_path / "run.jsonl"
    fit_each(model, observations[:2], file=file)
    with pytest.raises(ValueError, match="not of this run: model, settings or data differ"):
        fit_each(model, observations[1:3], file=file)
    with pytest.raises(ValueError, match="not of this run"):
        fit_each(model.with_values({"src.powerlaw.index": -1.7}), observations[:2], file=file)
    (tmp_path / "notes.txt").write_text("not ours\n")
    with pytest.raises(ValueError, match="not of this run"):
        fit_each(model, observations[:2], file=tmp_path / "notes.txt")
    with pytest.raises(FileNotFoundError, match="does not exist"):
        fit_each(model, observations[:2], file=tmp_path / "nowhere/run.jsonl")


@pytest.fixture(scope="module")
def folder(tmp_path_factory, observations):
    path = tmp_path_factory.mktemp("spectra")
    for observation in observations[:3]:
        observation.to_ogip(path / f"s{observation.name}.pha", overwrite=True)
    return path


def test_a_folder_gives_its_source_spectra_and_each_response_once(folder, observations):
    (folder / "readme.txt").write_text("no spectrum")
    found = read_each(folder, prepare=lambda o: o.notice("200-20000 keV"))
    assert list(found) == ["s0", "s1", "s2"]
    assert_array_equal(found["s1"].counts, observations[1].counts)
    assert found["s1"].noticed


def test_spectra_of_one_response_file_share_it(folder):
    paths = sorted(map(str, folder.glob("s?.pha")))
    response = next(folder.glob("*.r*"))
    found = read_each({"spectrum": paths, "name": ["a", "b", "c"], "response": [response] * 3})
    assert list(found) == ["a", "b", "c"]
    assert found["a"].response is found["c"].response


def test_what_cannot_be_read_is_left_out_with_a_warning(folder):
    table = pd.DataFrame({"spectrum": [str(folder / "s0.pha"), str(folder / "nothing.pha")], "name": ["good", "bad"]})
    with pytest.warns(RepairWarning, match=r"nothing\.pha is left out"):
        found = read_each(table)
    assert list(found) == ["good"]


def test_what_is_no_folder_or_table_is_told(folder, tmp_path):
    with pytest.raises(FileNotFoundError, match="there is no file or folder"):
        read_each(tmp_path / "nowhere")
    with pytest.raises(ValueError, match="needs a column 'spectrum'"):
        read_each({"path": ["a.pha"]})
    with pytest.raises(ValueError, match="no spectrum could be read"):
        read_each(tmp_path)
    with pytest.raises(ValueError, match="two spectra are called 's0'"):
        read_each({"spectrum": [str(folder / "s0.pha")] * 2})


def test_the_rows_of_a_time_series_become_a_history(files):
    path = files / "gbm_rsp2/glg_cspec_n3_bn080916009_v01.pha"
    response = files / "gbm_rsp2/glg_cspec_n3_bn080916009_v00.rsp2"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RepairWarning)
        spectra = read_each(path, lambda o: o.notice("10-900 keV"), response=f"{response}{{1}}")
    names = list(spectra)[:8]
    assert spectra[names[0]].response is spectra[names[1]].response
    model = Model(PointSource("sky", PowerLaw(K=1, index=-1.2, pivot=50)))
    catalogue = fit_each(model, {name: spectra[name] for name in names}, flux={"F": (10, 900, "1 / (cm2 s)")})
    table = catalogue.table()
    assert np.all(np.diff(table["start"]) > 0)
    assert_allclose(table["start"].to_numpy()[1:], table["stop"].to_numpy()[:-1], atol=0.01)
    figure = catalogue.plot_history(["F", "sky.powerlaw.index"])
    assert [ax.get_ylabel().split("\n")[0] for ax in figure.axes] == ["F", "powerlaw.index"]
    assert figure.axes[1].get_xlabel().startswith("Time since")


def test_observations_without_times_have_no_history(model, observations):
    catalogue = fit_each(model, observations[:2])
    with pytest.raises(ValueError, match="no start and stop"):
        catalogue.plot_history()
    with pytest.raises(KeyError, match="no parameter or flux is called"):
        catalogue.plot_pair("src.powerlaw.K", "nothing")
    assert catalogue.plot_pair("src.powerlaw.K", "src.powerlaw.index").axes


def test_the_better_model_is_chosen_for_each_spectrum(model, observations):
    models = {"free": model, "fixed": model.freeze("src.powerlaw.index")}
    catalogues = {name: fit_each(each, observations[:4]) for name, each in models.items()}
    chosen = compare(catalogues, by="AIC")
    for name in chosen.index:
        aic = {kind: catalogue[name].aic for kind, catalogue in catalogues.items()}
        assert chosen.loc[name, "best"] == min(aic, key=aic.get)
        assert_allclose(chosen.loc[name, "margin"], abs(aic["free"] - aic["fixed"]), rtol=1e-6)
    with pytest.raises(ValueError, match="is no criterion"):
        compare(catalogues, by="chi")
    with pytest.raises(ValueError, match="two or more catalogues of the same spectra"):
        compare({"free": catalogues["free"]})
