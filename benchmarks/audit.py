"""Cost of an audit: seconds for 1,000 slices, and the growth of the near-duplicate search.

The search by hashing is compared with comparing all pairs of fingerprints, up to the size of
``--all-pairs-up-to``. Half of the fingerprints have a near-duplicate; the share that hashing finds
is reported too.

    python benchmarks/audit.py --json audit.json
    python benchmarks/audit.py --dataset covid19-ct --root COVID19-CT --sizes 1000 10000
"""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from _common import make_parser, table, write_json
from sklearn.neighbors import NearestNeighbors

import covidct
from covidct.audit import duplicates

# The distance of two neighboring slices' fingerprints in SARS-CoV-2 CT, in the median.
APART = 0.15
# How fast the spread of a fingerprint falls from its first to its last direction there.
DECAY = 0.9


def prints(n: int) -> np.ndarray:
    """Return fingerprints, the second half each beside one of the first."""
    rng = np.random.default_rng(0)
    first = rng.normal(size=(n // 2, 63)) * DECAY ** np.arange(63)
    first /= np.linalg.norm(first, axis=1, keepdims=True)
    step = rng.normal(size=first.shape)
    step *= APART / np.linalg.norm(step, axis=1, keepdims=True)
    return np.concatenate([first, first + step]).astype(np.float32)


def compare_all(values: np.ndarray) -> int:
    search = NearestNeighbors(radius=duplicates._REACH, algorithm="brute").fit(values)
    blocks = range(0, len(values), 2048)
    found = (search.radius_neighbors_graph(values[i : i + 2048]).nnz for i in blocks)
    return (sum(found) - len(values)) // 2


def searches(sizes: list[int], *, all_pairs_up_to: int) -> list[dict[str, float | None]]:
    rows = []
    for n in sizes:
        values = prints(n)
        start = time.perf_counter()
        pairs = duplicates._hashed_pairs(values)
        hashing = time.perf_counter() - start
        planted = pairs[:, 1] - pairs[:, 0] == n // 2
        row = {
            "n": n,
            "hashing_s": hashing,
            "found": float(planted.sum() / (n // 2)),
            "all_pairs_s": None,
            "ratio": None,
        }
        if n <= all_pairs_up_to:
            start = time.perf_counter()
            compare_all(values)
            row["all_pairs_s"] = time.perf_counter() - start
            row["ratio"] = row["all_pairs_s"] / hashing
        rows.append(row)
    return rows


def audit(dataset: covidct.CTDataset) -> dict[str, float | int | str]:
    wall, processor = time.perf_counter(), time.process_time()
    covidct.audit_dataset(dataset)
    wall, processor = time.perf_counter() - wall, time.process_time() - processor
    return {
        "dataset": dataset.name,
        "slices": len(dataset),
        "wall_s": wall,
        "processor_s": processor,
        "wall_s_per_1000": 1000 * wall / len(dataset),
    }


def main(arguments: Sequence[str] | None = None) -> int:
    parser = make_parser(__doc__)
    parser.add_argument("--dataset", default="phantom", help="dataset to audit (default: phantom)")
    parser.add_argument("--root", type=Path, help="folder of the dataset; phantoms have none")
    parser.add_argument(
        "--phantoms", type=int, default=1000, help="number of phantoms (default: 1000)"
    )
    parser.add_argument("--sizes", type=int, nargs="+", default=[1_000, 10_000, 100_000])
    parser.add_argument("--all-pairs-up-to", type=int, default=20_000, metavar="N")
    options = parser.parse_args(arguments)
    if min(options.sizes) < 2:
        parser.error(f"--sizes must be at least 2, got {min(options.sizes)}")
    if options.dataset == "phantom":
        dataset = covidct.load_dataset("phantom", n=options.phantoms, seed=0)
    else:
        dataset = covidct.load_dataset(options.dataset, options.root, verify="names")

    audit(dataset.subset(range(0, len(dataset), max(1, len(dataset) // 20))))  # imports, warm
    cost = audit(dataset)
    print(
        f"audit of {cost['slices']} slices ({cost['dataset']}): {cost['wall_s']:.1f} s, "
        f"{cost['wall_s_per_1000']:.1f} s for 1,000, {cost['processor_s']:.1f} s of processor time"
    )
    searched = searches(options.sizes, all_pairs_up_to=options.all_pairs_up_to)
    header = ("fingerprints", "hashing, s", "pairs found", "all pairs, s", "all pairs / hashing")
    rows = (
        (
            f"{row['n']:,}",
            f"{row['hashing_s']:.2f}",
            f"{row['found']:.2%}",
            *("-" if row[key] is None else f"{row[key]:.1f}" for key in ("all_pairs_s", "ratio")),
        )
        for row in searched
    )
    print("\n" + table(header, rows))
    write_json(options, {"audit": cost, "search": searched}, "numpy", "scikit-learn")
    return 0


if __name__ == "__main__":
    sys.exit(main())
