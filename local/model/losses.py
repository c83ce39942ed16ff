"""The training objective: a loss over the labels that were rated."""

import torch


class MaskedLoss(torch.nn.Module):
    """Cross-entropy or squared error per label, unrated ones left out of the mean.

    A label that is 0 or 1 has the binary cross-entropy of its logit. A score has the
    squared error of its logit, which is the predicted score, divided by the width of
    its range before it is squared: labels of different scales count alike.

    SpeechBrain's own `bce_loss` and `mse_loss` mask by length and not by label.

    positive_weights: Weight of each label's positives; None weighs positives and
        negatives alike. A score's is not used.
    label_ranges: [low, high] of each label that is a score, None for the others; None
        alone: there are no scores.

    >>> loss = MaskedLoss()
    >>> targets = torch.tensor([[1.0, float("nan")]])
    >>> round(loss(torch.zeros(1, 2), targets).item(), 4)  # log 2
    0.6931
    >>> loss = MaskedLoss(label_ranges=[[0.0, 10.0]])
    >>> round(loss(torch.tensor([[7.0]]), torch.tensor([[4.0]])).item(), 4)
    0.09
    """

    def __init__(
        self,
        positive_weights: list[float] | None = None,
        label_ranges: list[list[float] | None] | None = None,
    ):
        super().__init__()
        self.positive_weights = (
            None if positive_weights is None else torch.tensor(positive_weights)
        )
        # Not a number where the label is no score: what goes with it is not used.
        self.widths = (
            torch.tensor([_width(bounds) for bounds in label_ranges])
            if any(bounds is not None for bounds in label_ranges or ())
            else None
        )

    def forward(self, logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        """Compute the loss.

        logits: [batch, label]; of a score the predicted score.
        targets: [batch, label], NaN where not rated. What is 0 or 1 may also lie
            between (a mixture of two recordings).

        Returns: The mean over rated labels; 0 if there are none.
        """
        rated = ~targets.isnan()
        logits, targets = logits.float(), targets.float().nan_to_num(0.0)
        if self.widths is None:
            losses = self._cross_entropy(logits, targets)
        else:
            widths = self.widths.to(logits.device)
            is_score = ~widths.isnan()
            errors = (logits - targets) / torch.where(is_score, widths, 1.0)
            # Cross-entropy takes no target beyond 1, and of a score it is not used.
            cross_entropy = self._cross_entropy(logits, targets.where(~is_score, 0.0))
            losses = torch.where(is_score, errors.square(), cross_entropy)
        return (losses * rated).sum() / rated.sum().clamp(min=1)

    def _cross_entropy(self, logits, targets):
        """Of each cell, [batch, label]."""
        weights = self.positive_weights
        return torch.nn.functional.binary_cross_entropy_with_logits(
            logits,
            targets,
            pos_weight=None if weights is None else weights.to(logits.device),
            reduction="none",
        )


def _width(bounds):
    return float("nan") if bounds is None else float(bounds[1]) - float(bounds[0])
