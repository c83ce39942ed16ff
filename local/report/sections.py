"""The sections of a report: what each is called and shows."""

import dataclasses
from collections.abc import Callable

from local.report import checks, cohort, origin, results, tripod, validation


@dataclasses.dataclass(frozen=True)
class Section:
    """A part of the page; folded, but for the first one.

    name: Its anchor, the `section` of its figures, and the macro of intros.html.jinja
        that says what is to be known first.
    builders: Each takes an EvaluationResult and gives sentences, tables, lists of both
        or None; a section with neither these nor figures is left out.
    needs: Parts of the evaluation that it shows (see `Failures`).
    """

    name: str
    title: str
    builders: tuple[Callable, ...] = ()
    needs: tuple[str, ...] = ()


#: In their order.
SECTIONS = (
    Section(
        "headline",
        "Results",
        (results.headline, results.scores, validation.external, validation.folds),
    ),
    Section("cohort", "Subjects and recordings", (cohort.recorded, cohort.inclusion)),
    Section(
        "measures",
        "All measures, and plain baselines",
        (
            results.small_in_words,
            results.ranking,
            results.top1,
            results.described_baselines,
            results.baselines,
            validation.every_fold,
            validation.learning_curve,
        ),
        ("baselines", "learning_curve"),
    ),
    Section("weights", "What the model goes by", (validation.weights,)),
    Section(
        "calibration",
        "Can the probabilities be believed?",
        (results.probabilities, results.recalibrated),
        ("recalibrated",),
    ),
    Section(
        "decisions",
        "Decisions at the threshold",
        (
            results.decisions,
            results.thresholds,
            results.at_prevalences,
            results.decision_curve,
        ),
    ),
    Section("range", "Recordings unlike those of the training", (validation.in_range,)),
    Section(
        "counting",
        "Recordings, visits and subjects",
        (validation.counting, validation.persons),
    ),
    Section(
        "subgroups",
        "Does it work alike for all groups?",
        (checks.subgroups,),
        ("subgroups",),
    ),
    Section("audit", "Confound audit: is it the speech?", (checks.audit,)),
    Section("raters", "Agreement of raters", (checks.raters,), ("raters",)),
    Section("errors", "The worst errors", (origin.errors,), ("errors",)),
    Section("training", "Training"),
    Section("methods", "How the numbers are made", (origin.intervals,)),
    Section("tripod", "TRIPOD+AI checklist", (tripod.checklist,)),
    Section("settings", "Settings, versions and command", (origin.settings,)),
)
