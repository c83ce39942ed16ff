"""Weighted measures against scikit-learn and scipy on repeated rows, and by hand."""

import itertools
import warnings
from functools import partial

import numpy as np
import pytest
from scipy.stats import pearsonr, spearmanr
from sklearn import metrics as sklearn_metrics

from local.metrics import measures

THRESHOLD = 0.4
N = 40


def predicted(probabilities):
    return (probabilities >= THRESHOLD).astype(int)


def net_benefit(targets, probabilities):
    called = predicted(probabilities) == 1
    true, false = (called & (targets == 1)).mean(), (called & (targets == 0)).mean()
    return true - false * THRESHOLD / (1 - THRESHOLD)


def skill(loss):
    def function(targets, probabilities):
        prevalence = np.full(len(targets), targets.mean())
        return 1 - loss(targets, probabilities) / loss(targets, prevalence)

    return function


def of_decisions(function, **arguments):
    return lambda y, p: function(y, predicted(p), zero_division=np.nan, **arguments)


BINARY = {
    "auroc": sklearn_metrics.roc_auc_score,
    "auprc": sklearn_metrics.average_precision_score,
    "log_loss": sklearn_metrics.log_loss,
    "log_loss_skill": skill(sklearn_metrics.log_loss),
    "brier": sklearn_metrics.brier_score_loss,
    "brier_skill": skill(sklearn_metrics.brier_score_loss),
    "sensitivity": of_decisions(sklearn_metrics.recall_score),
    "specificity": of_decisions(sklearn_metrics.recall_score, pos_label=0),
    "ppv": of_decisions(sklearn_metrics.precision_score),
    "npv": of_decisions(sklearn_metrics.precision_score, pos_label=0),
    "balanced_accuracy": lambda y, p: sklearn_metrics.balanced_accuracy_score(
        y, predicted(p)
    ),
    "f1": of_decisions(sklearn_metrics.f1_score),
}

#: At a threshold as those of decisions, but of a curve of thresholds.
CURVE = {
    "net_benefit": net_benefit,
    "net_benefit_over_all": lambda y, p: net_benefit(y, p) - net_benefit(y, p * 0 + 1),
}


def icc_of_mean_squares(ratings):
    """ICC(A,1) of ratings [n, k] by McGraw and Wong's mean squares."""
    n, k = ratings.shape
    rows, columns, mean = ratings.mean(1), ratings.mean(0), ratings.mean()
    rest = ratings - rows[:, None] - columns + mean
    of_rows = k * ((rows - mean) ** 2).sum() / (n - 1)
    of_columns = n * ((columns - mean) ** 2).sum() / (k - 1)
    error = (rest**2).sum() / ((n - 1) * (k - 1))
    total = of_rows + (k - 1) * error + k / n * (of_columns - error)
    return (of_rows - error) / total


ORDINAL = {
    "mae": sklearn_metrics.mean_absolute_error,
    "pearson": lambda x, y: pearsonr(x, y).statistic,
    "spearman": lambda x, y: spearmanr(x, y).statistic,
    "icc": lambda x, y: icc_of_mean_squares(np.stack([x, y], axis=1)),
    "quadratic_kappa": lambda x, y: sklearn_metrics.cohen_kappa_score(
        x, np.rint(y).astype(int), labels=range(-3, 9), weights="quadratic"
    ),
}


def binary_functions():
    return measures.PROBABILITY_MEASURES | measures.threshold_measures(THRESHOLD)


def curve_functions():
    return {
        name: partial(getattr(measures, name), threshold=THRESHOLD) for name in CURVE
    }


def whole_weights(generator, n_rows=25):
    """Of 0 to 3, and a row of each sort that a bootstrap may draw."""
    weights = generator.integers(0, 4, (n_rows, N)).astype(float)
    weights[0] = 1
    weights[1] = np.arange(N) < 6  # few recordings
    return weights


def assert_equal_on_repeated_rows(function, reference, targets, scores, weights):
    found = function(targets, scores, weights)
    rows = [np.repeat(np.arange(N), row.astype(int)) for row in weights]
    expected = [reference(targets[row], scores[row]) for row in rows]
    assert np.isfinite(expected).all()
    np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("decimals", [1, 15])
@pytest.mark.parametrize("name", [*BINARY, *CURVE])
def test_probabilities(name, decimals):
    generator = np.random.default_rng(3)
    targets = np.resize([1, 0, 0, 1, 0], N)
    # one decimal: ties, 0 and 1, and probabilities at the threshold
    scores = generator.random(N).round(decimals)
    scores[:4] = [0.4, 0.4, 1.0, 0.0]
    assert_equal_on_repeated_rows(
        (binary_functions() | curve_functions())[name],
        (BINARY | CURVE)[name],
        targets,
        scores,
        whole_weights(generator),
    )


@pytest.mark.parametrize("decimals", [0, 15])
@pytest.mark.parametrize("name", ORDINAL)
def test_scores(name, decimals):
    generator = np.random.default_rng(4)
    ratings = generator.integers(0, 5, N).astype(float)
    ratings[:4] = [0, 1, 4, 2]
    predictions = (0.7 * ratings + generator.normal(1, 1, N)).round(decimals)
    assert_equal_on_repeated_rows(
        measures.ORDINAL_MEASURES[name],
        ORDINAL[name],
        ratings,
        predictions,
        whole_weights(generator),
    )


def test_every_measure_is_compared_and_has_a_reason():
    assert list(binary_functions()) == list(BINARY)
    assert list(measures.ORDINAL_MEASURES) == list(ORDINAL)
    assert set(measures.WHY_UNDEFINED) == set(BINARY) | set(ORDINAL)


@pytest.mark.parametrize("name", [*BINARY, *ORDINAL])
def test_only_proportions_of_weights_matter(name):
    generator = np.random.default_rng(5)
    function = (binary_functions() | measures.ORDINAL_MEASURES)[name]
    targets = generator.integers(0, 2, N) * 1.0
    scores = generator.random(N).round(2)
    weights = generator.random((3, N))
    small, large = (function(targets, scores, weights * k) for k in (1, 1000))
    if name == "icc":  # it counts the recordings: the mean squares have n - 1
        assert np.abs(small - large).max() > 1e-6
    else:
        np.testing.assert_allclose(small, large, rtol=1e-9)


def test_subjects_weigh_the_same():
    subjects = ["a", "b", "a", "a", "b", "c"]
    weights = measures.subject_weights(subjects)
    assert weights == pytest.approx([1 / 3, 1 / 2, 1 / 3, 1 / 3, 1 / 2, 1])
    # errors: a 1, 0, 2, b 3, 5, c 0; means 1, 4, 0
    errors = np.array([1, 3, 0, 2, 5, 0])
    assert measures.mae(np.zeros(6), errors, weights[None]) == pytest.approx(5 / 3)


UNDEFINED = {
    # what is left of the targets 1 1 0 0, probabilities 0.9 0.1 0.8 0.2
    "positives": ([1, 1, 0, 0], {"auroc", "auprc", "log_loss_skill", "brier_skill"}),
    "negatives": ([0, 0, 1, 1], {"auroc", "auprc", "log_loss_skill", "brier_skill"}),
    "nothing": ([0, 0, 0, 0], set(BINARY)),
    "called positive": ([1, 0, 1, 0], {"npv"}),
    "called negative": ([0, 1, 0, 1], {"ppv"}),
    "a true negative": ([0, 0, 0, 1], {"f1", "ppv", "sensitivity"}),
}


@pytest.mark.parametrize("case", UNDEFINED)
def test_undefined(case):
    weights, missing = UNDEFINED[case]
    missing = set(missing)
    if case == "positives":
        missing |= {"specificity", "balanced_accuracy"}
    if case == "negatives":
        missing |= {"sensitivity", "balanced_accuracy"}
    if case == "a true negative":
        missing |= UNDEFINED["negatives"][1] | {"balanced_accuracy"}
    targets, scores = np.array([1, 1, 0, 0]), np.array([0.9, 0.1, 0.8, 0.2])
    for scale in (1, 0.1):  # with a tenth sums are not exact
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            found = {
                name: function(targets, scores, np.array([weights]) * scale)[0]
                for name, function in binary_functions().items()
            }
        assert {name for name, value in found.items() if np.isnan(value)} == missing


def test_undefined_of_scores():
    ratings, predictions = np.array([3.3, 3.3, 1, 2]), np.array([1, 2, 0.1, 0.1])
    weights = np.array([[1.0, 1, 0, 0], [0, 0, 1, 1], [0, 0, 0, 0]])
    for scale in (1, 0.1):
        found = {
            name: function(ratings, predictions, weights * scale)
            for name, function in measures.ORDINAL_MEASURES.items()
        }
        assert np.isnan([found[name][2] for name in found]).all()
        for name in ("pearson", "spearman"):
            assert np.isnan(found[name]).all()
        # all ratings the same: no agreement to speak of; all predictions: none
        assert np.isnan(found["icc"][0])
        assert np.isfinite(found["mae"][:2]).all()
    assert measures.icc(ratings, predictions, weights)[1] == pytest.approx(0, abs=1e-9)
    same = np.ones(4)
    assert np.isnan(measures.quadratic_kappa(same, same, weights)).all()


def test_constant_in_spite_of_rounding():
    # the ratings vary, but not those that weigh anything
    generator = np.random.default_rng(6)
    ratings = np.append(np.full(N // 2, 3.3), generator.random(N // 2))
    weights = generator.random((50, N)) * (np.arange(N) < N // 2)
    predictions = generator.random(N)
    for name in ("pearson", "spearman", "icc"):
        function = measures.ORDINAL_MEASURES[name]
        assert np.isnan(function(ratings, predictions, weights)).all()
        assert np.isfinite(function(ratings, predictions, weights[:, ::-1])).all()


def test_certain_and_wrong_is_finite():
    targets, scores = np.array([1.0, 0.0]), np.array([0.0, 1.0])
    loss = measures.log_loss(targets, scores, np.ones((1, 2)))
    assert loss == pytest.approx(-np.log(np.finfo(float).eps))


def test_no_recordings():
    empty = np.empty(0)
    for function in (binary_functions() | measures.ORDINAL_MEASURES).values():
        assert np.isnan(function(empty, empty, np.ones((2, 0)))).tolist() == [True] * 2


def test_net_benefit_at_the_ends():
    targets, scores, weights = np.array([1, 0]), np.array([0.9, 0.1]), np.ones((1, 2))
    assert measures.net_benefit(targets, scores, weights, threshold=0.0) == 0.5
    assert np.isnan(measures.net_benefit(targets, scores, weights, threshold=1.0))


# Intraclass correlation

#: Shrout and Fleiss (1979), table 2: six targets rated by four judges.
SHROUT_FLEISS = [
    [9, 2, 5, 8],
    [6, 1, 3, 2],
    [8, 4, 6, 8],
    [7, 1, 2, 6],
    [10, 5, 6, 9],
    [6, 2, 4, 7],
]


def icc(first, second):
    both = np.array([first, second], dtype=float)
    return measures.icc_agreement(*both, np.ones((1, both.shape[1])))[0]


def test_icc_where_one_rater_says_always_the_same():
    """Raters agree on nothing then; of ratings it is not defined."""
    same, other = np.ones(5), np.arange(5.0)
    weights = np.ones((1, 5))
    assert icc(same, other) == icc(other, same) == 0
    assert np.isnan(measures.icc(same, other, weights)[0])
    assert measures.icc(other, same, weights)[0] == 0


def test_icc_as_published():
    """ICC(2,1) of Shrout and Fleiss (1979), table 4: 0.29."""
    ratings = np.array(SHROUT_FLEISS, dtype=float)
    assert icc_of_mean_squares(ratings) == pytest.approx(0.29, abs=0.005)
    for first, second in itertools.combinations(ratings.T, 2):
        expected = icc_of_mean_squares(np.stack([first, second], axis=1))
        assert icc(first, second) == pytest.approx(expected)


def test_icc_by_hand():
    """1 2 3 and 2 3 4: between recordings 2, between raters 1.5, no rest:
    2 / (2 + 2 / 3 · 1.5)."""
    assert icc([1, 2, 3], [2, 3, 4]) == pytest.approx(2 / 3)


def test_icc_of_two_raters_by_covariance():
    """Of two raters it is 2 s₁₂ / (s₁² + s₂² + (difference of means)² − s_d² / n),
    s_d² of the differences: another form of the same (sample variances)."""
    rng = np.random.default_rng(3)
    for _ in range(5):
        x = rng.normal(50, 20, size=12)
        y = 0.6 * x + rng.normal(15, 8, size=12)
        (xx, xy), (_, yy) = np.cov(x, y)
        shift = (x.mean() - y.mean()) ** 2 - np.var(x - y, ddof=1) / len(x)
        expected = 2 * xy / (xx + yy + shift)
        assert icc(x, y) == pytest.approx(expected)


def test_icc_is_of_agreement_and_not_of_order():
    x = np.arange(20.0)
    assert icc(x, x) == pytest.approx(1)
    assert icc(x, 19 - x) < -0.9
    near, far = (icc(x, x + by) for by in (1, 10))
    assert 0.95 < near < 1
    assert 0.2 < far < 0.5
