"""Heads that are fitted in one go, for corpora of tens to hundreds of people.

Each label is a logistic regression, of a score a ridge regression: on the features
themselves (linear), or on their similarity to those of training recordings (radial
basis functions). `kernel_fitting` fits them. An exported model has a copy of this.
"""

import numpy as np
import torch

LINEAR, RBF = "linear", "rbf"
KERNELS = (LINEAR, RBF)

#: Of the training recordings, of each feature: the first and the last get the scores
#: that 0.5 % of a normal distribution are beyond, so one odd recording decides nothing.
N_QUANTILES = 101


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
            "Features": "acoustic statistics: cepstrum, level, spectrum, F0, tremor, "
            "jitter, shimmer, harmonicity, glottal-to-noise excitation, length, pauses",
            "Normalisation": "normal scores: by the place among the training "
            "recordings",
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
    """Features by their place among those of the training recordings.

    What the training recordings have is given the shape of a normal distribution
    (normal scores: van der Waerden 1952): medians are 0, the middle two thirds lie from
    -1 to 1. What is beyond the farthest one has its score, what is no number is 0.

    >>> norm = RobustStandardisation()
    >>> norm.fit(np.array([[0.0], [1.0], [2.0], [30.0], [4000.0]]))
    >>> norm(torch.tensor([[[2.0], [1e9], [float("nan")]]]))[0, :, 0].tolist()
    [0.0, 2.57926607131958, 0.0]
    """

    def __init__(self):
        super().__init__()
        self.register_buffer("quantiles", torch.zeros(0, N_QUANTILES))
        scores = torch.special.ndtri((torch.arange(N_QUANTILES) + 0.5) / N_QUANTILES)
        self.register_buffer("scores", scores, persistent=False)

    @property
    def embedding_size(self) -> int:
        """How many numbers an embedding has."""
        return len(self.quantiles)

    @property
    def varies(self) -> torch.Tensor:
        """Which features are not the same in all training recordings, [feature]."""
        return self.quantiles[:, 0] < self.quantiles[:, -1]

    def fit(self, features: np.ndarray):
        """Learn what is usual.

        features: [recording, feature] or [recording, 1, feature], NaN where something
            could not be measured.
        """
        features = features.reshape(len(features), -1)
        known = ~np.isnan(features).all(axis=0)
        quantiles = np.zeros((features.shape[1], N_QUANTILES))
        levels = np.linspace(0, 1, N_QUANTILES)
        quantiles[known] = np.nanquantile(features[:, known], levels, axis=0).T
        self._keep(quantiles=quantiles)

    def forward(self, features, lengths=None):
        """[…, feature] → […, feature]"""
        values = features.float().reshape(-1, features.shape[-1]).T.contiguous()
        # of values that are there several times the middle of their places
        places = (self._scores(values, right=right) for right in (False, True))
        counts = self.varies[:, None] & ~values.isnan()
        return torch.where(counts, sum(places) / 2, 0.0).T.reshape(features.shape)

    def _scores(self, values, right):
        """Between the scores of the two next quantiles: [feature, n] → [feature, n]"""
        above = torch.searchsorted(self.quantiles, values, right=right)
        above = above.clamp(1, N_QUANTILES - 1)
        low, high = (self.quantiles.gather(1, i) for i in (above - 1, above))
        beyond = values >= high if right else values > high
        share = torch.where(high > low, (values - low) / (high - low), beyond.float())
        step = self.scores[above] - self.scores[above - 1]
        return self.scores[above - 1] + share.clamp(0.0, 1.0) * step


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
        self.labels = [label for group in label_groups for label in group]
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
        # what no exported model has, nor needs
        from local.model.kernel_fitting import fit_heads

        choices, values = fit_heads(
            (self.labels, self.are_scores, self.kernels, self.seed),
            embeddings,
            targets,
            subjects,
            positive_weights or [1.0] * len(self.labels),
        )
        self._keep(**values)
        return choices
