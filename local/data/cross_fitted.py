"""Predictions of the training subjects by networks that were trained without them."""

from pathlib import Path

import pandas as pd

from local.data.predictions_table import read_predictions
from local.data.pseudonyms import Pseudonyms
from local.utils.errors import UserError
from local.utils.spelling import among


def read_cross_fitted(
    path: str | Path,
    names: list[str],
    training: set[str],
    held_out: set[str],
    pseudonyms: Pseudonyms | None = None,
) -> pd.DataFrame:
    """Reads cross-fitted predictions (`cross_fitted_csv`) and checks whose they are.

    path: predictions.csv of a cross-validation.
    names: Labels of the experiment.
    training: Subjects that the experiment is trained or validated on.
    held_out: Those that it is tested on.
    pseudonyms: By which the predictions may name them.

    Raises UserError: if it lacks a label, or is of subjects who are tested on or
        unknown here: a threshold must not be chosen on whom it is judged by.
    """
    table = read_predictions(path)
    if pseudonyms:
        table = pseudonyms.restored(table, (), training | held_out)
    subjects, problems = set(table["subject"]), []
    absent = [name for name in names if name not in set(table["label"])]
    if absent:
        problems.append(f"it has no rows of {', '.join(absent)}")
    if tested := among(subjects, held_out):
        problems.append(f"{len(tested)} of its subjects are in the test split")
    if unknown := subjects - among(subjects, training | held_out):
        problems.append(
            f"{len(unknown)} of its subjects are in no split of this corpus"
        )
    if problems:
        raise UserError(
            f"cross_fitted_csv {path} must hold predictions of the training subjects, "
            "as cross_validate.py writes them:",
            problems,
        )
    return table
