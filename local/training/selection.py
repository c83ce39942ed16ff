"""Which epoch is best: the AUROC on validation, and what checkpoints are kept by."""

import numpy as np
from numpy.typing import ArrayLike

from local.data.labels import why_one_class
from local.utils.errors import RunError
from local.utils.ranking import plain_auroc


def macro_auroc(
    targets: ArrayLike, scores: ArrayLike
) -> tuple[float | None, list[float] | None]:
    """Computes AUROC per label and its mean over the labels that have both classes.

    targets: [n_recordings, n_labels], 0, 1, or NaN for "not rated"; scores are no such
        labels.
    scores: [n_recordings, n_labels], Logits or probabilities: AUROC is the same for
        both.

    Returns macro: None if no label has both classes.
    Returns per_label: None for a label with one class or none.
    Raises RunError: if a score is not a finite number.

    >>> macro_auroc([[0, 1], [1, 1]], [[-2.0, 0.0], [3.0, 1.0]])
    (1.0, [1.0, None])
    """
    targets, scores = np.asarray(targets, dtype=float), np.asarray(scores, dtype=float)
    if not np.isfinite(scores).all():
        raise RunError(
            "The network's output is not a finite number for "
            f"{(~np.isfinite(scores)).any(axis=1).sum()} of {len(scores)} recordings: "
            "training has diverged; a lower learning rate may help."
        )
    per_label = []
    for target, score in zip(targets.T, scores.T, strict=True):
        rated = ~np.isnan(target)
        separable = why_one_class(target[rated]) is None
        per_label.append(
            plain_auroc(target[rated], score[rated]) if separable else None
        )
    computed = [value for value in per_label if value is not None]
    return (float(np.mean(computed)) if computed else None), per_label


def selection_value(
    best_checkpoint: str, loss: float, macro_auroc: float | None
) -> float:
    """The number by which checkpoints are ranked, lower is better.

    1 − AUROC and not AUROC: SpeechBrain's stopper takes an equal value for better
    when it is told to maximise.

    best_checkpoint: As in the yaml: `loss` or `macro_auroc`.
    macro_auroc: None, which no label of validation has both classes for, ranks last.

    >>> selection_value("macro_auroc", loss=0.3, macro_auroc=0.75)
    0.25
    """
    if best_checkpoint == "loss":
        return loss
    return 1.0 if macro_auroc is None else 1.0 - macro_auroc
