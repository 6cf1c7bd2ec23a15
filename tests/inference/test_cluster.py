"""Many fits on the workers of a Dask cluster, in processes of their own."""

import os
import signal
import threading
import time

import jax
import numpy as np
import pytest
from numpy.testing import assert_array_equal

from jaxspec import Model, PointSource, fit_each, simulate_each
from jaxspec.inference import _population
from jaxspec.spectra import PowerLaw

distributed = pytest.importorskip("distributed", reason="needs the extra 'dask'")
pytestmark = pytest.mark.filterwarnings("ignore")  # of Dask, in its own threads


@pytest.fixture(scope="module")
def spectra(demo):
    model = Model(PointSource("grb", PowerLaw(K=1e-3, index=-1.6, pivot=1000)))
    rng = np.random.default_rng(0)
    truth = {"grb.powerlaw.K": rng.lognormal(-6, 0.5, 96), "grb.powerlaw.index": rng.normal(-1.8, 0.2, 96)}
    return model, simulate_each(model, truth, demo, 10.0, background=np.full(128, 20.0), key=jax.random.key(5))


def test_workers_give_the_numbers_of_this_process_though_one_is_killed(spectra, monkeypatch):
    model, seen = spectra
    monkeypatch.setattr(_population, "CHUNK", 16)
    expected = fit_each(model, seen, progress=False).table()
    cluster = distributed.LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None, silence_logs=50)
    with cluster, distributed.Client(cluster) as client:
        victim = next(iter(client.run(os.getpid).values()))
        found = []
        work = threading.Thread(target=lambda: found.append(fit_each(model, seen, client=client, progress=False)))
        work.start()
        while work.is_alive() and not any(client.processing().values()):
            time.sleep(0.05)
        assert work.is_alive()  # the workers have chunks
        os.kill(victim, signal.SIGKILL)
        work.join(240)
    (catalogue,) = found
    for column in ("grb.powerlaw.K", "grb.powerlaw.index", "statistic"):
        assert_array_equal(catalogue.table()[column], expected[column])


def test_a_client_that_is_none_is_refused(spectra):
    model, seen = spectra
    with pytest.raises(TypeError, match=r"client must be a dask.distributed.Client, got 'tcp://"):
        fit_each(model, seen, client="tcp://localhost:8786")
