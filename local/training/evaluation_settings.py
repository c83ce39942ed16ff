"""What is asked of an evaluation."""

import dataclasses

from local.utils.errors import UserError
from local.utils.from_keys import FromKeys


@dataclasses.dataclass(frozen=True)
class EvaluationSettings(FromKeys):
    """What is asked of an evaluation.

    threshold: On the probability, fixed in advance: of all labels, or by label; None,
        and of the labels that are not named: it is chosen.
    threshold_sensitivity: Thresholds find so many of the positives of validation; None:
        those of Youden's rule.
    calibration: `none`, `temperature` or `platt`, of probabilities.
    study_design: `cohort`, subjects as a population has them, or `case_control`, whose
        numbers of subjects with and without a positive are fixed by design.
    decision_thresholds: Thresholds of the decision curves; None: there are none.
    prevalences: At which PPV and NPV are told beside the split's own; None: at none.
    subgroups: Columns whose groups are compared; None: the usual ones that there are.
    audit: Whether it is asked what tells labels but speech.
    acoustic_baseline: Whether acoustic statistics stand beside the model.
    measured_recordings: Recordings of each split that are decoded for these two at
        most; 0: all.
    learning_curve: Whether a cross-validation also tells what fewer subjects bring.
    report: Whether a report, a model card and figures are wanted.
    show_uids: Whether these may name recordings, else by row only.
    seed: Of draws and permutations.

    Raises UserError: for a threshold that none can be, a sensitivity that is no share,
        thresholds of curves or prevalences that are no shares between 0 and 1, or
        subgroups that are no list of names.
    """

    threshold: float | dict[str, float] | None = None
    threshold_sensitivity: float | None = None
    calibration: str = "none"
    study_design: str = "cohort"
    decision_thresholds: list[float] | None = dataclasses.field(
        default_factory=lambda: [0.05, 0.1, 0.2, 0.3, 0.5]
    )
    prevalences: list[float] | None = dataclasses.field(
        default_factory=lambda: [0.05, 0.2]
    )
    subgroups: list[str] | None = None
    audit: bool = True
    acoustic_baseline: bool = True
    measured_recordings: int = 5000
    learning_curve: bool = False
    report: bool = True
    show_uids: bool = False
    seed: int = 0

    def __post_init__(self):
        share, columns = self.threshold_sensitivity, self.subgroups
        _check_threshold(self.threshold, share)
        if share is not None and not (_is_number(share) and 0 < share <= 1):
            raise UserError(
                "threshold_sensitivity must be a share above 0 and at most 1, as 0.9, "
                f"or null for Youden's rule; found {share!r}."
            )
        for key in ("decision_thresholds", "prevalences"):
            _check_shares(key, getattr(self, key))
        are_names = isinstance(columns, list) and all(
            isinstance(column, str) for column in columns
        )
        if columns is not None and not are_names:
            raise UserError(
                f"subgroups must be a list of columns, as [sex, age]; found {columns!r}"
            )

    def given_thresholds(self, names: list[str]) -> dict[str, float]:
        """The threshold of each label for which one was fixed in advance.

        names: The labels that are 0 or 1.

        Raises UserError: for a label that is none of them.

        >>> EvaluationSettings(threshold=0.5).given_thresholds(["slow", "loud"])
        {'slow': 0.5, 'loud': 0.5}
        """
        if not isinstance(self.threshold, dict):
            return (
                {} if self.threshold is None else dict.fromkeys(names, self.threshold)
            )
        unknown = [str(name) for name in self.threshold if name not in names]
        if unknown:
            raise UserError(
                f"threshold names {', '.join(unknown)}: expected labels that are 0 or "
                f"1, and these are {', '.join(names) or 'none'}."
            )
        return self.threshold


def _check_threshold(threshold, sensitivity):
    """Raises UserError for a threshold that is no probability, or two rules at once."""
    by_label = threshold if isinstance(threshold, dict) else {"": threshold}
    are_numbers = all(
        _is_number(value) and 0 < value < 1 for value in by_label.values()
    )
    if threshold is not None and not are_numbers:
        raise UserError(
            "threshold must be a probability above 0 and below 1, as 0.5, or one per "
            f"label, as {{strained: 0.3}}, or null to choose it; found {threshold!r}."
        )
    if sensitivity is not None and not isinstance(threshold, dict | None):
        raise UserError(
            f"threshold {threshold} is that of all labels, and threshold_sensitivity "
            f"{sensitivity} would choose them: give one of the two."
        )


def _is_number(value):
    return isinstance(value, int | float) and not isinstance(value, bool)


def _check_shares(key, shares):
    """Raise UserError unless these are numbers above 0 and below 1, each once."""
    if shares is None:
        return
    are_shares = isinstance(shares, list) and all(
        isinstance(share, float) and 0 < share < 1 for share in shares
    )
    if not are_shares or len(set(shares)) < len(shares):
        raise UserError(
            f"{key} must be a list of different numbers above 0 and below 1, as "
            f"[0.1, 0.2], or null; found {shares!r}."
        )
