"""Between what a model's AUROC should lie: a trivial baseline and the ceiling.

The baseline is what duration and pauses alone can tell. The ceiling is what the
latent severity itself reaches: the raters' disagreement keeps it below 1.
"""

from collections.abc import Sequence

import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from recipes.demo.cohort import LABELS


def reference(splits: dict) -> dict:
    """What the test split allows (ceiling) and what is trivial (baseline).

    splits: Split -> list of rows, as `recipes.demo.record.record_subject` makes them.

    Returns: ``{"labels": {label: {"ceiling", "baseline"}}, "macro": {…}}``; what can't
        be computed is None.
    """
    labels = {}
    for label in LABELS:
        severities = [row["severities"][label] for row in splits["test"]]
        targets = [row[label] for row in splits["test"]]
        labels[label] = {
            "ceiling": ceiling_auroc(severities, targets),
            "baseline": baseline_auroc(splits["train"], splits["test"], label),
        }
    macro = {}
    for kind in ("ceiling", "baseline"):
        values = [labels[label][kind] for label in LABELS]
        macro[kind] = None if None in values else float(np.mean(values))
    return {"labels": labels, "macro": macro}


def ceiling_auroc(
    severities: Sequence[float], targets: Sequence[int | str]
) -> float | None:
    """AUROC of the latent severity against the label: the raters' disagreement is
    what keeps it below 1, so no network can be expected to do better.

    severities: Latent severity of each recording.
    targets: Label of each recording: 0, 1, or "" if it is not rated and left out.

    Returns: None if only one class was rated.

    >>> ceiling_auroc([0.1, 3.0, 2.0, 0.5], [0, 1, 1, ""])
    1.0
    """
    rated = [(s, t) for s, t in zip(severities, targets, strict=True) if t != ""]
    scores, truth = zip(*rated, strict=True) if rated else ((), ())
    if len(set(truth)) < 2:
        return None
    return float(roc_auc_score(truth, scores))


def baseline_auroc(train: list[dict], test: list[dict], label: str) -> float | None:
    """AUROC on test of a logistic regression on duration and pauses.

    train, test: Rows with ``duration_s``, ``pause_share``, ``n_pauses`` and the labels.
    label: Which label; rows where it is "" are left out.

    Returns: None if train or test has one class only.
    """

    def arrays(rows):
        rated = [row for row in rows if row[label] != ""]
        names = ("duration_s", "pause_share", "n_pauses")
        features = [[row[name] for name in names] for row in rated]
        return np.array(features), np.array([row[label] for row in rated])

    (x_train, y_train), (x_test, y_test) = arrays(train), arrays(test)
    if len(set(y_train)) < 2 or len(set(y_test)) < 2:
        return None
    model = make_pipeline(StandardScaler(), LogisticRegression()).fit(x_train, y_train)
    return float(roc_auc_score(y_test, model.predict_proba(x_test)[:, 1]))
