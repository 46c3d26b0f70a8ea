from __future__ import annotations

import os
import signal
import threading
import time

import joblib
import pytest

import covidct

distributed = pytest.importorskip("distributed", reason="needs the extra cluster")


@pytest.fixture(params=[1])
def client(request, cache):  # the workers inherit the cache of the test
    options = {"n_workers": request.param, "threads_per_worker": 1, "processes": True}
    with (
        distributed.LocalCluster(**options, dashboard_address=None) as cluster,
        distributed.Client(cluster) as client,
    ):
        yield client


@pytest.fixture
def run(tiny, phantoms):
    def run(recipe, run_dir, n_jobs=1):
        options = {"cv": 2, "groups": "patient", "weights": None, "threads": 1, "device": "cpu"}
        validator = covidct.CrossValidator(tiny, recipe, n_jobs=n_jobs, run_dir=run_dir, **options)
        return validator.run(phantoms)

    return run


def test_a_cluster_gives_the_bits_of_one_process(run, quick, client, tmp_path):
    serial = run(quick, tmp_path / "serial")
    with joblib.parallel_config(backend="dask"):
        clustered = run(quick, tmp_path / "dask", n_jobs=2)
    assert clustered.predictions.equals(serial.predictions)


@pytest.mark.slow
@pytest.mark.parametrize("client", [2], indirect=True)
def test_a_killed_worker_costs_no_bits(run, quick, client, tmp_path):
    recipe = quick.scaled(30)
    serial = run(recipe, tmp_path / "serial")
    folder = tmp_path / "dask/folds/0"

    def kill() -> None:
        while not folder.exists():
            time.sleep(0.05)
        os.kill(next(iter(client.run(os.getpid).values())), signal.SIGKILL)

    killer = threading.Thread(target=kill)
    killer.start()
    with joblib.parallel_config(backend="dask"):
        clustered = run(recipe, tmp_path / "dask", n_jobs=2)
    killer.join()
    assert clustered.predictions.equals(serial.predictions)
