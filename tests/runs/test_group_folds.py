from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.model_selection import StratifiedGroupKFold

from covidct.runs.group_folds import GroupFolds, most_folds

Sizes = st.lists(
    st.tuples(st.integers(0, 40), st.integers(0, 40)).filter(any), min_size=2, max_size=14
)


def slices(sizes: list[tuple[int, int]]) -> tuple[list[int], list[int]]:
    rows = [(k, g) for g, pair in enumerate(sizes) for k, n in enumerate(pair) for _ in range(n)]
    targets, groups = zip(*rows, strict=True)
    return list(targets), list(groups)


def feasible(sizes: list[tuple[int, int]], folds: int) -> bool:
    """Try every division."""
    for fold_of in product(range(folds), repeat=len(sizes)):
        held = np.zeros((folds, 2), int)
        np.add.at(held, list(fold_of), np.array(sizes))
        if held.all():
            return True
    return False


@settings(deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 1), st.integers(0, 1)).filter(any), min_size=1, max_size=5)
)
def test_the_largest_number_of_folds(sizes: list[tuple[int, int]]) -> None:
    most = most_folds(*slices(sizes))
    assert not feasible(sizes, most + 1)
    assert most == 0 or feasible(sizes, most)


@settings(deadline=None)
@given(Sizes, st.integers(2, 6), st.integers(0, 3))
def test_every_feasible_division_is_found(
    sizes: list[tuple[int, int]], folds: int, seed: int
) -> None:
    targets, groups = (np.array(values) for values in slices(sizes))
    if most_folds(targets, groups) < folds:
        return
    tested = []
    for train, test in GroupFolds(folds, seed=seed).split(targets, targets, groups):
        assert set(targets[train]) == set(targets[test]) == {0, 1}
        assert not set(groups[train]) & set(groups[test])
        assert sorted([*train, *test]) == list(range(len(targets)))
        tested += test.tolist()
    assert sorted(tested) == list(range(len(targets)))


def test_the_folds_are_scikit_learns_where_these_are_valid() -> None:
    rng = np.random.default_rng(0)
    groups = rng.integers(0, 60, 400)
    targets = (groups % 3 == 0).astype(int)
    theirs = StratifiedGroupKFold(5, shuffle=True, random_state=3).split(targets, targets, groups)
    for (_, test), (_, expected) in zip(
        GroupFolds(5, seed=3).split(targets, targets, groups), theirs, strict=True
    ):
        assert np.array_equal(test, expected)


@pytest.mark.parametrize("seed", range(20))
def test_one_large_patient(seed: int) -> None:
    sizes = [(0, n) for n in (379, 3, 2, 1, 1)]
    sizes += [(n, 0) for n in (93, 33, 22, 15, 2, 11, 26, 38, 14, 34, 13)]
    targets, groups = (np.array(values) for values in slices(sizes))
    tests = [test for _, test in GroupFolds(5, seed=seed).split(targets, targets, groups)]
    assert all(set(targets[test]) == {0, 1} for test in tests)
    negatives = [int((targets[test] == 0).sum()) for test in tests]
    assert max(negatives) == 93  # no other group joins the largest
    assert min(negatives) > 40
