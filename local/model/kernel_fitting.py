"""Fitting kernel heads: kernel and penalty are chosen by folds over the subjects."""

import numpy as np
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.metrics.pairwise import rbf_kernel

from local.data.folds import draw_folds
from local.data.labels import why_one_class
from local.model.kernel_heads import LINEAR, RBF

#: Inverse strengths of the penalty; for similarities, which are below 1 and many, times
#: `OF_SIMILARITIES`.
STRENGTHS = (1e-3, 1e-2, 1e-1, 1.0)
OF_SIMILARITIES = 100.0

#: Training recordings that others are compared with, at most.
MAX_LANDMARKS = 1000

MAX_STEPS = 2000


def fit_heads(
    heads: tuple, embeddings, targets, subjects, positive_weights: list[float]
) -> tuple[dict[str, dict], dict[str, np.ndarray]]:
    """Fit a head for each label.

    heads: Labels, which of them are scores, the kernels to choose from, the seed.
    embeddings, targets, subjects, positive_weights: As `KernelHeads.fit` has them.

    Returns: What `KernelHeads.fit` does, and the values of its buffers.
    """
    labels, are_scores, kernels, seed = heads
    order = np.random.default_rng(seed).permutation(len(embeddings))[:MAX_LANDMARKS]
    landmarks = embeddings[np.sort(order)]
    root = _inverse_root(_similarity(landmarks, landmarks))
    inputs = {LINEAR: embeddings, RBF: _similarity(embeddings, landmarks) @ root}
    bias, out_of_fold = np.zeros(len(labels)), np.full(targets.shape, np.nan)
    weights = {
        LINEAR: np.zeros((embeddings.shape[1], len(labels))),
        RBF: np.zeros((len(landmarks), len(labels))),
    }
    choices = {}
    for i, label in enumerate(labels):
        rated = ~np.isnan(targets[:, i])
        rows = {name: values[rated] for name, values in inputs.items()}
        fitting = Fitting(
            targets[rated, i], subjects[rated], are_scores[i], positive_weights[i], seed
        )
        kernel, strength, reason = fitting.choose(rows, kernels)
        if reason:
            choices[label], bias[i] = {"reason": reason}, fitting.constant()
            continue
        choices[label] = {"kernel": kernel, "strength": strength}
        out_of_fold[rated, i] = fitting.out_of_fold(rows[kernel], strength)
        model = fitting.model(rows[kernel], strength)
        bias[i] = np.ravel(model.intercept_)[0]
        weights[kernel][:, i] = np.ravel(model.coef_)
    # a model keeps no recordings of people that it does not compare others with
    used = slice(None) if weights[RBF].any() else slice(0)
    return choices, {
        "weight": weights[LINEAR],
        "landmarks": landmarks[used],
        "similarity_weight": (root @ weights[RBF])[used],
        "bias": bias,
        "out_of_fold": out_of_fold,
    }


class Fitting:
    """The rated recordings of one label, and models of them.

    targets: [n], 0 or 1, of a score the rating.
    subjects: [n] of str
    positive_weight: How many times a positive counts.
    seed: Of the folds.
    """

    def __init__(self, targets, subjects, is_score=False, positive_weight=1.0, seed=0):
        self.targets, self.subjects, self.is_score = targets, subjects, is_score
        self.weights = np.where((targets == 1) & (not is_score), positive_weight, 1.0)
        self.seed, self.folds = seed, []

    def choose(self, rows, kernels):
        """Kernel, strength and why there are none, by folds over the subjects.

        rows: By kernel what its models read, [recording, size].
        """
        # of a score, recordings above and below its middle are to be in all folds
        middle = np.median(self.targets) if self.is_score and len(self.targets) else 0.5
        high = (self.targets > middle).astype(float)
        if reason := why_one_class(high):
            return None, None, reason
        folds = draw_folds(high, self.subjects, self.seed)
        if folds is None:
            return None, None, "too few training subjects to choose a model on"
        self.folds = [
            (folds != fold, folds == fold)
            for fold in np.unique(folds)
            if np.ptp(high[folds != fold])
        ]
        losses = {
            (kernel, strength): np.mean(
                [self._loss(rows[kernel], strength, *fold) for fold in self.folds]
            )
            for kernel in kernels
            for strength in _strengths(kernel)
        }
        return *min(losses, key=losses.get), None

    def model(self, rows, strength, used=slice(None)):
        """A model of some of the recordings."""
        if self.is_score:
            model = Ridge(alpha=1 / strength)
        else:
            model = LogisticRegression(C=strength, max_iter=MAX_STEPS)
        return model.fit(rows[used], self.targets[used], self.weights[used])

    def out_of_fold(self, rows, strength):
        """The outputs for all recordings of models without their subjects."""
        outputs = np.full(len(self.targets), np.nan)
        for used, left in self.folds:
            outputs[left] = self._outputs(rows, strength, used, left)
        return outputs

    def _outputs(self, rows, strength, used, left):
        """The outputs of a model of some recordings for others."""
        model = self.model(rows, strength, used)
        return (model.predict if self.is_score else model.decision_function)(rows[left])

    def _loss(self, rows, strength, used, left):
        """The loss of a model of some recordings on others."""
        outputs = self._outputs(rows, strength, used, left)
        targets, weights = self.targets[left], self.weights[left]
        if self.is_score:
            return np.square(outputs - targets).mean()
        # by hand: scikit-learn's checks take as long as the fit
        return np.average(np.logaddexp(0, (1 - 2 * targets) * outputs), weights=weights)

    def constant(self):
        """The output that fits all recordings best, where nothing can be learned."""
        if not len(self.targets):
            return 0.0
        if self.is_score:
            return self.targets.mean()
        # half a recording more of each class, as one class has no finite logit
        positive, negative = (
            self.weights[self.targets == value].sum() + 0.5 for value in (1, 0)
        )
        return np.log(positive / negative)


def _strengths(kernel):
    times = OF_SIMILARITIES if kernel == "rbf" else 1.0
    return [strength * times for strength in STRENGTHS]


def _similarity(first, second):
    """exp(-d), d the mean squared difference: [m, feature], [n, feature] → [m, n]"""
    return rbf_kernel(first, second, gamma=1 / first.shape[1])


def _inverse_root(similarity):
    """[n, n] → its symmetric inverse square root, [n, n]: Nystroem's normalisation."""
    values, vectors = np.linalg.eigh(similarity)
    return vectors / np.sqrt(values.clip(min=1e-10)) @ vectors.T
