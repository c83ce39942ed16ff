"""Heads that are fitted in one go, for corpora of tens to hundreds of people.

Each label is a logistic regression, of a score a ridge regression: on the features
themselves (linear), or on their similarity to those of training recordings (radial
basis functions). Which of them, and how strongly it is penalised, is chosen by folds
over the training subjects.
"""

import numpy as np
import torch
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.metrics import log_loss, mean_squared_error
from sklearn.metrics.pairwise import rbf_kernel

from local.data.folds import draw_folds
from local.data.labels import flatten, why_one_class

LINEAR, RBF = "linear", "rbf"
KERNELS = (LINEAR, RBF)

#: Inverse strengths of the penalty; for similarities, which are below 1 and many, times
#: `OF_SIMILARITIES`.
STRENGTHS = (1e-3, 1e-2, 1e-1, 1.0)
OF_SIMILARITIES = 100.0

#: Training recordings that others are compared with, at most.
MAX_LANDMARKS = 1000

MAX_STEPS = 2000

#: Standardised values beyond this are cut: one odd recording decides nothing.
FARTHEST = 5.0

#: The interquartile range of a normal distribution, in standard deviations.
NORMAL_IQR = 1.349


def described(kernel: str | None) -> dict[str, dict[str, str]]:
    """What a model card says of these heads, and of what they learn from.

    kernel: As of `KernelHeads`.

    Returns: By part of the card, {name: text}.
    """
    kinds = {
        None: "linear or with radial basis functions, whichever folds over the "
        "training subjects find better for a label",
        LINEAR: "linear",
        RBF: "with radial basis functions",
    }
    return {
        "architecture": {
            "Network": "none: statistics of the whole recording",
            "Embedding": "the standardised statistics",
            "Classifier heads": "one per label: logistic regression, of scores ridge "
            f"regression, {kinds[kernel]}",
        },
        "preprocessing": {
            "Length in training": "whole recordings",
            "Features": "acoustic statistics: cepstrum, level, spectrum, F0, jitter, "
            "shimmer, harmonicity, glottal-to-noise excitation, length and pauses",
            "Normalisation": "by the median and the interquartile range of the "
            "training recordings",
        },
        "optimisation": {
            "Strength of the penalty": "of each label, by folds over the training "
            "subjects",
        },
        "predictors": {"": "acoustic statistics, fixed in advance"},
    }


class FittedModule(torch.nn.Module):
    """A module whose buffers get their sizes when it is fitted, or loaded."""

    def _load_from_state_dict(self, state_dict, prefix, *args):
        for name, buffer in list(self.named_buffers(recurse=False)):
            if prefix + name in state_dict:
                shape = state_dict[prefix + name].shape
                self.register_buffer(name, buffer.new_empty(shape))
        super()._load_from_state_dict(state_dict, prefix, *args)

    def _keep(self, **values):
        """Put arrays into the buffers of these names."""
        for name, value in values.items():
            buffer = torch.as_tensor(value, dtype=torch.float32)
            self.register_buffer(name, buffer.to(getattr(self, name).device))


class RobustStandardisation(FittedModule):
    """Features in units of how they vary over the training recordings.

    Their median is 0, and their interquartile range is that of a normal distribution.
    What is more than 5 away is cut to 5, what is no number is 0.

    >>> norm = RobustStandardisation()
    >>> norm.fit(np.array([[0.0], [1.0], [2.0], [3.0], [4.0]]))
    >>> norm(torch.tensor([[[2.0], [100.0], [float("nan")]]]))[0, :, 0].tolist()
    [0.0, 5.0, 0.0]
    """

    def __init__(self):
        super().__init__()
        self.register_buffer("center", torch.zeros(0))
        self.register_buffer("scale", torch.zeros(0))

    @property
    def embedding_size(self) -> int:
        """How many numbers an embedding has."""
        return len(self.center)

    def fit(self, features: np.ndarray):
        """Learn what is usual.

        features: [recording, feature] or [recording, 1, feature], NaN where something
            could not be measured.
        """
        features = features.reshape(len(features), -1)
        known = ~np.isnan(features).all(axis=0)
        quartiles = np.zeros((3, features.shape[1]))
        quartiles[:, known] = np.nanquantile(
            features[:, known], [0.25, 0.5, 0.75], axis=0
        )
        low, center, high = quartiles
        farthest = np.zeros_like(center)
        distance = np.abs(features[:, known] - center[known])
        farthest[known] = np.nanmax(distance, axis=0)
        # where half of the recordings have the same value, by the farthest one
        scale = np.where(high > low, (high - low) / NORMAL_IQR, farthest / FARTHEST)
        self._keep(center=center, scale=scale)

    def forward(self, features, lengths=None):
        """[…, feature] → […, feature]"""
        distance = (features - self.center) / self.scale
        distance = torch.where(self.scale > 0, distance, 0.0).nan_to_num(0.0)
        return distance.clamp(-FARTHEST, FARTHEST)


class KernelHeads(FittedModule):
    """A linear or a kernel head for each label, fitted in one go.

    label_groups: The labels of each head; each label is fitted for itself.
    label_ranges: [low, high] of each label that is a score, None of the others.
    kernel: `linear`, `rbf`, or null for the better one of each label.
    seed: Of the folds.
    out_of_fold: [recording, label], logits of the training recordings, in the order
        they were fitted in, each by a model of the chosen kernel and penalty that was
        fitted without its subject; NaN where there is none.

    Raises ValueError: for another kernel.
    """

    def __init__(
        self,
        label_groups: list[list[str]],
        label_ranges: list[list[float] | None] | None = None,
        kernel: str | None = None,
        seed: int = 0,
    ):
        super().__init__()
        if kernel not in (None, *KERNELS):
            raise ValueError(f"kernel must be {' or '.join(KERNELS)} or null: {kernel}")
        self.labels = flatten(label_groups)
        ranges = label_ranges or [None] * len(self.labels)
        self.are_scores = [bounds is not None for bounds in ranges]
        self.kernels = (kernel,) if kernel else KERNELS
        self.seed = seed
        names = ("weight", "landmarks", "similarity_weight", "bias", "out_of_fold")
        for name in names:
            self.register_buffer(name, torch.zeros(0))

    def forward(self, embedding):
        """Logits, of scores the scores: [batch, feature] → [batch, label]"""
        distance = (embedding.unsqueeze(-2) - self.landmarks).square().mean(dim=-1)
        similarity = torch.exp(-distance)
        linear = embedding @ self.weight + self.bias
        return linear + similarity @ self.similarity_weight

    def hidden(self, embedding):
        """The embedding itself: no layer is before the outputs, [batch, 1, feature]."""
        return embedding.unsqueeze(-2)

    def output(self, hidden):
        """Logits from `hidden`: [batch, 1, feature] → [batch, label]"""
        return self(hidden.squeeze(-2))

    def fit(
        self,
        embeddings: np.ndarray,
        targets: np.ndarray,
        subjects: np.ndarray,
        positive_weights: list[float] | None = None,
    ) -> dict[str, dict]:
        """Fit all heads.

        embeddings: [recording, feature], standardised.
        targets: [recording, label]; 0, 1 or a score, NaN for "not rated".
        subjects: [recording] of str
        positive_weights: How many times a positive of each label counts.

        Returns: By label {"kernel", "strength"}, or {"reason"} where nothing can be
            learned, and all recordings get the same.
        """
        generator = np.random.default_rng(self.seed)
        order = generator.permutation(len(embeddings))[:MAX_LANDMARKS]
        landmarks = embeddings[np.sort(order)]
        root = _inverse_root(_similarity(landmarks, landmarks))
        inputs = {
            "linear": embeddings,
            "rbf": _similarity(embeddings, landmarks) @ root,
        }
        bias, out_of_fold = np.zeros(len(self.labels)), np.full(targets.shape, np.nan)
        weights = {
            "linear": np.zeros((embeddings.shape[1], len(self.labels))),
            "rbf": np.zeros((len(landmarks), len(self.labels))),
        }
        choices = {}
        for i, label in enumerate(self.labels):
            rated = ~np.isnan(targets[:, i])
            rows = {name: values[rated] for name, values in inputs.items()}
            fitting = Fitting(
                targets[rated, i],
                subjects[rated],
                self.are_scores[i],
                positive_weights[i] if positive_weights else 1.0,
                self.seed,
            )
            kernel, strength, reason = fitting.choose(rows, self.kernels)
            if reason:
                choices[label], bias[i] = {"reason": reason}, fitting.constant()
                continue
            choices[label] = {"kernel": kernel, "strength": strength}
            out_of_fold[rated, i] = fitting.out_of_fold(rows[kernel], strength)
            model = fitting.model(rows[kernel], strength)
            bias[i] = np.ravel(model.intercept_)[0]
            weights[kernel][:, i] = np.ravel(model.coef_)
        self._keep(
            weight=weights["linear"],
            landmarks=landmarks,
            similarity_weight=root @ weights["rbf"],
            bias=bias,
            out_of_fold=out_of_fold,
        )
        return choices


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
            model = self.model(rows, strength, used)
            says = model.predict if self.is_score else model.decision_function
            outputs[left] = says(rows[left])
        return outputs

    def _loss(self, rows, strength, used, left):
        """The loss of a model of some recordings on others."""
        model, targets = self.model(rows, strength, used), self.targets[left]
        if self.is_score:
            return mean_squared_error(targets, model.predict(rows[left]))
        predicted = model.predict_proba(rows[left])
        return log_loss(
            targets, predicted, labels=[0, 1], sample_weight=self.weights[left]
        )

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
