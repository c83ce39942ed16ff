"""metrics.comparison: two systems on the same recordings."""

import json

import numpy as np
import pandas as pd
import pytest
from scipy.special import expit
from scipy.stats import norm, t
from sklearn.metrics import roc_auc_score

from local.metrics.cases import Rated
from local.metrics.comparison import (
    Paired,
    against_guessing,
    auroc_of,
    compare,
    compare_repeats,
    difference,
    verdict,
)
from local.report.terminal import format_comparison
from local.utils.errors import UserError


def table(targets, logits, subjects):
    """Predictions; targets and logits are dicts by label of [n_recordings]."""
    parts = [
        pd.DataFrame(
            {
                "uid": [f"u{i}" for i in range(len(subjects))],
                "subject": subjects,
                "label": label,
                "target": np.asarray(targets[label], dtype=float),
                "logit": np.asarray(logits[label], dtype=float),
                "probability": expit(np.asarray(logits[label], dtype=float)),
                "session": "",
                "split": "test",
            }
        )
        for label in targets
    ]
    return pd.concat(parts, ignore_index=True)


def systems(n_subjects=30, better=1.5, seed=0, labels=("low", "fast")):
    """Two systems: signal 0.5, and `better`; three recordings per subject."""
    generator = np.random.default_rng(seed)
    subjects = np.repeat([f"s{i:02}" for i in range(n_subjects)], 3)
    n = len(subjects)
    targets = {label: generator.integers(0, 2, n) for label in labels}
    return [
        table(
            targets,
            {k: generator.normal(size=n) + shift * y for k, y in targets.items()},
            subjects,
        )
        for shift in (0.5, better)
    ]


def compared(*tables, **options):
    """The comparison of two systems, A and B."""
    return compare(dict(zip("AB", tables, strict=True)), **options)


def of_pair(result, label="low"):
    """The difference of A and B; label None: of the mean."""
    entry = result["macro"] if label is None else result["labels"][label]
    return entry["differences"]["A - B"]


def test_values_and_shape():
    first, second = systems()
    result = compared(first, second)
    for label in ("low", "fast"):
        rows = [of[of["label"] == label] for of in (first, second)]
        expected = [roc_auc_score(of["target"], of["logit"]) for of in rows]
        entry, of = result["labels"][label], of_pair(result, label)
        assert list(entry["auroc"].values()) == pytest.approx(expected)
        assert list(of) == ["value", "low", "high", "p", "p_holm"]
        assert of["value"] == pytest.approx(expected[0] - expected[1])
        assert of["low"] < of["value"] < of["high"] < 0
        assert of["p"] < 0.05 and entry["n"] == 90 and entry["n_subjects"] == 30
    mean = np.mean([of_pair(result, label)["value"] for label in result["labels"]])
    assert of_pair(result, None)["value"] == pytest.approx(mean)
    json.dumps(result, allow_nan=False)
    again = compared(first, second.sample(frac=1, random_state=0))
    assert again == result


def test_exchanged_systems_give_the_opposite():
    first, second = systems()
    one, other = (
        of_pair(compared(*pair), None) for pair in ((first, second), (second, first))
    )
    assert one["low"] == pytest.approx(-other["high"])
    assert one["p"] == pytest.approx(other["p"])


def test_variance_is_delongs_where_each_subject_has_one_recording():
    """DeLong et al. (1988): of the structural components' differences."""
    generator = np.random.default_rng(0)
    subjects = [f"s{i:02}" for i in range(60)]
    targets = np.arange(60) % 4 == 0
    logits = [generator.normal(size=60) + targets for _ in range(2)]
    tables = [table({"x": targets}, {"x": own}, subjects) for own in logits]
    wins = [own[targets][:, None] > own[~targets] for own in logits]
    values = np.mean(wins[0]) - np.mean(wins[1])
    components = wins[0].astype(float) - wins[1]
    variance = components.mean(axis=1).var(ddof=1) / 15
    variance += components.mean(axis=0).var(ddof=1) / 45
    of = of_pair(compared(*tables), "x")
    assert of["value"] == pytest.approx(values)
    half = t.ppf(0.975, 14) * np.sqrt(variance)
    assert of["high"] - of["value"] == pytest.approx(half)
    p = 2 * t.sf(abs(values) / np.sqrt(variance), 14)
    assert of["p"] == pytest.approx(p)


def test_scales_do_not_matter():
    first, second = systems()
    stretched = second.assign(
        logit=second["logit"] * 30 + 500, probability=second["probability"] ** 5
    )
    assert compared(first, stretched) == compared(first, second)


def test_the_interval_is_by_subject():
    """Each recording twelve times says nothing more than once."""
    first, second = systems(n_subjects=25, labels=("low",))
    copies = [
        pd.concat([of.assign(uid=of["uid"] + f"-{i}") for i in range(12)])
        for of in (first, second)
    ]
    one, many = of_pair(compared(first, second)), of_pair(compared(*copies))
    assert many == pytest.approx(one)


def test_the_mean_has_the_degrees_of_freedom_of_the_rarest_label():
    generator = np.random.default_rng(0)
    subjects = [f"s{i:02}" for i in range(60)]
    targets = {"x": np.arange(60) % 10 == 0, "same": np.arange(60) % 2}
    same = generator.normal(size=60)
    tables = [
        table(targets, {"x": generator.normal(size=60), "same": same}, subjects)
        for _ in range(2)
    ]
    result = compared(*tables)
    # The second label's difference is 0 whoever is taken: the mean is half the first.
    rare, mean = of_pair(result, "x"), of_pair(result, None)
    for bound in ("value", "low", "high"):
        assert mean[bound] == pytest.approx(rare[bound] / 2)


def test_folds_are_compared_within():
    """By hand: the mean of the folds' AUROCs; one fold's outputs have another scale."""
    first, second = systems(n_subjects=40, labels=("low",))
    places = first["subject"].str[1:].astype(int) % 4
    folds = pd.Series(places.to_numpy(), index=first["uid"])
    shifted = first.assign(logit=first["logit"] + 100 * places)
    found = compared(shifted, second, folds=folds)
    expected = [
        np.mean(
            [
                roc_auc_score(own["target"][places == f], own["logit"][places == f])
                for f in range(4)
            ]
        )
        for own in (first, second)
    ]
    aurocs = list(found["labels"]["low"]["auroc"].values())
    assert aurocs == pytest.approx(expected)
    of = of_pair(found)
    assert of["value"] == pytest.approx(expected[0] - expected[1])
    assert of["low"] < of["value"] < of["high"]
    assert found == compared(first, second, folds=folds)


def test_all_pairs_of_three_and_holm_over_pairs_and_labels():
    first, second = systems(labels=("low", "fast"))
    third = systems(seed=5, labels=("low", "fast"))[0].assign(target=first["target"])
    result = compare({"A": first, "B": second, "C": third})
    pairs = ["A - B", "A - C", "B - C"]
    tests = []
    for label in ("low", "fast"):
        found = result["labels"][label]["differences"]
        assert list(found) == pairs
        assert found["A - B"]["value"] == pytest.approx(
            of_pair(compared(first, second), label)["value"]
        )
        tests += found.values()
    largest = 0
    for rank, of in enumerate(sorted(tests, key=lambda of: of["p"])):
        largest = max(largest, min(1, of["p"] * (6 - rank)))
        assert of["p_holm"] == pytest.approx(largest)
    macro = result["macro"]["differences"]
    least = min(of["p"] for of in macro.values())
    assert min(of["p_holm"] for of in macro.values()) == pytest.approx(3 * least)
    text = format_comparison(result)
    assert "AUROC of A, B, C" in text and "B - C" in text


# What a difference comes to


def paired_scores(generator, n_subjects, prevalence, aurocs=(0.75, 0.75), n_each=6):
    """Two systems of these AUROCs: subjects of one class, outputs alike within them."""
    targets = np.arange(n_subjects) < round(prevalence * n_subjects)
    of_row = np.repeat(np.arange(n_subjects), n_each)
    common = generator.normal(size=n_subjects), generator.normal(size=len(of_row))
    subjects, systems = of_row.astype(str).astype(object), []
    for auroc in aurocs:
        person, take = (
            np.sqrt(0.5) * (both + generator.normal(size=len(both))) for both in common
        )
        score = np.sqrt(0.6) * person[of_row] + np.sqrt(0.4) * take
        score += np.sqrt(2) * norm.ppf(auroc) * targets[of_row]
        systems.append(Rated(targets[of_row].astype(float), score, subjects))
    return difference({"x": Paired(*map(auroc_of, systems))})


@pytest.mark.unmeasured
@pytest.mark.parametrize("n_subjects, prevalence", [(40, 0.2), (40, 0.5), (100, 0.1)])
def test_intervals_hold_the_truth_and_equal_systems_are_rarely_told_apart(
    n_subjects, prevalence
):
    generator = np.random.default_rng(1)
    n = 200
    equal = [paired_scores(generator, n_subjects, prevalence) for _ in range(n)]
    held = [of["low"] <= 0 <= of["high"] for of in equal]
    assert all((of["p"] < 0.05) != in_it for of, in_it in zip(equal, held, strict=True))
    assert np.mean(held) >= 0.91  # 0.95, less 2.6 standard errors
    others = [
        paired_scores(generator, n_subjects, prevalence, (0.9, 0.7)) for _ in range(n)
    ]
    assert np.mean([of["low"] <= 0.2 <= of["high"] for of in others]) >= 0.91


@pytest.mark.parametrize(
    "low, high, expected",
    [
        (0.01, 0.03, "above"),
        (-0.05, 0.05, "about the same"),
        (-0.051, 0.04, "not distinguishable"),
        (-0.3, 0.02, "not distinguishable"),
        (-0.2, -0.1, "below"),
        (-0.4, -0.11, "far below"),
        (None, None, "not computable"),
    ],
)
def test_verdicts(low, high, expected):
    assert verdict({"value": 0.0, "low": low, "high": high}) == expected


@pytest.mark.parametrize(
    "low, high, expected",
    [
        (0.51, 0.8, "better than guessing"),
        (0.45, 0.8, "not distinguishable"),
        (0.2, 0.49, "worse than guessing"),
        (None, None, "not computable"),
    ],
)
def test_guessing(low, high, expected):
    assert against_guessing({"value": 0.5, "low": low, "high": high}) == expected


# What can't be compared


def test_all_mismatches_at_once():
    subjects = list("aabb")
    first = table(
        {"x": [0, 1, 0, 1], "y": [1, 0, np.nan, 1]},
        {"x": [0] * 4, "y": [0] * 4},
        subjects,
    )
    second = first.copy()
    second.loc[1, "target"] = 0
    second.loc[6, "target"] = 1
    second.loc[3, "subject"] = "c"
    second = second.drop(index=[4])
    second = pd.concat([second, second.tail(1).assign(uid="u9")])
    with pytest.raises(UserError) as error:
        compare({"old": first, "new": second})
    assert error.value.problems == [
        "uid 'u9' is only in new",
        "label 'y' of uid 'u0' is only in old",
        "label 'x' of uid 'u1' is 1 in old and 0 in new",
        "label 'y' of uid 'u2' is not rated in old and 1 in new",
        "label 'x' of uid 'u3' is of subject 'b' in old and of 'c' in new",
    ]


def test_labels_that_not_all_have_are_left_out_and_named():
    first, second = systems(labels=("low", "fast", "old"))
    expected = compared(*(of[of["label"] != "old"] for of in (first, second)))
    second = second.replace({"label": {"old": "new"}})
    found = compared(first, second)
    assert found["left_out"] == {"old": "only in A", "new": "only in B"}
    for key in ("labels", "macro", "n_recordings"):
        assert found[key] == expected[key]
    assert "new: left out, only in B" in format_comparison(found)


def test_another_spelling_of_a_subject_is_the_same_subject():
    first, second = systems()
    spelt = second.assign(subject=second["subject"].str.upper())
    assert compared(first, spelt) == compared(first, second)


def test_the_same_system_twice():
    first, _ = systems()
    of = of_pair(compared(first, first))
    assert of["value"] == 0 and of["p"] is of["p_holm"] is of["low"] is None
    assert "whichever of these subjects are taken" in of["reason"]


def test_what_has_no_interval_or_is_left_out_says_why():
    subjects = [f"s{i}" for i in range(12)]
    targets = {
        "rare": [1] * 3 + [0] * 9,
        "none": [0] * 12,
        "score": np.arange(12) * 2.0,
        "fine": [0, 1] * 6,
    }
    generator = np.random.default_rng(0)
    tables = [
        table(targets, {k: generator.normal(size=12) for k in targets}, subjects)
        for _ in range(2)
    ]
    result = compared(*tables)
    assert list(result["labels"]) == ["rare", "fine"]
    rare = of_pair(result, "rare")
    assert rare["low"] is rare["p"] is None
    assert rare["reason"] == "fewer than 5 subjects have positives: 3"
    assert of_pair(result, None)["reason"].startswith("rare: fewer than 5")
    assert result["left_out"] == {
        "none": "only one class: all 12 rated recordings are negative",
        "score": "a score: AUROC needs targets that are 0 or 1",
    }
    json.dumps(result, allow_nan=False)
    text = format_comparison(result)
    assert "these trained systems" in text and "not compare methods" in text
    assert "| label " in text and "| macro (2 labels)" in text
    assert "score: left out, a score" in text
    assert "rare: fewer than 5 subjects have positives: 3" in text
    empty = [of[of["label"] == "none"] for of in tables]
    result = compared(*empty)
    assert of_pair(result, None)["value"] is None
    assert "no label has both classes" in format_comparison(result)
    folds = pd.Series([0, 0, 0, *[1] * 9], index=[f"u{i}" for i in range(12)])
    result = compared(*(of[of["label"] == "rare"] for of in tables), folds=folds)
    assert result["left_out"] == {"rare": "no fold has both classes"}


def test_repeats_are_averaged_with_intervals_as_wide_as_one_s():
    repeats = [dict(zip("AB", systems(seed=seed), strict=True)) for seed in (0, 0)]
    targets = repeats[0]["A"][["uid", "label", "target"]]
    for seed, table in enumerate(repeats[1].values()):
        table["logit"] = np.random.default_rng(seed).normal(size=len(table))
        table["probability"] = expit(table["logit"])
    assert targets.equals(repeats[1]["A"][["uid", "label", "target"]])
    repeats[0]["C"] = repeats[0]["A"].assign(logit=0.0, probability=0.5)
    together = compare_repeats([(tables, None) for tables in repeats])
    apart = [compare(tables) for tables in repeats]
    for label in ("low", None):
        entries = [of_pair(each, label) for each in (together, *apart)]
        widths = [e["high"] - e["low"] for e in entries]
        values = [e["value"] for e in entries]
        assert values[0] == pytest.approx(np.mean(values[1:]))
        assert widths[0] == pytest.approx(np.mean(widths[1:]))
    error = widths[0] / 2 / t.ppf(0.975, degrees(repeats[0]["A"]))
    p = 2 * t.sf(abs(values[0]) / error, degrees(repeats[0]["A"]))
    assert entries[0]["p"] == pytest.approx(p)
    # a system of the first repeat alone
    pair = together["labels"]["low"]["differences"]["A - C"]
    assert pair["value"] == apart[0]["labels"]["low"]["auroc"]["A"] - 0.5


def degrees(table):
    """Subjects of the smaller class less one, the least of any label."""
    rows = table[table["target"].notna()]
    counts = rows.groupby(["label", "target"])["subject"].nunique()
    return counts.min() - 1
