"""The training objective: binary cross-entropy over the labels that were rated."""

import torch


class MaskedBCE(torch.nn.Module):
    """Binary cross-entropy on logits, unrated labels left out of the mean.

    SpeechBrain's own `bce_loss` masks by length and not by label.

    Arguments
    ---------
    positive_weights : list of float or None
        Weight of each label's positives; None weighs positives and negatives alike.

    Example
    -------
    >>> loss = MaskedBCE()
    >>> targets = torch.tensor([[1.0, float("nan")]])
    >>> round(loss(torch.zeros(1, 2), targets).item(), 4)  # log 2
    0.6931
    """

    def __init__(self, positive_weights=None):
        super().__init__()
        self.positive_weights = (
            None if positive_weights is None else torch.tensor(positive_weights)
        )

    def forward(self, logits, targets):
        """Compute the loss.

        Arguments
        ---------
        logits : torch.Tensor
            [batch, label]
        targets : torch.Tensor
            [batch, label], NaN where not rated.

        Returns
        -------
        torch.Tensor
            The mean over rated labels; 0 if there are none.
        """
        rated = ~targets.isnan()
        weights = self.positive_weights
        losses = torch.nn.functional.binary_cross_entropy_with_logits(
            logits.float(),
            targets.nan_to_num(0.0),
            pos_weight=None if weights is None else weights.to(logits.device),
            reduction="none",
        )
        return (losses * rated).sum() / rated.sum().clamp(min=1)
