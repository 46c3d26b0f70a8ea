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


def follows_the_rule(sizes: list[tuple[int, int]], fold_of: list[int], seed: int) -> bool:
    """Place the groups again, one after the other, in exact numbers and plain loops."""
    order = np.random.default_rng(seed).permutation(len(sizes)).tolist()
    order.sort(key=lambda g: -sum(sizes[g]))
    folds, totals = range(max(fold_of) + 1), np.sum(sizes, axis=0).tolist()
    placed: dict[int, int] = {}
    for fold in folds:  # the largest groups that it needs
        mixed = [g for g in order if all(sizes[g]) and g not in placed]
        pure = [[g for g in order if sizes[g][k] and g not in placed] for k in (0, 1)]
        placed.update(dict.fromkeys(mixed[:1] or [groups[0] for groups in pure], fold))
    right = all(fold_of[g] == fold for g, fold in placed.items())
    for g in order:
        if g in placed:
            continue
        spreads = []
        for fold in folds:
            held = np.zeros((len(folds), 2), np.int64)
            for h, f in {**placed, g: fold}.items():
                held[f] += sizes[h]
            # Sum of the squared shares of each class, times the squares of both totals.
            spreads.append(sum((int(n) * totals[1 - k]) ** 2 for k in (0, 1) for n in held[:, k]))
        right &= spreads[fold_of[g]] == min(spreads)
        placed[g] = fold_of[g]
    return right


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


def test_other_folds_follow_the_rule() -> None:
    """Where scikit-learn leaves a fold without a class."""
    rng = np.random.default_rng(0)
    compared = 0
    while compared < 25:
        folds, seed, number = rng.integers(2, 5), int(rng.integers(9)), int(rng.integers(5, 12))
        pairs = np.exp(rng.uniform(0, 5, (number, 2))).astype(int) * (rng.random((number, 2)) < 0.6)
        sizes = [(int(a), int(b)) for a, b in pairs if a or b]
        targets, groups = (np.array(values) for values in slices(sizes))
        if most_folds(targets, groups) < folds:
            continue
        theirs = StratifiedGroupKFold(folds, shuffle=True, random_state=seed)
        tests = [test for _, test in theirs.split(targets, targets, groups)]
        if all(set(targets[test]) == {0, 1} for test in tests):
            continue
        compared += 1
        fold_of = np.full(len(sizes), -1)
        found = GroupFolds(folds, seed=seed).split(targets, targets, groups)
        for fold, (train, test) in enumerate(found):
            assert sorted([*train, *test]) == list(range(len(targets)))
            fold_of[groups[test]] = fold
        assert follows_the_rule(sizes, fold_of.tolist(), seed)


def test_ties_are_broken_by_the_seed() -> None:
    sizes = [(0, 379), (0, 3), (0, 3), (0, 1)] + [(2, 0)] * 60
    targets, groups = (np.array(values) for values in slices(sizes))

    def folds(**seed: int) -> list[list[int]]:
        found = GroupFolds(4, **seed).split(targets, targets, groups)
        return [test.tolist() for _, test in found]

    assert folds() == folds(seed=0) != folds(seed=1)


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
