"""model.kernel_heads: heads that are fitted in one go, and what they read."""

import io
from statistics import NormalDist

import numpy as np
import pytest
import torch
from sklearn.gaussian_process.kernels import RBF
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.metrics import roc_auc_score
from sklearn.preprocessing import QuantileTransformer

from local.data.folds import draw_folds
from local.model.kernel_fitting import OF_SIMILARITIES
from local.model.kernel_heads import KernelHeads, RobustStandardisation

NAN = np.nan
N, N_FEATURES = 60, 4


@pytest.fixture(scope="module")
def data():
    """30 people with two recordings each; a line, a ring and a score tell of them."""
    generator = np.random.default_rng(1)
    embeddings = generator.standard_normal((N, N_FEATURES))
    line = embeddings[:, 0] + 0.3 * generator.standard_normal(N) > 0
    ring = (embeddings[:, :2] ** 2).sum(axis=1) > 1.5
    score = 3 * embeddings[:, 1] + 10
    targets = np.stack([line, ring, score], axis=1).astype(float)
    targets[:3, 0] = NAN
    return embeddings, targets, np.repeat(np.arange(N // 2), 2).astype(str)


def heads(kernel=None):
    ranges = [None, None, [0, 20]]
    return KernelHeads([["line", "ring"], ["score"]], ranges, kernel, seed=3)


def outputs(model, embeddings):
    return model(torch.as_tensor(embeddings, dtype=torch.float32)).numpy()


def test_the_linear_head_is_logistic_regression(data):
    embeddings, targets, _subjects = data
    model = heads("linear")
    chosen = model.fit(*data)["line"]
    rated = ~np.isnan(targets[:, 0])
    expected = LogisticRegression(C=chosen["strength"], max_iter=2000)
    expected.fit(embeddings[rated], targets[rated, 0])
    np.testing.assert_allclose(
        outputs(model, embeddings)[:, 0],
        expected.decision_function(embeddings),
        atol=1e-4,
    )
    assert chosen["kernel"] == "linear"
    with pytest.raises(ValueError, match="linear or rbf"):
        heads("cubic")


def test_the_kernel_head_is_kernel_regression(data):
    """With all recordings as landmarks, the feature map is exact."""
    embeddings, targets, _ = data
    model = heads("rbf")
    chosen = model.fit(*data)["score"]
    # exp(-d / (2 l^2)) with l^2 = N_FEATURES / 2: exp(-d / N_FEATURES)
    similarity = RBF((N_FEATURES / 2) ** 0.5)(embeddings)
    values, vectors = np.linalg.eigh(similarity)
    root = vectors * np.sqrt(values.clip(0))
    expected = Ridge(alpha=1 / chosen["strength"]).fit(root, targets[:, 2])
    np.testing.assert_allclose(
        outputs(model, embeddings)[:, 2], expected.predict(root), atol=5e-3
    )
    assert chosen["strength"] / OF_SIMILARITIES in (1e-3, 1e-2, 1e-1, 1.0)


def test_each_label_has_the_kernel_that_folds_over_subjects_find(data):
    model = heads()
    chosen = model.fit(*data)
    kernels = [choice["kernel"] for choice in chosen.values()]
    assert kernels == ["linear", "rbf", "linear"]
    embeddings, targets, _ = data
    found = outputs(model, embeddings)
    assert ((found[:, 1] > 0) == targets[:, 1]).mean() > 0.85
    assert np.abs(found[:, 2] - targets[:, 2]).mean() < 1


@pytest.mark.parametrize("kernel", ["linear", "rbf"])
def test_out_of_fold_outputs_are_of_models_without_the_subject(data, kernel):
    embeddings, targets, subjects = data
    model = heads(kernel)
    chosen = model.fit(*data)
    kept = model.out_of_fold.numpy()
    assert kept.shape == targets.shape
    assert (np.isnan(kept) == np.isnan(targets)).all()
    if kernel == "linear":
        folds = draw_folds(targets[:, 1], subjects, seed=3)
        for fold in range(5):
            left = folds == fold
            expected = LogisticRegression(C=chosen["ring"]["strength"], max_iter=2000)
            expected.fit(embeddings[~left], targets[~left, 1])
            np.testing.assert_allclose(
                kept[left, 1], expected.decision_function(embeddings[left]), atol=1e-4
            )
    # a line that noise blurs is worse known of others than of those it is fitted to
    rated = ~np.isnan(targets[:, 0])
    own = roc_auc_score(targets[rated, 0], outputs(model, embeddings)[rated, 0])
    assert 0.7 < roc_auc_score(targets[rated, 0], kept[rated, 0]) <= own


def test_what_can_not_be_learned_says_why(data):
    embeddings, targets, subjects = data
    targets = targets.copy()
    targets[:, 0], targets[:, 1] = 1, NAN
    targets[0, 1], targets[1, 1] = 0, 1  # of one person
    model = heads()
    chosen = model.fit(embeddings, targets, subjects)
    assert "only one class" in chosen["line"]["reason"]
    assert "too few training subjects" in chosen["ring"]["reason"]
    assert np.isnan(model.out_of_fold[:, :2].numpy()).all()
    found = outputs(model, embeddings)
    # 60.5 to 0.5, and 1.5 to 1.5
    assert found[:, 0] == pytest.approx(np.log(121), rel=1e-5)
    assert found[:, 1] == pytest.approx(0)


def test_positives_may_count_more(data):
    embeddings, _targets, _subjects = data
    plain, weighted = heads("linear"), heads("linear")
    plain.fit(*data)
    weighted.fit(*data, [5.0, 1.0, 1.0])
    more = outputs(weighted, embeddings) - outputs(plain, embeddings)
    assert more[:, 0].mean() > 0.5
    assert np.abs(more[:, 1:]).max() < 1e-6


def test_fitted_modules_are_saved_and_loaded(data):
    embeddings, _, _ = data
    model, norm = heads(), RobustStandardisation()
    model.fit(*data)
    norm.fit(embeddings)
    for fitted, new in ((model, heads()), (norm, RobustStandardisation())):
        file = io.BytesIO()
        torch.save(fitted.state_dict(), file)
        file.seek(0)
        new.load_state_dict(torch.load(file, weights_only=True))
        np.testing.assert_array_equal(
            outputs(new, embeddings), outputs(fitted, embeddings)
        )


def test_standardisation_by_hand():
    """Of 101 numbers each is a quantile; 0 to 4 are every 25th."""
    features = np.full((101, 4), NAN)
    features[:, 0] = np.random.default_rng(0).permutation(np.arange(101.0) ** 3)
    features[:, 1] = 7
    features[:, 2] = [0] * 51 + [1] * 50
    norm = RobustStandardisation()
    norm.fit(features[:, None])
    rows = [[84.0**3, 8, 0, 1], [NAN, 7, 1, NAN], [1e9, -1e9, 1e9, 1e9]]
    rows += [[-1e9, NAN, NAN, NAN], [50.0**3, 7, -1, 0]]
    by_hand = outputs(norm, rows)
    score = NormalDist().inv_cdf
    highest = score(100.5 / 101)
    # what never varied says nothing, what is no number is as usual
    assert (by_hand[:, [1, 3]] == 0).all()
    assert by_hand[:, 0] == pytest.approx(
        [score(84.5 / 101), 0, highest, -highest, 0], abs=1e-5
    )
    # of many alike the middle of their scores: of the lowest 51, and the highest 50
    low, high = (score(0.5 / 101) + 0) / 2, (score(51.5 / 101) + highest) / 2
    assert by_hand[:2, 2] == pytest.approx([low, high], abs=1e-5)
    assert by_hand[2:, 2] == pytest.approx([highest, 0, -highest], abs=1e-5)
    assert norm.embedding_size == 4


def test_standardisation_is_that_of_scikit_learn():
    generator = np.random.default_rng(3)
    train = np.exp(2 * generator.standard_normal((80, 3)))
    others = np.exp(2 * generator.standard_normal((40, 3)))
    norm = RobustStandardisation()
    norm.fit(train)
    reference = QuantileTransformer(n_quantiles=80, output_distribution="normal")
    expected = reference.fit(train).transform(others).clip(-2.579, 2.579)
    inside = np.abs(expected) < 1.5  # farther out the steps between quantiles are wide
    np.testing.assert_allclose(
        outputs(norm, others)[inside], expected[inside], atol=0.1
    )


@pytest.mark.parametrize("shape", [(5, 1, 3), (5, 3), (3,)])
def test_standardisation_keeps_shapes(shape):
    norm = RobustStandardisation()
    norm.fit(np.random.default_rng(0).standard_normal((20, 3)))
    assert norm(torch.ones(shape)).shape == shape
