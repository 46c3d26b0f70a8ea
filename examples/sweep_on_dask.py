"""
A sweep on dask
===============

Folds go through joblib, so a cluster is one ``with`` statement away. Here the cluster is two worker
processes on this machine; needs the extra ``cluster``.
"""

import joblib
from dask.distributed import Client, LocalCluster

import covidct


def main() -> None:
    """Cross-validate two networks, their folds spread over the workers."""
    slices = covidct.load_dataset("phantom", n=32, seed=0)
    recipe = covidct.Recipe.demo().replace(canvas=(64, 84), batch_size=4)
    cluster = LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None)
    with cluster, Client(cluster), joblib.parallel_config(backend="dask"):
        for name in ("shufflenet", "squeezenet"):
            cv = covidct.CrossValidator(
                name, recipe, cv=2, groups="patient", weights=None, n_jobs=2, threads=1
            )
            print(cv.run(slices))


# %%
# Worker processes import this file, so the work stands behind this guard. On a real cluster, give
# the run a ``run_dir`` that all machines see; then a fold that dies with its worker goes on from
# its last checkpoint, and the same script, started again, does only what is left.

if __name__ == "__main__":
    main()
