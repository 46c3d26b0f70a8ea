"""
A sweep on dask
===============

Send the folds of cross-validations to a dask cluster with one ``with`` statement. Here, the
cluster is two worker processes on this machine. This example needs the extra ``cluster``.
"""

import joblib
from dask.distributed import Client, LocalCluster

import covidct


def main() -> None:
    """Cross-validate two networks, with the folds distributed over the workers."""
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
# Worker processes import this file, so that the main program needs this guard. On a real cluster,
# give the run a ``run_dir`` that all machines can access. If a worker dies, its folds continue
# from their last checkpoint. If the script is started again, it trains only the remaining folds.

if __name__ == "__main__":
    main()
