"""The rated cases of a label, and what is asked of them."""

import dataclasses

import numpy as np
import pandas as pd

from local.data.labels import LabelType
from local.data.predictions_table import rows_of_label, scores_in
from local.metrics.measures import (
    PROBABILITY_MEASURES,
    SCORE_MEASURES,
    WHY_UNDEFINED,
    quadratic_kappa,
    subject_weights,
    threshold_measures,
)

#: The measures of decisions, in the order of metrics.json.
DECISION_MEASURES = tuple(threshold_measures(0.5))

NONE = "there is no threshold: "
NOT_CHOSEN = "none was chosen, and these cases have no decisions of their own"
NOT_AGAIN = "known only of a single threshold that was chosen on known subjects"
OWN_DECISIONS = "the predictions hold decisions of their own, taken as they are"


@dataclasses.dataclass(frozen=True)
class LabelCases:
    """The rated cases of one label: recordings, or visits, or subjects.

    targets, predictions, subjects, folds: [n]
    threshold: As metrics.json has it; empty of a score.
    decided_on: [n], What decisions are made of, positive from `cut` on, NaN in folds
        that have none; None where there are none at all.
    """

    targets: np.ndarray
    predictions: np.ndarray
    subjects: np.ndarray
    folds: np.ndarray
    study_design: str
    is_score: bool
    type: LabelType | None
    threshold: dict
    decided_on: np.ndarray | None = None
    cut: float | None = None

    def weights(self, weighted):
        """[n]: with which each subject weighs the same, if `weighted`; else each 1."""
        n = len(self.subjects)
        return subject_weights(self.subjects) if weighted and n else np.ones(n)

    def by_fold(self):
        """The rows of each fold: fold → [n] of bool."""
        return {fold: self.folds == fold for fold in dict.fromkeys(self.folds)}

    def question(self, weighted):
        """What is asked of the predictions, as `local.metrics.intervals` takes it."""
        functions = self._score_measures() if self.is_score else PROBABILITY_MEASURES
        return self._question(functions, self.predictions, weighted)

    def decision_question(self, weighted):
        """What is asked of the decisions; only where there are some."""
        asked = self._question(threshold_measures(self.cut), self.decided_on, weighted)
        decided = ~np.isnan(self.decided_on)
        rows = ("targets", "scores", "subjects", "weights", "folds")
        return asked | {name: asked[name][decided] for name in rows}

    def if_chosen_again(self):
        """Sensitivity and specificity at other thresholds, {name: {"low", "high"}}.

        The threshold's bounds are those that other draws of the subjects who chose it
        would give; these cases stay the same.
        """
        low, high = (self.threshold.get(bound) for bound in ("low", "high"))
        result = {}
        for name, positive in (("sensitivity", True), ("specificity", False)):
            own = self.predictions[self.targets == positive]
            entry = {"low": None, "high": None}
            if low is None or high is None:
                entry["reason"] = NOT_AGAIN
            elif not len(own):
                entry["reason"] = WHY_UNDEFINED[name]
            else:
                shares = [np.mean((own >= cut) == positive) for cut in (low, high)]
                entry = {"low": float(min(shares)), "high": float(max(shares))}
            result[f"{name}_if_chosen_again"] = entry
        return result

    def _question(self, functions, scores, weighted):
        return {
            "functions": functions,
            "targets": self.targets,
            "scores": scores,
            "subjects": self.subjects,
            "weights": self.weights(weighted),
            "folds": self.folds,
            "study_design": self.study_design,
        }

    def _score_measures(self):
        if self.type is None or self.type.level != "ordinal":
            return SCORE_MEASURES

        def kappa(ratings, predictions, weights):
            # a prediction beyond the scale means its end
            return quadratic_kappa(
                ratings, np.clip(predictions, *self.type.range), weights
            )

        return SCORE_MEASURES | {"quadratic_kappa": kappa}


def read_labels(table, names, types, points, study_design):
    """Label → LabelCases, of a table of predictions.

    points: The operating points of labels that have some.
    """
    return {
        name: _read_label(table, name, types.get(name), points.get(name), study_design)
        for name in names
    }


def _read_label(table, name, label_type, point, study_design):
    """The rated cases of a label, and what decides.

    label_type : LabelType or None; point : dict or None, of the operating points
    """
    rows = table[table["label"] == name]
    rated = rows[rows["target"].notna()].reset_index(drop=True)
    is_score = name in scores_in(rows)
    if not len(rows):
        is_score = label_type is not None and label_type.is_score
    folds = rated["split"].to_numpy(dtype=str)
    given = *rows_of_label(rated, name), folds, study_design, is_score, label_type
    if is_score:
        return LabelCases(*given, threshold={})
    threshold = point["threshold"] if point else _no_threshold(None, NOT_CHOSEN)
    if threshold["value"] is not None:
        return LabelCases(*given, threshold, given[1], threshold["value"])
    predicted = whole_decisions(rated)
    if predicted.notna().any():
        own = _no_threshold("the predictions themselves", OWN_DECISIONS)
        return LabelCases(*given, own, predicted.to_numpy(), 0.5)
    return LabelCases(*given, threshold | {"reason": NONE + threshold["reason"]})


def whole_decisions(rated: pd.DataFrame) -> pd.Series:
    """Decisions of a label's rated rows; a fold has those of all of them, or none."""
    predicted = rated["predicted"].astype("Float64").astype(float)
    return predicted.mask(predicted.isna().groupby(rated["split"]).transform("any"))


def _no_threshold(source, reason):
    nothing = dict.fromkeys(("value", "rule", "source", "n_positive_subjects"))
    return nothing | {"source": source, "reason": reason}
