"""Cost of an audit: seconds for 1,000 slices, and the growth of the near-duplicate search.

The search by hashing is compared with comparing all pairs of fingerprints, up to the size of
``--all-pairs-up-to``. Half of the fingerprints have a near-duplicate; the share that hashing finds
is reported too.

With ``--null N``, it also reports how often N datasets without leak and without shortcut are warned
about.

    python benchmarks/audit.py --json audit.json
    python benchmarks/audit.py --null 400
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
from covidct.audit.checks import check_leakage, check_shortcuts
from covidct.audit.leakage import probe_leakage
from covidct.audit.measurements import SliceMeasurements
from covidct.audit.shortcuts import measure_shortcuts

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


def false_alarms(repeats: int) -> dict[str, float | int]:
    """Audit datasets of 24 patients with three slices each; nothing depends on the class."""
    rng = np.random.default_rng(0)
    patients = np.repeat(np.arange(24), 3)
    n, leaks, shortcuts = len(patients), 0, 0
    for _ in range(repeats):
        targets = rng.permutation(np.arange(24) % 2)[patients]
        canvases = rng.integers(0, 256, (n, 64, 64), np.uint8)
        border = rng.integers(0, 256, 24, np.uint8)[patients, None, None]
        canvases[:, [0, -1]] = border
        canvases[:, :, [0, -1]] = border
        measurements = SliceMeasurements(
            digests=np.arange(n).astype(str),
            canvases=canvases,
            formats=rng.choice(["PNG", "JPEG"], 24)[patients],
            modes=rng.choice(["L", "RGB"], 24)[patients],
            sizes=rng.integers(200, 400, (24, 2))[patients],
            bit_depths=np.full(n, 8),
            colored=rng.random(24)[patients],
            trimmed=canvases,
            two_valued=np.zeros(n, np.bool_),
        )
        found = check_shortcuts(measure_shortcuts(measurements, targets, groups=patients))
        shortcuts += any(finding.severity != "note" for finding in found)
        probes = probe_leakage(
            rng.integers(0, 256, (n, 16, 16), np.uint8),
            targets,
            groupings={"random": None, "by patient": patients},
        )
        leaks += any(f.severity != "note" for f in check_leakage(probes, advice=""))
    return {"datasets": repeats, "leak": leaks / repeats, "shortcut": shortcuts / repeats}


def main(arguments: Sequence[str] | None = None) -> int:
    parser = make_parser(__doc__)
    parser.add_argument("--dataset", default="phantom", help="dataset to audit (default: phantom)")
    parser.add_argument("--root", type=Path, help="folder of the dataset; phantoms have none")
    parser.add_argument(
        "--phantoms", type=int, default=1000, help="number of phantoms (default: 1000)"
    )
    parser.add_argument("--sizes", type=int, nargs="+", default=[1_000, 10_000, 100_000])
    parser.add_argument(
        "--null", type=int, default=0, metavar="N", help="number of datasets without a problem"
    )
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
    alarms = false_alarms(options.null) if options.null else None
    if alarms:
        print(
            f"\nfalse alarms in {alarms['datasets']} datasets: leak {alarms['leak']:.1%}, "
            f"shortcut {alarms['shortcut']:.1%}"
        )
    values = {"audit": cost, "search": searched, "false_alarms": alarms}
    write_json(options, values, "numpy", "scikit-learn")
    return 0


if __name__ == "__main__":
    sys.exit(main())
