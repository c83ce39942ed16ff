"""The figures of an evaluation, as PNG files.

    drawn = draw_figures(evidence, folder)

What draws a figure takes the evidence of an evaluation and returns a `drawing.Sketch`,
or None where there is nothing to show.
"""

import dataclasses
import functools
from pathlib import Path

from local.evaluation.result import EvaluationResult
from local.report.figures.curves import draw_pr, draw_roc
from local.report.figures.drawing import save
from local.report.figures.forest import draw_forest
from local.report.figures.probabilities import (
    draw_calibration,
    draw_decision_curve,
    draw_score_distributions,
)
from local.report.figures.risk import draw_risk
from local.report.figures.scores import draw_scores
from local.report.figures.spectrograms import draw_errors, draw_silences
from local.report.figures.training import draw_training_curves

#: By name the part of a report that a figure belongs to, and what draws it.
FIGURES = {
    "forest": ("headline", draw_forest),
    "roc": ("measures", draw_roc),
    "pr": ("measures", draw_pr),
    "scores": ("measures", draw_scores),
    "calibration": ("calibration", draw_calibration),
    "score_distributions": ("decisions", draw_score_distributions),
    "decision_curve": ("decisions", draw_decision_curve),
    "risk": ("range", draw_risk),
    "silences": ("audit", draw_silences),
    "training_curves": ("training", draw_training_curves),
    "errors": ("errors", draw_errors),
}

#: The names of all figures that there may be; that of a file ends in ".png".
NAMES = tuple(FIGURES)


@dataclasses.dataclass(frozen=True)
class Drawn:
    """A figure that is a file.

    name: One of `NAMES`.
    path: The PNG file.
    alt: What is seen, with its numbers, for a reader who can't see it.
    section: Of a report, see `local.report.sections`.
    """

    name: str
    path: Path
    title: str
    alt: str
    section: str


def draw_figures(evidence: EvaluationResult, folder: str | Path) -> list[Drawn]:
    """Draws all figures of an evaluation for which there is something to show.

    One that fails is not there; the evidence knows why.

    folder: Gets ``<name>.png`` of each; one from before that has nothing to show any
        more is removed.

    Returns: In the order of `NAMES`.
    """
    drawn = []
    for name in FIGURES:
        path = Path(folder) / f"{name}.png"
        figure = evidence.failures.attempt(
            f"figures/{name}.png", functools.partial(_draw, name, evidence, path)
        )
        if figure is None:
            path.unlink(missing_ok=True)
        else:
            drawn.append(figure)
    return drawn


def _draw(name, evidence, path):
    """Draws a figure; None where there is nothing to show."""
    section, draw = FIGURES[name]
    sketch = draw(evidence)
    if sketch is None:
        return None
    save(sketch.figure, path)
    return Drawn(name, path, sketch.title, sketch.alt, section)
