"""Intervals against loops, formulas and simulated studies."""

import json

import numpy as np
import pytest
from scipy.special import expit, logit
from scipy.stats import norm, t
from simulations.coverage import TRUE_AUROC, Cell, coverage, cross_validated, simulated
from simulations.coverage import study as study_of_all
from sklearn.metrics import average_precision_score
from statsmodels.discrete.discrete_model import Logit
from statsmodels.stats.proportion import proportion_confint

from local.metrics import resampling
from local.metrics.estimate import exact_interval
from local.metrics.intervals import (
    CASE_CONTROL,
    auroc_interval,
    linearised,
    linearised_auroc,
    measure_intervals,
)
from local.metrics.linearised import mean_over_labels
from local.metrics.measures import (
    ORDINAL_MEASURES,
    PROBABILITY_MEASURES,
    brier,
    mae,
    subject_weights,
    threshold_measures,
)

ALL_BINARY = PROBABILITY_MEASURES | threshold_measures(0.5)


def study(n_subjects=20, seed=1, varying=True, share=0.4):
    """Targets, probabilities and subjects, six recordings each."""
    cell = Cell(n_subjects, share, varying)
    (targets,), (scores,), subjects = simulated(np.random.default_rng(seed), cell)
    return targets, norm.cdf(scores - 1).round(2), subjects


def share_below(score, others):
    return np.mean([(other < score) + (other == score) / 2 for other in others])


def bounds(interval):
    return interval["low"], interval["high"]


def obuchowski_variance(targets, scores, subjects):
    """Written down from the paper's formulas, one subject at a time."""
    positives, negatives = scores[targets == 1], scores[targets == 0]
    area = np.mean([share_below(x, negatives) for x in positives])
    s10 = s01 = s11 = 0
    with_positive = with_negative = 0
    names = sorted(set(subjects))
    for name in names:
        x = scores[(subjects == name) & (targets == 1)]
        y = scores[(subjects == name) & (targets == 0)]
        of_x = sum(share_below(score, negatives) - area for score in x)
        of_y = sum(1 - share_below(score, positives) - area for score in y)
        with_positive += len(x) > 0
        with_negative += len(y) > 0
        s10, s01, s11 = s10 + of_x**2, s01 + of_y**2, s11 + of_x * of_y
    s10 *= with_positive / ((with_positive - 1) * len(positives))
    s01 *= with_negative / ((with_negative - 1) * len(negatives))
    s11 *= len(names) / (len(names) - 1)
    variance = s10 / len(positives) + s01 / len(negatives)
    variance += 2 * s11 / (len(positives) * len(negatives))
    return area, variance, min(with_positive, with_negative) - 1


@pytest.mark.parametrize("varying", [True, False])
def test_auroc_as_the_paper_has_it(varying):
    data = study(varying=varying)
    area, variance, freedom = obuchowski_variance(*data)
    error = np.sqrt(variance) / (area * (1 - area)) * t.ppf(0.975, freedom)
    odds = area / (1 - area) * np.exp([-error, error])
    interval = auroc_interval(*data)
    assert interval["value"] == pytest.approx(area)
    assert bounds(interval) == pytest.approx(tuple(odds / (1 + odds)))
    assert interval == auroc_interval(*data, weights=np.full(len(data[0]), 1))
    # logits instead of probabilities change nothing
    assert auroc_interval(data[0], 5 * data[1] - 7, data[2]) == pytest.approx(interval)


def test_auroc_with_weights_is_that_of_repeated_recordings():
    targets, scores, subjects = study()
    weights = np.random.default_rng(2).integers(1, 4, len(targets))
    repeated = np.repeat(np.arange(len(targets)), weights)
    assert auroc_interval(targets, scores, subjects, weights) == pytest.approx(
        auroc_interval(targets[repeated], scores[repeated], subjects[repeated])
    )


def test_auroc_of_subjects_that_weigh_the_same():
    targets, scores, subjects = study(varying=False)
    # six copies more of one subject's recordings must not count
    more = np.concatenate([np.arange(len(targets)), np.tile(np.arange(6), 6)])
    assert auroc_interval(
        targets[more], scores[more], subjects[more], subject_weights(subjects[more])
    ) == pytest.approx(auroc_interval(targets, scores, subjects))


def test_perfect_auroc_is_exact_of_the_smaller_class():
    targets = np.repeat([1] * 6 + [0] * 14, 2)
    subjects = np.repeat(np.arange(20), 2)
    interval = auroc_interval(targets, targets, subjects)
    # six of six: 0.025 ** (1 / 6)
    expected = pytest.approx((0.025 ** (1 / 6), 1))
    assert interval["value"] == 1
    assert bounds(interval) == expected
    worst = auroc_interval(targets, 1 - targets, subjects)
    assert worst["value"] == 0
    assert (1 - worst["high"], 1 - worst["low"]) == expected
    useless = auroc_interval(targets, np.full(40, 0.3), subjects)
    assert useless["value"] == 0.5
    assert bounds(useless) == pytest.approx(proportion_confint(3, 6, method="beta"))


@pytest.mark.parametrize("target", [0, 1])
def test_too_few_subjects(target):
    # four subjects have the target, 16 recordings; the other eight have none
    targets = np.full(48, 1 - target)
    targets[:16] = target
    subjects = np.repeat(np.arange(12), 4)
    scores = np.random.default_rng(1).random(48)
    name = "positive" if target else "negative"
    found = measure_intervals(ALL_BINARY, targets, scores, subjects)
    for interval in (auroc_interval(targets, scores, subjects), *found.values()):
        assert interval["value"] is not None
        assert bounds(interval) == (None, None)
        assert f"fewer than 5 subjects have {name}s: 4" in interval["reason"]
    targets[16] = target  # a fifth, who has both
    assert auroc_interval(targets, scores, subjects)["low"] is not None
    found = measure_intervals(ALL_BINARY, targets, scores, subjects)
    assert found["brier"]["low"] is not None


def test_what_can_not_be_computed():
    one_class = auroc_interval([1, 1, np.nan], [1, 2, 3], list("abc"))
    nothing = auroc_interval([np.nan], [0.5], ["a"])
    assert (one_class["value"], nothing["value"]) == (None, None)
    assert "one class" in one_class["reason"]
    assert nothing["reason"] == "no recording is rated"
    found = measure_intervals(ALL_BINARY, [np.nan], [0.5], ["a"])
    for interval in (nothing, *found.values()):
        assert interval["value"] is None
        assert interval["reason"] == "no recording is rated"
    found = measure_intervals(ALL_BINARY, [0] * 9, [0.2] * 9, range(9))
    assert found["brier"]["value"] == pytest.approx(0.04)
    assert "have positives: 0" in found["brier"]["reason"]
    assert found["ppv"]["reason"] == "no recording is predicted positive"
    assert found["specificity"]["value"] == 1


def test_unrated_recordings_change_nothing():
    targets, scores, subjects = study()
    unrated = np.concatenate([targets, [np.nan]]), np.append(scores, 0.2)
    more = np.append(subjects.astype(str), "nobody")
    assert auroc_interval(*unrated, more) == auroc_interval(targets, scores, subjects)
    found = measure_intervals({"brier": brier}, *unrated, more)
    same = measure_intervals({"brier": brier}, targets, scores, subjects)
    assert found == same


def test_results_are_plain_numbers():
    data = study()
    found = measure_intervals(ALL_BINARY, *data)
    found["interval"] = auroc_interval(*data)
    assert json.loads(json.dumps(found, allow_nan=False)) == found


def test_influence_is_the_derivative():
    """Of a share: by hand; of all others: the change by one copy less in many."""
    targets, scores, subjects = study(40)
    estimates = linearised(ALL_BINARY, targets, scores, subjects)
    positive, hit = targets == 1, scores >= 0.5
    share = hit[positive].mean()
    errors = [
        (hit - share)[positive & (subjects == i)].sum() / positive.sum()
        for i in range(40)
    ]
    n = len(set(subjects[positive]))
    errors = np.array(errors) * np.sqrt(n / (n - 1))
    influence = estimates["sensitivity"].influence
    by_subject = influence.to_numpy()[np.argsort(influence.index.astype(int))]
    assert by_subject == pytest.approx(errors, abs=1e-8)
    assert estimates["sensitivity"].freedom == n - 1
    copies = np.full((1, len(targets)), 1000.0)
    less = np.where(subjects == 7, 999.0, 1000.0)[None]
    for name, function in ALL_BINARY.items():
        if name == "auroc":
            continue
        given = targets, scores
        change = 1000 * (function(*given, copies) - function(*given, less))[0]
        estimate = estimates[name]
        n = estimate.freedom + 1
        expected = change * np.sqrt(n / (n - 1))
        assert estimate.influence["7"] == pytest.approx(expected, rel=0.01, abs=1e-6)


def test_share_as_a_logistic_regression_has_it():
    """Intercept only, clustered by subject: the same standard error on the logit."""
    targets, scores, subjects = study(40, varying=False)
    hit = (scores >= 0.5)[targets == 1]
    model = Logit(hit.astype(float), np.ones(len(hit)))
    groups = np.unique(subjects[targets == 1], return_inverse=True)[1]
    fit = model.fit(
        disp=0,
        cov_type="cluster",
        cov_kwds={"groups": groups, "use_correction": False},
    )
    n = len(set(groups))
    half = t.ppf(0.975, n - 1) * fit.bse[0] * np.sqrt(n / (n - 1))
    expected = expit(fit.params[0] + half * np.array([-1, 1]))
    functions = {"sensitivity": ALL_BINARY["sensitivity"]}
    found = measure_intervals(functions, targets, scores, subjects)["sensitivity"]
    assert bounds(found) == pytest.approx(tuple(expected), rel=1e-5)


def test_interval_of_a_mean_is_student_s():
    # the mean absolute error is a mean of independent subjects, here on the log scale
    errors = np.abs(np.random.default_rng(1).normal(size=400))
    functions = {"mae": mae}
    found = measure_intervals(
        functions, np.zeros(400), errors, range(400), two_classes=False
    )["mae"]
    half = t.ppf(0.975, 399) * errors.std(ddof=1) / 20 / errors.mean()
    expected = errors.mean() * np.exp([-half, half])
    assert bounds(found) == pytest.approx(tuple(expected))


def test_subjects_count_whole():
    errors = np.random.default_rng(1).random(30)
    given = {"two_classes": False}
    functions = {"mae": mae}
    once = measure_intervals(functions, np.zeros(30), errors, np.arange(30), **given)
    # five copies of each recording say nothing new
    subjects = np.repeat(np.arange(30), 5)
    five = measure_intervals(
        functions, np.zeros(150), np.repeat(errors, 5), subjects, **given
    )
    assert five["mae"] == pytest.approx(once["mae"])
    # nor do unequal numbers of them where each subject weighs the same
    n = np.arange(30) % 4 + 1
    subjects = np.repeat(np.arange(30), n)
    weighted = measure_intervals(
        functions,
        np.zeros(len(subjects)),
        np.repeat(errors, n),
        subjects,
        weights=subject_weights(subjects),
        **given,
    )
    assert weighted["mae"] == pytest.approx(once["mae"])


def share_of_positives(targets, scores, weights):
    return weights @ targets / weights.sum(axis=1)


def test_what_the_design_fixes_does_not_vary():
    functions = {"net_benefit": share_of_positives}
    targets = np.array([1] * 6 + [0] * 9)
    rows = functions, targets, targets, np.arange(15)
    assert bounds(measure_intervals(*rows)["net_benefit"]) != (None, None)
    fixed = measure_intervals(*rows, study_design=CASE_CONTROL)["net_benefit"]
    assert fixed["reason"] == "it does not vary between subjects"
    # Ten have both classes and one no positive, too few for a stratum: how often such
    # a one is met varies, and so does the share.
    targets = np.array([[1, 0]] * 10 + [[0, 0]]).ravel()
    rows = functions, targets, targets, np.repeat(np.arange(11), 2)
    found = measure_intervals(*rows, study_design=CASE_CONTROL)["net_benefit"]
    assert found["low"] < 10 / 22 < found["high"]


def test_shares_that_do_not_vary_are_exact_of_those_who_contribute():
    # 8 subjects with a positive, all found; 12 without; 3 of these with a false alarm
    targets = np.repeat([1] * 8 + [0] * 12, 2)
    scores = np.where(targets == 1, 0.9, 0.1)
    scores[[16, 18, 20]] = 0.8
    subjects = np.repeat(np.arange(20), 2)
    found = measure_intervals(ALL_BINARY, targets, scores, subjects)
    assert bounds(found["sensitivity"]) == pytest.approx(exact_interval(1, 8))
    # all of them are predicted negative at least once
    assert bounds(found["npv"]) == pytest.approx(exact_interval(1, 12))
    assert bounds(found["auroc"]) == pytest.approx(exact_interval(1, 8))
    assert found["specificity"]["value"] == pytest.approx(21 / 24)
    assert 0 < found["specificity"]["low"] < 21 / 24 < found["specificity"]["high"] < 1
    same = measure_intervals(ALL_BINARY, targets, targets, subjects)
    assert bounds(same["f1"]) == pytest.approx(exact_interval(1, 8))
    assert bounds(same["balanced_accuracy"]) == pytest.approx(exact_interval(1, 8))
    assert (same["brier"]["value"], *bounds(same["brier"])) == (0, None, None)
    assert same["brier"]["reason"] == "it does not vary between subjects"


def test_a_share_of_one_subject():
    """One of ten subjects without a positive has the only predictions above 0.5."""
    targets, scores = np.repeat([1, 0], 20), np.full(40, 0.2)
    scores[30:32] = 0.9
    subjects = np.repeat(np.arange(20), 2)
    ppv = {"ppv": ALL_BINARY["ppv"]}
    found = measure_intervals(ppv, targets, scores, subjects)["ppv"]
    assert (found["value"], *bounds(found)) == pytest.approx((0, 0, 0.975))


def test_blocks_and_threads(monkeypatch):
    data = study()
    first = measure_intervals(ALL_BINARY, *data)
    monkeypatch.setattr(resampling, "BLOCK_SIZE", 777)
    monkeypatch.setattr(resampling, "N_THREADS", 1)
    again = measure_intervals(ALL_BINARY, *data)
    for name, interval in first.items():
        assert again[name] == pytest.approx(interval)


# Means over labels


def test_mean_of_a_label_twice_is_no_surer():
    estimates = linearised(ALL_BINARY, *study(varying=False))
    for name, estimate in estimates.items():
        mean = mean_over_labels({"x": estimate, "y": estimate})
        assert mean.interval() == pytest.approx(estimate.interval()), name
        assert mean_over_labels({"x": estimate}) is estimate


def test_errors_that_cancel_leave_no_variance():
    # What one label has more of an error the other has less, in each subject. The
    # other one is rated in another order and has an unrated subject more.
    errors = np.random.default_rng(1).random(12)
    targets = np.resize([0.0, 1.0], 12)
    order = np.random.default_rng(2).permutation(12)
    first = targets, targets + errors, range(12)
    second = (
        np.append(targets[order], np.nan),
        np.append((targets + 2 - errors)[order], 1),
        [*order, 99],
    )
    x, y = (
        linearised({"mae": mae}, *rows, two_classes=False)["mae"]
        for rows in (first, second)
    )
    mean = mean_over_labels({"x": x, "y": y}).interval()
    assert mean["value"] == pytest.approx(1)
    assert mean["reason"] == "it does not vary between subjects"


def test_mean_of_what_can_not_be_computed():
    scores = np.full(10, 0.2)
    label = linearised(ALL_BINARY, [0, 1] * 5, scores, range(10))
    few = linearised(ALL_BINARY, [0, 1] * 5, scores, [0, 1, 2, 3, 0, 1, 2, 3, 0, 1])

    def mean(name, **labels):
        return mean_over_labels({key: of[name] for key, of in labels.items()})

    assert mean("ppv", x=label, y=label).interval() == {
        "value": None,
        "low": None,
        "high": None,
        "reason": "x, y: no recording is predicted positive",
    }
    exact = mean("specificity", x=label, y=label).interval()
    assert bounds(exact) == pytest.approx(exact_interval(1, 5))
    without = mean("specificity", x=label, y=few).interval()
    assert (without["value"], *bounds(without)) == (1, None, None)
    assert without["reason"].startswith("y: fewer than 5 subjects have positives: 2")


# Folds


def folded(n_folds=5, n_subjects=8, per_subject=3, signal=1.0, seed=0, icc=0.5):
    """Targets, scores, subjects and folds; a subject's label is constant."""
    generator = np.random.default_rng(seed)
    n = n_folds * n_subjects
    subjects = np.repeat(np.arange(n), per_subject)
    targets = np.repeat(np.arange(n) % 2, per_subject)
    scores = np.sqrt(icc) * generator.normal(size=n)[subjects] + signal * targets
    scores += np.sqrt(1 - icc) * generator.normal(size=len(subjects))
    return targets, scores, subjects, subjects // n_subjects


def within(columns):
    targets, scores, subjects, folds = columns
    return linearised_auroc(targets, scores, subjects, folds=folds)


def test_influence_on_auroc_by_hand():
    """Two folds, each positives 3 1, negatives 2 0, of five subjects a class each."""
    scores = np.tile([3.0, 1, 2, 0], 10)
    targets, folds = np.tile([1, 1, 0, 0], 10), np.repeat([0, 1], 20)
    estimate = linearised_auroc(targets, scores, np.arange(40), folds=folds)
    # 3 is above all, 1 above half of them: AUROC 3/4
    assert estimate.value == 3 / 4
    # by (1 - 3/4) / 10 positives / 2 folds; each class has 20 subjects less 2
    expected = np.array([1, -1, -1, 1]) / 4 / 10 / 2 * np.sqrt(20 / 18)
    influence = estimate.influence[[str(i) for i in range(4)]].to_numpy()
    assert influence == pytest.approx(expected)
    assert estimate.freedom == 18
    assert estimate.variance == pytest.approx((estimate.influence**2).sum())


def plain_cvauc(targets, scores, subjects, folds):
    """ci.cvAUC / ci.pooled.cvAUC of the paper: loops over recordings, no ties.

    Equal folds, so that the share of positives is the same in each as in all.
    """
    aucs, by_subject, n, share = [], {}, len(targets), targets.mean()
    for fold in np.unique(folds):
        inside = folds == fold
        positive = scores[inside & (targets == 1)]
        negative = scores[inside & (targets == 0)]
        auc = np.mean([p > q for p in positive for q in negative])
        aucs.append(auc)
        for i in np.flatnonzero(inside):
            if targets[i] == 1:
                value = (np.mean(negative < scores[i]) - auc) / share
            else:
                value = (np.mean(positive > scores[i]) - auc) / (1 - share)
            by_subject[subjects[i]] = by_subject.get(subjects[i], 0) + value
    return np.mean(aucs), sum(v**2 for v in by_subject.values()) / n**2


@pytest.mark.parametrize("per_subject", [1, 4])
def test_folds_equal_a_plain_implementation(per_subject):
    columns = folded(per_subject=per_subject, seed=3)
    value, variance = plain_cvauc(*columns)
    # 20 subjects of each class, 5 folds: the variance by 20 / 15
    error = np.sqrt(variance * 20 / 15) / (value * (1 - value))
    half = t.ppf(0.975, 15) * error
    found = within(columns).interval()
    assert found["value"] == pytest.approx(value)
    expected = expit(logit(value) + half * np.array([-1, 1]))
    assert bounds(found) == pytest.approx(tuple(expected))


def test_offsets_of_folds_change_nothing():
    targets, scores, subjects, folds = folded()
    probabilities = expit(scores)
    offset = np.array([0.1, 0.4, 0.0, 0.7, 0.2])[folds]
    functions = {name: ALL_BINARY[name] for name in ("auroc", "auprc")}
    first, moved = (
        measure_intervals(functions, targets, each, subjects, folds=folds)
        for each in (probabilities, probabilities / 4 + offset)
    )
    for name in functions:
        assert moved[name] == pytest.approx(first[name], rel=1e-6)
    precisions = [
        average_precision_score(targets[folds == k], scores[folds == k])
        for k in range(5)
    ]
    assert first["auprc"]["value"] == pytest.approx(np.mean(precisions))
    # one curve over all of them would have changed
    pooled = [auroc_interval(targets, s, subjects)["value"] for s in (scores, offset)]
    assert abs(pooled[0] - pooled[1]) > 0.05


def test_folds_are_not_counted_by_what_ranks_nothing():
    targets, scores, subjects, folds = folded()
    functions = {name: ALL_BINARY[name] for name in ("brier", "ppv", "log_loss")}
    rows = functions, targets, expit(scores), subjects
    assert measure_intervals(*rows, folds=folds) == measure_intervals(*rows)


def test_folds_with_one_class_are_left_out():
    targets, scores, subjects, folds = folded()
    targets = targets.astype(float)
    targets[folds == 1], targets[folds == 3] = 0, np.nan
    kept = np.isin(folds, [0, 2, 4])
    all_of_it, rest = (
        measure_intervals(
            {name: ALL_BINARY[name] for name in ("auroc", "auprc")},
            targets[rows],
            scores[rows],
            subjects[rows],
            folds=folds[rows],
        )
        for rows in (np.full(len(folds), True), kept)
    )
    assert all_of_it["auroc"] == pytest.approx(rest["auroc"])
    assert all_of_it["auprc"]["value"] == pytest.approx(rest["auprc"]["value"])
    nothing = within((0 * targets, scores, subjects, folds))
    assert (nothing.value, nothing.reason) == (None, "no fold has both classes")


def test_few_subjects_of_folds_have_no_interval():
    reason = within(folded(2, 4)).reason
    assert reason.startswith("fewer than 5 subjects have positives: 4;")
    reason = within(folded(6, 2)).reason
    assert reason == "in 6 folds only 6 subjects have positives"


def test_no_signal_in_folds_gives_one_half_and_the_interval_holds():
    results = [within(folded(5, 16, 2, 0, seed)).interval() for seed in range(100)]
    values = [found["value"] for found in results]
    assert np.mean(values) == pytest.approx(0.5, abs=0.02)
    held = np.mean([found["low"] <= 0.5 <= found["high"] for found in results])
    assert 0.90 <= held <= 0.99


def test_ratings_have_all_measures():
    generator = np.random.default_rng(1)
    ratings = generator.integers(0, 5, 60)
    found = measure_intervals(
        ORDINAL_MEASURES,
        ratings,
        ratings + generator.normal(size=60),
        np.arange(60) // 3,
        two_classes=False,
    )
    assert list(found) == list(ORDINAL_MEASURES)
    for interval in found.values():
        assert interval["low"] < interval["value"] < interval["high"]


@pytest.mark.parametrize(
    ("cell", "made", "n"),
    [
        (Cell(20, 0.5, varying=False), study_of_all, 80),
        (Cell(100, 0.1, varying=False), study_of_all, 80),
        (Cell(40, 0.2, varying=True, unequal=True), study_of_all, 80),
        (Cell(60, 0.5, varying=False), cross_validated, 20),
    ],
)
def test_coverage(cell, made, n):
    """95 % hold, so that less than 85 % of 80 do once in two thousand such numbers."""
    found = coverage(cell, n, made)
    assert found.pop("n") >= 0.9 * n
    assert len(found) >= 7
    for name, share in found.items():
        assert share >= 0.85 if n > 20 else 0.7, name


def test_recordings_are_no_subjects():
    def of_recordings(generator, cell):
        (targets,), (scores,), subjects = simulated(generator, cell)
        found = auroc_interval(targets, scores, np.arange(len(subjects)))
        return {"auroc": (found, TRUE_AUROC)}

    # the simulation would notice an interval that takes them for subjects
    assert coverage(Cell(40, 0.5, varying=False), 100, of_recordings)["auroc"] < 0.8
