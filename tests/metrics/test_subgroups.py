"""Subgroups: counts and measures by hand, the test by simulation."""

import json

import numpy as np
import pandas as pd
import pytest
from scipy.special import expit
from scipy.stats import kstest
from sklearn.metrics import roc_auc_score
from statsmodels.stats.multitest import multipletests

from local.metrics import subgroups
from local.metrics.intervals import auroc_interval, measure_intervals
from local.metrics.measures import threshold_measures
from local.metrics.subgroups import (
    corrected,
    heterogeneity,
    name_groups,
    permutations_for,
    subgroup_report,
)

NAN = np.nan


def draw(seed, shift=1.5, n_groups=4, n_per_class=10, n_each=1):
    """Subjects of two classes in equal groups, outputs alike within a subject.

    shift : how far positives are above negatives, one number or one per group

    Returns positive, scores, subjects, codes, each [n].
    """
    generator = np.random.default_rng(seed)
    codes = np.repeat(np.arange(n_groups), 2 * n_per_class)
    positive = np.tile(np.repeat([True, False], n_per_class), n_groups)
    of_subject = generator.normal(size=len(codes))
    of_subject += positive * np.broadcast_to(shift, n_groups)[codes]
    order = generator.permutation(np.repeat(np.arange(len(codes)), n_each))
    scores = of_subject[order] + 0.5 * generator.normal(size=len(order))
    subjects = np.array([f"s{i:03}" for i in order], dtype=object)
    return positive[order], scores, subjects, codes[order]


def report(rows, columns=None, threshold=0.5, seed=1, **others):
    positive, scores, subjects, codes = rows
    columns = {"site": [f"site {c}" for c in codes]} if columns is None else columns
    predicted = np.full(len(codes), NAN)
    if threshold is not None:
        predicted = expit(scores) >= threshold
    return subgroup_report(
        positive.astype(float),
        scores,
        expit(scores),
        subjects,
        pd.DataFrame(columns),
        predicted,
        seed,
        **others,
    )


def test_a_group_by_hand():
    rows = draw(seed=1, n_each=3)
    positive, scores, subjects, codes = rows
    entry = report(rows)["columns"]["site"]["groups"][2]
    inside = codes == 2
    positive, scores, subjects = positive[inside], scores[inside], subjects[inside]
    counts = [entry["n"], entry["n_subjects"]]
    counts += [entry["n_positive_subjects"], entry["n_negative_subjects"]]
    assert entry["group"] == "site 2"
    assert counts == [60, 20, 10, 10]
    assert entry["auroc"]["value"] == pytest.approx(roc_auc_score(positive, scores))
    assert entry["auroc"] == auroc_interval(positive, scores, subjects)
    # The probability is 0.5 where the logit is 0.
    sensitivity = (scores[positive] >= 0).mean()
    specificity = (scores[~positive] < 0).mean()
    for name, share in (("sensitivity", sensitivity), ("specificity", specificity)):
        functions = {name: threshold_measures(0)[name]}
        expected = measure_intervals(functions, positive, scores, subjects)[name]
        assert entry[name] == pytest.approx(expected)
        assert entry[name]["value"] == pytest.approx(share)


def test_json_and_shape():
    found = report(draw(seed=2))
    again = json.loads(json.dumps(found, allow_nan=False))
    assert again == found
    assert list(found) == ["n_permutations", "columns"]
    column = found["columns"]["site"]
    names = ["groups", "n_groups", "largest_gap", "largest_gap_by_chance"]
    assert list(column) == [*names, "p"]
    values = [of["auroc"]["value"] for of in column["groups"]]
    assert column["largest_gap"] == pytest.approx(max(values) - min(values))


def test_small_groups_have_no_numbers():
    rows = draw(seed=3, n_groups=3)
    positive, _, subjects, codes = rows
    lost = subjects == subjects[positive & (codes == 1)][0]
    sites = np.where(lost, "elsewhere", np.char.add("site ", codes.astype(str)))
    column = report(rows, {"site": sites})["columns"]["site"]
    by_name = {of["group"]: of for of in column["groups"]}
    assert by_name["site 1"]["n_positive_subjects"] == 9
    reason = "too small: fewer than 10 subjects have positives: 9"
    assert by_name["site 1"]["reason"] == reason
    for name in ("auroc", "sensitivity", "specificity"):
        nothing = {"value": None, "low": None, "high": None, "reason": reason}
        assert by_name["site 1"][name] == nothing
        assert by_name["site 2"][name]["value"] is not None
    # What is tested are the other two, and nothing else.
    assert column["n_groups"] == 2
    alone = [row[(codes != 1) & ~lost] for row in rows]
    assert column["p"] == report(alone)["columns"]["site"]["p"]


def test_one_group_is_not_compared():
    column = report(draw(seed=4, n_groups=1))["columns"]["site"]
    assert column["p"] is column["largest_gap"] is None
    assert column["reason"] == "1 group is large enough: a comparison needs two"
    nothing = report(draw(seed=4, n_groups=1, n_per_class=3))["columns"]["site"]
    assert nothing["reason"] == "no group is large enough: a comparison needs two"


def test_without_a_threshold():
    entry = report(draw(seed=5), threshold=None)["columns"]["site"]["groups"][0]
    assert entry["sensitivity"]["value"] is None
    assert entry["specificity"]["reason"] == "there is no threshold"
    assert entry["auroc"]["value"] is not None


def test_only_what_was_decided_counts():
    positive, scores, subjects, codes = draw(seed=5, n_groups=1)
    decisions = np.where(positive, np.arange(len(positive)) % 2, NAN)
    groups = pd.DataFrame({"site": codes})
    rows = positive.astype(float), scores, expit(scores), subjects, groups
    found = subgroup_report(*rows, decisions, seed=1)["columns"]["site"]["groups"][0]
    assert found["sensitivity"]["value"] == decisions[positive].mean()
    assert found["specificity"]["value"] is None
    assert "negative" in found["specificity"]["reason"]


def test_at_the_threshold_is_positive():
    positive, scores, subjects, codes = draw(seed=5, n_groups=1)
    scores[positive] = 0.0  # a probability of 0.5
    entry = report((positive, scores, subjects, codes))["columns"]["site"]["groups"][0]
    assert entry["sensitivity"]["value"] == 1


def test_unrated_recordings_do_not_count_and_missing_logits_are_not_needed():
    positive, scores, subjects, codes = draw(seed=6)
    more = 30
    targets = np.append(positive.astype(float), [NAN] * more)
    probabilities = np.append(expit(scores), np.full(more, 0.9))
    everyone = np.append(subjects, [f"x{i}" for i in range(more)])
    groups = pd.DataFrame({"site": np.append(codes, [0] * more)}, index=targets)
    rest = probabilities, everyone, groups, probabilities >= 0.5
    found = [
        subgroup_report(targets, logits, *rest, seed=1)
        for logits in (np.append(scores, [NAN] * more), np.full(len(targets), NAN))
    ]
    assert found[0] == found[1]
    of_rated = report((positive, scores, subjects, codes), {"site": codes})
    assert found[0] == of_rated


def test_holm_over_all_labels_and_columns():
    rows = draw(seed=7, shift=[0.3, 2.5, 1.0, 1.0], n_per_class=20)
    codes, subjects = rows[3], rows[2]
    by_subject = {s: i % 2 for i, s in enumerate(sorted(set(subjects)))}
    noise = [by_subject[s] for s in subjects]
    first = report(rows, {"site": codes, "sex": noise, "one": ["x"] * len(codes)})
    reports = {"low": first, "fast": report(draw(seed=8, n_per_class=20))}
    found = corrected(reports)
    tested = [("low", "site"), ("low", "sex"), ("fast", "site")]
    p, holm = (
        [by[label]["columns"][column][name] for label, column in tested]
        for by, name in ((reports, "p"), (found, "p_holm"))
    )
    assert holm == multipletests(p, method="holm")[1].tolist()
    assert holm[0] == pytest.approx(3 * p[0])
    assert found["low"]["columns"]["one"]["p_holm"] is None
    assert (
        found["low"]["columns"]["site"]["groups"]
        == (first["columns"]["site"]["groups"])
    )
    assert corrected({}) == {}


def test_a_large_report_has_enough_permutations():
    """Of 60 tests the smallest p-value after Holm's is below 0.05."""
    n = permutations_for(60)
    p = report(draw(7, [0, 4, 4, 4], n_per_class=20), n_permutations=n)["columns"]
    assert p["site"]["p"] == 1 / (n + 1)
    assert 60 * p["site"]["p"] < 0.05 < 60 / 1001


@pytest.mark.unmeasured
def test_a_report_without_differences_rarely_holds_one():
    """4 labels of the same 80 people, 3 columns: 12 tests, one report."""
    n_reports, hits, uncorrected = 40, 0, 0
    for seed in range(n_reports):
        generator = np.random.default_rng(seed)
        columns = {
            name: generator.integers(0, 2, 80).astype(str)
            for name in ("sex", "site", "device")
        }
        reports = {}
        for label in "abcd":
            targets = np.arange(80) % 2
            scores = generator.normal(size=80) + 1.2 * targets
            reports[label] = subgroup_report(
                targets,
                scores,
                expit(scores),
                np.array([f"s{i}" for i in range(80)], dtype=object),
                pd.DataFrame(columns),
                np.full(80, NAN),
                seed,
                n_permutations=300,
            )
        tests = [
            column
            for each in corrected(reports).values()
            for column in each["columns"].values()
        ]
        hits += any(column["p_holm"] < 0.05 for column in tests)
        uncorrected += any(column["p"] < 0.05 for column in tests)
    assert hits <= 5  # 2 expected; 6 or more in 1 of 70 runs
    assert uncorrected >= 8  # 18 expected


# ---- names of groups


def names(values, subjects=None):
    subjects = [f"s{i}" for i in range(len(values))] if subjects is None else subjects
    groups = name_groups(pd.Series(values), subjects)
    return list(groups), list(groups.categories)


def test_missing_values_are_a_group():
    for value in (None, NAN, "", " ", "NA", "n/a".upper(), ".", pd.NA):
        groups, categories = names(["m", "f", value])
        assert groups == ["m", "f", "not given"]
        assert categories == ["f", "m", "not given"]


def test_numbers_with_few_values_stay():
    groups, categories = names([10, 2, None, 10, 2.5, 2])
    assert groups == ["10", "2", "not given", "10", "2.5", "2"]
    assert categories == ["2", "2.5", "10", "not given"]
    assert names(["10", "9", "2"])[1] == ["2", "9", "10"]


def test_seven_values_are_binned():
    assert names([1, 2, 3, 4, 5, 6])[1] == ["1", "2", "3", "4", "5", "6"]
    groups, categories = names([7, 1, 2, 3, 4, 5, 6, ""])
    assert categories == ["up to 3", "above 3, up to 5", "above 5", "not given"]
    expected = [2, 0, 0, 0, 1, 1, 2, 3]
    assert groups == [categories[i] for i in expected]


def test_subjects_make_the_bins_not_recordings():
    # One subject has twenty recordings: tertiles of recordings would be 9 and 9.
    values = [9] * 20 + [1, 2, 3, 4, 5, 6, 7, 8]
    subjects = ["a"] * 20 + list("bcdefghi")
    assert names(values, subjects)[1] == ["up to 3", "above 3, up to 6", "above 6"]


def test_equal_tertiles():
    values = [1, 2, *[5] * 20, 6, 7, 8, 9]
    groups, categories = names(values)
    assert categories == ["up to 5", "above 5"]
    assert groups == ["up to 5"] * 22 + ["above 5"] * 4
    assert names([*range(6), *[9] * 30])[1] == ["up to 9"]


def test_nothing_is_given():
    assert names(["", None]) == (["not given"] * 2, ["not given"])


def test_text_with_many_values_is_not_binned():
    assert len(names(["1", "2", "3", "4", "5", "6", "7", "x"])[1]) == 8


# ---- the test of heterogeneity


def test_no_difference_gives_uniform_p_values(monkeypatch):
    monkeypatch.setattr(subgroups, "N_PERMUTATIONS", 199)
    p = [
        heterogeneity(*draw(seed, n_groups=3, n_each=3), 3, seed)["p"]
        for seed in range(200)
    ]
    assert kstest(p, "uniform").pvalue > 0.01
    assert 0.01 <= np.mean(np.array(p) <= 0.05) <= 0.09


def test_recordings_of_a_subject_stay_together(monkeypatch):
    """Ten recordings each say no more than one: permuting them apart is wrong."""
    monkeypatch.setattr(subgroups, "N_PERMUTATIONS", 199)
    wrong, right = [], []
    for seed in range(60):
        positive, scores, subjects, codes = draw(seed, n_groups=2, n_each=10)
        right.append(heterogeneity(positive, scores, subjects, codes, 2, seed)["p"])
        alone = np.arange(len(codes)).astype(str).astype(object)
        wrong.append(heterogeneity(positive, scores, alone, codes, 2, seed)["p"])
    assert np.mean(np.array(right) <= 0.05) <= 0.15
    assert np.mean(np.array(wrong) <= 0.05) >= 0.3


def test_groups_of_unequal_prevalence(monkeypatch):
    """Each group keeps its positives: unequal numbers of them are no difference."""
    monkeypatch.setattr(subgroups, "N_PERMUTATIONS", 199)
    p = []
    for seed in range(150):
        positive, scores, subjects, codes = draw(seed, n_groups=2, n_per_class=40)
        kept = (codes == 0) == positive
        generator = np.random.default_rng(seed)
        kept |= generator.random(len(kept)) < 0.3
        rows = positive[kept], scores[kept], subjects[kept], codes[kept]
        p.append(heterogeneity(*rows, 2, seed)["p"])
    assert kstest(p, "uniform").pvalue > 0.01


def test_a_planted_difference_is_found():
    shifts = [0.2, 2.5, 2.5]
    found = [
        heterogeneity(*draw(seed, shifts, 3, 30, 2), 3, seed)["p"] for seed in range(5)
    ]
    assert max(found) < 0.01


def test_the_largest_gap_by_chance(monkeypatch):
    """Four equal groups of ten and ten differ: by how much, new ones say."""
    found, gaps = [], []
    monkeypatch.setattr(subgroups, "N_PERMUTATIONS", 199)
    for seed in range(200):
        positive, scores, subjects, codes = draw(seed)
        of = heterogeneity(positive, scores, subjects, codes, 4, seed)
        found.append(of["largest_gap_by_chance"])
        values = [
            (
                scores[positive & (codes == c)][:, None]
                > scores[~positive & (codes == c)]
            )
            for c in range(4)
        ]
        values = [above.mean() for above in values]
        gaps.append(max(values) - min(values))
        assert of["largest_gap"] == pytest.approx(gaps[-1])
    assert np.mean(found) == pytest.approx(np.mean(gaps), abs=0.02)
    assert 0.15 < np.mean(found) < 0.25


def test_p_by_all_permutations():
    """Few enough subjects that every exchange can be made by hand."""
    scores = np.array([5.0, 4.0, 1.0, 3.0, 2.0, 0.0, 2.5, 1.5])
    positive = np.array([True] * 4 + [False] * 4)
    codes = np.array([0, 0, 1, 1] * 2)
    subjects = np.array(list("abcdefgh"), dtype=object)

    def gap(code):
        values = [roc_auc_score(positive[code == c], scores[code == c]) for c in (0, 1)]
        return abs(values[0] - values[1])

    halves = [c for c in np.ndindex(2, 2, 2, 2) if sum(c) == 2]
    all_gaps = [gap(np.array(a + b)) for a in halves for b in halves]
    found = heterogeneity(positive, scores, subjects, codes, 2, seed=1)
    # With two groups of equal weight the variance is the gap, squared, over 4.
    exact = np.mean(np.array(all_gaps) >= gap(codes) - 1e-9)
    assert 0.1 < exact < 0.9
    assert found["p"] == pytest.approx(exact, abs=0.04)
    assert found["largest_gap_by_chance"] == pytest.approx(np.mean(all_gaps), abs=0.02)


def test_large_groups_weigh_more():
    """Against a test that is written out, of three groups of different sizes."""
    generator = np.random.default_rng(2)
    of_positives = np.repeat(range(3), [10, 80, 10])
    of_negatives = np.repeat(range(3), [10, 80, 60])
    high, low = generator.normal(1, 1, 100), generator.normal(0, 1, 150)

    def variance(a, b, weights):
        values = [(high[a == c][:, None] > low[b == c]).mean() for c in range(3)]
        mean = np.dot(weights, values) / sum(weights)
        return np.dot(weights, (np.array(values) - mean) ** 2)

    def p_value(weights):
        observed = variance(of_positives, of_negatives, weights)
        permute = generator.permutation
        drawn = [
            variance(permute(of_positives), permute(of_negatives), weights)
            for _ in range(1000)
        ]
        return np.mean(np.array(drawn) >= observed)

    right, equal = p_value([5, 40, 600 / 70]), p_value([1, 1, 1])
    assert abs(right - equal) > 0.15
    found = heterogeneity(
        np.repeat([True, False], [100, 150]),
        np.append(high, low),
        np.array([f"s{i}" for i in range(250)], dtype=object),
        np.append(of_positives, of_negatives),
        3,
        seed=1,
    )
    assert found["p"] == pytest.approx(right, abs=0.05)


def test_the_smallest_p_is_not_0():
    rows = draw(seed=1, shift=[0, 6], n_groups=2, n_per_class=40)
    assert heterogeneity(*rows, 2, seed=1)["p"] == 1 / 1001


def two_devices(seed, worse=0.0, n=50):
    """Each of n subjects is recorded with two devices; the second may be worse."""
    generator = np.random.default_rng(seed)
    positive = np.repeat(generator.permutation([True, False] * (n // 2)), 2)
    scores = np.repeat(generator.normal(size=n), 2) + 1.5 * positive
    device = np.tile([0, 1], n)
    scores += generator.normal(size=2 * n) * (0.5 + worse * device)
    subjects = np.repeat([f"s{i}" for i in range(n)], 2).astype(object)
    return positive, scores, subjects, device


def test_groups_inside_subjects(monkeypatch):
    monkeypatch.setattr(subgroups, "N_PERMUTATIONS", 199)
    p = [heterogeneity(*two_devices(seed), 2, seed)["p"] for seed in range(150)]
    assert kstest(p, "uniform").pvalue > 0.01
    # Both devices have the same subjects, so that little is enough to see it.
    p = [
        heterogeneity(*two_devices(seed, 6, n=140), 2, seed)["p"] for seed in range(20)
    ]
    assert np.mean(np.array(p) < 0.05) > 0.8


def test_blocks_and_seed(monkeypatch):
    rows = draw(seed=8)
    whole = heterogeneity(*rows, 4, seed=1)
    assert heterogeneity(*rows, 4, seed=1) == whole
    assert heterogeneity(*rows, 4, seed=2)["p"] != whole["p"]
    monkeypatch.setattr(subgroups, "BLOCK_SIZE", 1000)
    assert heterogeneity(*rows, 4, seed=1)["p"] == pytest.approx(whole["p"], abs=0.05)
