"""metrics.comparison: two systems on the same recordings."""

import json
from itertools import product

import numpy as np
import pandas as pd
import pytest
from scipy.special import expit
from scipy.stats import rankdata, t
from sklearn.metrics import roc_auc_score

from local.metrics.comparison import compare
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


def test_values_and_shape():
    first, second = systems()
    result = compare(first, second, seed=1, n_draws=200)
    for label in ("low", "fast"):
        rows = [of[of["label"] == label] for of in (first, second)]
        expected = [roc_auc_score(of["target"], of["logit"]) for of in rows]
        of = result["labels"][label]
        assert list(of["auroc"].values()) == pytest.approx(expected)
        assert of["difference"]["value"] == pytest.approx(expected[0] - expected[1])
        assert of["difference"]["low"] < of["difference"]["value"]
        assert of["difference"]["value"] < of["difference"]["high"] < 0
        assert of["p"] < 0.05 and of["n"] == 90 and of["n_subjects"] == 30
    mean = np.mean([of["difference"]["value"] for of in result["labels"].values()])
    assert result["macro"]["difference"]["value"] == pytest.approx(mean)
    json.dumps(result, allow_nan=False)
    again = compare(first, second.sample(frac=1, random_state=0), seed=1, n_draws=200)
    assert again == result


def test_exchanged_systems_give_the_opposite():
    first, second = systems()
    one = compare(first, second, seed=1, n_draws=200)["macro"]
    other = compare(second, first, seed=1, n_draws=200)["macro"]
    assert one["difference"]["low"] == pytest.approx(-other["difference"]["high"])
    assert one["p"] == other["p"]


def test_p_against_all_exchanges_of_subjects():
    """Six subjects: all 64 exchanges, counted one by one."""
    generator = np.random.default_rng(3)
    subjects = np.repeat(list("abcdef"), 2)
    targets = np.array([0, 0, 0, 1, 0, 0, 1, 1, 1, 0, 1, 1])
    logits = generator.normal(size=(2, 12)) + [[0.5], [1.0]] * targets
    ranks = np.stack([rankdata(of) for of in logits])

    def difference(exchange):
        other = np.repeat(exchange, 2).astype(bool)
        a, b = (np.where(other, ranks[1 - k], ranks[k]) for k in (0, 1))
        return roc_auc_score(targets, a) - roc_auc_score(targets, b)

    every = np.array([difference(x) for x in product((0, 1), repeat=6)])
    expected = np.mean(np.abs(every) >= abs(every[0]) - 1e-9)
    assert 0.1 < expected < 0.9
    tables = [table({"x": targets}, {"x": of}, subjects) for of in logits]
    found = compare(*tables, seed=0)["labels"]["x"]["p"]
    assert found == pytest.approx(expected, abs=0.03)


def test_scales_do_not_matter():
    first, second = systems()
    stretched = second.assign(
        logit=second["logit"] * 30 + 500, probability=second["probability"] ** 5
    )
    one = compare(first, second, seed=1, n_draws=200)
    assert compare(first, stretched, seed=1, n_draws=200) == one


def test_the_interval_is_by_subject():
    """Each recording twelve times says nothing more than once."""
    first, second = systems(n_subjects=25, labels=("low",))

    def width(a, b):
        of = compare(a, b, seed=1, n_draws=500)["labels"]["low"]["difference"]
        return of["high"] - of["low"]

    copies = [
        pd.concat([of.assign(uid=of["uid"] + f"-{i}") for i in range(12)])
        for of in (first, second)
    ]
    assert width(*copies) == pytest.approx(width(first, second), rel=0.01)


def test_few_subjects_of_a_class_widen_the_interval():
    """The same bootstrap by Student's t: of 6 subjects with positives 5 df, not 53."""
    generator = np.random.default_rng(0)
    subjects = [f"s{i:02}" for i in range(60)]
    targets = np.arange(60) % 10 == 0
    tables = [
        table({"x": targets}, {"x": generator.normal(size=60) + targets}, subjects)
        for _ in range(2)
    ]
    of = compare(*tables, seed=1)["labels"]["x"]["difference"]
    half = (of["high"] - of["low"]) / 2
    # an independent bootstrap of its own
    logits = [each["logit"].to_numpy() for each in tables]
    draws = []
    for _ in range(1000):
        drawn = generator.integers(0, 60, 60)
        if len(set(targets[drawn])) == 2:
            positive, negative = drawn[targets[drawn]], drawn[~targets[drawn]]
            aurocs = [np.mean(of[positive][:, None] > of[negative]) for of in logits]
            draws.append(aurocs[0] - aurocs[1])
    assert half == pytest.approx(t.ppf(0.975, 5) * np.std(draws), rel=0.08)


def test_the_mean_has_the_degrees_of_freedom_of_the_rarest_label():
    generator = np.random.default_rng(0)
    subjects = [f"s{i:02}" for i in range(60)]
    targets = {"x": np.arange(60) % 10 == 0, "same": np.arange(60) % 2}
    same = generator.normal(size=60)
    tables = [
        table(targets, {"x": generator.normal(size=60), "same": same}, subjects)
        for _ in range(2)
    ]
    result = compare(*tables, seed=1, n_draws=300)
    # The second label's difference is 0 in every draw: the mean is half of the first.
    rare, mean = result["labels"]["x"]["difference"], result["macro"]["difference"]
    for bound in ("value", "low", "high"):
        assert mean[bound] == pytest.approx(rare[bound] / 2)


@pytest.mark.unmeasured
def test_equally_good_systems_are_rarely_told_apart():
    results = [
        compare(*systems(20, 0.5, seed, ("low",)), seed=seed, n_draws=199)
        for seed in range(40)
    ]
    p = np.array([of["labels"]["low"]["p"] for of in results])
    assert 0.35 < p.mean() < 0.65 and (p < 0.05).sum() <= 6
    bounds = [of["labels"]["low"]["difference"] for of in results]
    held = sum(of["low"] <= 0 <= of["high"] for of in bounds)
    assert held >= 34


def test_holm_over_labels():
    labels = ("a", "b", "c")
    result = compare(*systems(15, 1.0, 4, labels), seed=1, n_draws=300)
    p = {label: of["p"] for label, of in result["labels"].items()}
    assert len(set(p.values())) == 3
    largest = 0
    for rank, label in enumerate(sorted(p, key=p.get)):
        largest = max(largest, min(1, p[label] * (3 - rank)))
        assert result["labels"][label]["p_holm"] == pytest.approx(largest)


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
        compare(first, second, seed=0, names=("old", "new"))
    assert error.value.problems == [
        "uid 'u9' is only in new",
        "label 'y' of uid 'u0' is only in old",
        "label 'x' of uid 'u1' is 1 in old and 0 in new",
        "label 'y' of uid 'u2' is not rated in old and 1 in new",
        "label 'x' of uid 'u3' is of subject 'b' in old and of 'c' in new",
    ]


def test_labels_that_one_system_has_are_left_out_and_named():
    first, second = systems(labels=("low", "fast", "old"))
    expected = compare(
        *(of[of["label"] != "old"] for of in (first, second)), seed=1, n_draws=50
    )
    second = second.replace({"label": {"old": "new"}})
    found = compare(first, second, seed=1, names=("A", "B"), n_draws=50)
    assert found["left_out"] == {"old": "only in A", "new": "only in B"}
    for key in ("labels", "macro", "n_recordings"):
        assert found[key] == expected[key]
    assert "new: left out, only in B" in format_comparison(found)


def test_the_same_system_twice():
    first, _ = systems()
    of = compare(first, first, seed=0, n_draws=100)["labels"]["low"]
    assert of["difference"]["value"] == 0 and of["p"] == 1
    assert of["difference"]["low"] is None
    assert "the same in all draws" in of["difference"]["reason"]


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
    result = compare(*tables, seed=0, n_draws=300, names=("old", "new"))
    assert list(result["labels"]) == ["rare", "fine"]
    rare = result["labels"]["rare"]
    assert rare["difference"]["low"] is None and rare["n_draws_left_out"] > 0
    assert rare["difference"]["reason"] == "fewer than 5 subjects have positives: 3"
    assert result["macro"]["difference"]["reason"].startswith("rare: fewer than 5")
    assert result["left_out"] == {
        "none": "only one class: all 12 rated recordings are negative",
        "score": "a score: AUROC needs targets that are 0 or 1",
    }
    json.dumps(result, allow_nan=False)
    text = format_comparison(result)
    assert "these two trained systems" in text and "not compare two methods" in text
    assert "| label " in text and "| macro (2 labels)" in text
    assert "score: left out, a score" in text
    assert "rare: fewer than 5 subjects have positives: 3" in text
    empty = [of[of["label"] == "none"] for of in tables]
    assert "no label has both classes" in format_comparison(compare(*empty, seed=0))
