"""data.folds: what stays together, and how alike the folds are."""

import numpy as np
import pandas as pd
import pytest

from local.data.folds import folds_by_column, make_folds, one_class_folds
from local.utils.errors import UserError


def corpus(n_subjects=40, per_subject=4, seed=0):
    """Recordings of subjects at sites, and targets of three labels, some unrated."""
    generator = np.random.default_rng(seed)
    subjects = np.repeat([f"s{i:02}" for i in range(n_subjects)], per_subject)
    n = len(subjects)
    table = pd.DataFrame({"subject": subjects})
    rare = np.isin(
        subjects, [f"s{i:02}" for i in range(0, n_subjects, n_subjects // 5)]
    )
    targets = pd.DataFrame(
        {
            "common": (generator.random(n) < 0.5).astype(float),
            "rare": rare.astype(float),
            "score": generator.random(n),
        }
    )
    return table, targets.mask(generator.random((n, 3)) < 0.1)


def test_subjects_stay_whole_and_no_fold_is_empty():
    table, targets = corpus()
    folds = make_folds(table, targets, 5, seed=1)
    assert folds.shape == (160,) and set(folds) == set(range(5))
    assert (table["subject"].groupby(folds).nunique() == 8).all()
    assert pd.Series(folds).groupby(table["subject"]).nunique().max() == 1


def test_labels_are_balanced():
    table, targets = corpus()
    folds = make_folds(table, targets, 5, seed=1)
    # Five subjects have the rare label: one for each fold.
    assert one_class_folds(folds, targets) == {}
    means = targets.groupby(folds).mean()
    assert np.ptp(means["common"]) < 0.06
    assert np.ptp(means["score"]) < 0.06
    naive = targets.groupby(np.arange(160) // 32).mean()
    assert np.ptp(naive["common"]) > 0.1  # what chance does


def test_chains_of_shared_values_stay_together():
    # a-x, b-x, b-y, c-y are one group, although a and c share nothing
    table = pd.DataFrame(
        {
            "subject": ["a", "b", "b", "c", "d", "e", "f"],
            "site": ["x", "x", "y", "y", "z", "", ""],
        }
    )
    targets = pd.DataFrame({"low": [1, 0, 1, 0, 1, 0, 1.0]})
    for seed in range(5):
        folds = make_folds(table, targets, 4, seed, disjoint_by=["site"])
        assert len(set(folds[:4])) == 1
        # e and f have no site: that is none in common
        assert len(set(folds[3:])) == 4


def test_another_spelling_is_the_same_value():
    table = pd.DataFrame(
        {"subject": ["s01", "S1", "b", "c"], "site": ["x", "y", "North", "north "]}
    )
    targets = pd.DataFrame({"low": [0.0, 1, 0, 1]})
    for seed in range(5):
        folds = make_folds(table, targets, 2, seed, disjoint_by=["site"])
        assert folds[0] == folds[1] != folds[2] == folds[3]


def test_subjects_never_cross_even_if_only_the_site_is_named():
    table = pd.DataFrame({"subject": list("aab"), "site": list("xyz")})
    targets = pd.DataFrame({"low": [0.0, 1, 1]})
    folds = make_folds(table, targets, 2, seed=0, disjoint_by=["site"])
    assert folds[0] == folds[1] != folds[2]


def test_the_seed_decides():
    table, targets = corpus()
    first = make_folds(table, targets, 5, seed=1)
    assert (first == make_folds(table, targets, 5, seed=1)).all()
    # Not only other numbers for the same folds
    second = make_folds(table, targets, 5, seed=2)
    assert len(set(zip(first, second, strict=True))) > 5


def test_an_index_of_its_own_changes_nothing():
    table, targets = corpus()
    shifted = targets.set_axis(targets.index + 7), table.set_axis(table.index + 9)
    folds = make_folds(shifted[1], shifted[0], 5, seed=1)
    assert (folds == make_folds(table, targets, 5, seed=1)).all()


def test_large_sites_do_not_end_in_one_fold():
    sites = np.repeat(list("abcdefgh"), [40, 40, 40, 10, 10, 10, 5, 5])
    table = pd.DataFrame({"subject": np.arange(160).astype(str), "site": sites})
    targets = pd.DataFrame({"low": np.arange(160) % 2.0})
    folds = make_folds(table, targets, 3, seed=0, disjoint_by=["subject", "site"])
    assert sorted(np.bincount(folds)) in ([50, 50, 60], [50, 55, 55])


@pytest.mark.parametrize(
    ("n_folds", "disjoint_by", "words"),
    [
        (4, ["subject", "site"], "there are 2: set n_folds to 2"),
        (1, ["subject"], "n_folds must be 2 or more, found 1"),
        (2, ["subject", "ward"], "'ward', which is no column; there are subject, site"),
    ],
)
def test_what_is_refused(n_folds, disjoint_by, words):
    table = pd.DataFrame({"subject": list("abcd"), "site": list("xxyy")})
    targets = pd.DataFrame({"low": [0, 1, 0, 1.0]})
    with pytest.raises(UserError, match=words):
        make_folds(table, targets, n_folds, seed=0, disjoint_by=disjoint_by)


@pytest.mark.parametrize(
    ("sites", "disjoint_by", "words"),
    [
        (["x", "", " ", "y"], [], "2 cells of it are empty: fill them"),
        (["x", "X", "x ", "x"], [], "all recordings have 'x'"),
        (["x", "y", "y", "x"], [], "1 subjects have recordings of several values of"),
        # s1 is of one site, and of one family with s2, who is of the other
        (["x", "x", "y", "z"], ["family"], "1 groups by subject, family have"),
        (["x", "x", "y", "z"], ["ward"], "disjoint_by names 'ward'"),
    ],
)
def test_what_can_not_be_left_out(sites, disjoint_by, words):
    table = {"subject": ["s1", "S1", "s2", "s3"], "family": ["a", "a", "a", "b"]}
    table = pd.DataFrame(table | {"site": sites})
    with pytest.raises(UserError, match=words):
        folds_by_column(table, "site", disjoint_by)


def test_the_column_left_out_may_be_one_that_must_not_cross():
    table = pd.DataFrame({"subject": list("abc"), "site": list("xyy")})
    folds, values = folds_by_column(table, "site", ["subject", "site"])
    assert folds.tolist() == [0, 1, 1] and values == ["x", "y"]


def test_folds_with_one_class_are_named():
    targets = pd.DataFrame(
        {
            "both": [0, 1, 0, 1, 1, 0.0],
            "lost": [0, 1, 0, 0, 1, 1.0],
            "unrated": [0, 1, 1, 0, np.nan, np.nan],
            "score": [0.5, 0.5, 0, 0, 0.2, 1.0],
        }
    )
    found = one_class_folds(np.array([0, 0, 1, 1, 2, 2]), targets)
    assert found == {"lost": [1, 2], "unrated": [2], "score": [1]}
