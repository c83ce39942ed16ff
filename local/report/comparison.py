"""comparison.json and its report.html: several yamls beside each other."""

import logging
from collections import Counter
from pathlib import Path

from local.evaluation.baselines import DESCRIPTIONS
from local.evaluation.flags import MARK
from local.metrics.choice import less
from local.report.figures.drawing import save, shown
from local.report.figures.forest import draw_rows
from local.report.html import inside_page, templates
from local.report.tables import Table, with_interval, word
from local.report.terminal import pipe_table
from local.storage.experiment_files import COMPARISON, FIGURES, PAGE
from local.utils.files import atomic_write, write_json
from local.utils.number_format import (
    DASH,
    counted,
    listed,
    measured,
    p_value,
)
from local.utils.staging import replaced_together

logger = logging.getLogger(__name__)

FIGURE = f"{FIGURES}/differences.png"

#: How numbers on the cost of a yaml are written.
COSTS = {
    "training_s": measured,
    "scoring_s": measured,
    "n_parameters": lambda n: f"{int(n):,}",
    "model_mb": measured,
}

#: What is written, the last one last: with it the others are complete.
FILES = (FIGURE, PAGE, COMPARISON)


def report_comparison(comparison: dict, folder: Path) -> str | None:
    """Write a comparison of yamls down, and log its main results.

    comparison: As `compare_yamls` gives it.
    folder: Gets `FILES`, beside the folders of the yamls.

    Returns: The name of the yaml that is recommended, None where there is none.
    """
    with replaced_together(folder, FILES) as staged:
        save(_forest(comparison), staged / FIGURE)
        page = _page(comparison, folder, (staged / FIGURE).read_bytes())
        with atomic_write(staged / PAGE) as stream:
            stream.write(page)
        write_json(staged / COMPARISON, comparison)
    logger.info("%s", format_yamls(comparison))
    print(f"The comparison is in {folder / PAGE}")  # no path in log.txt
    return comparison["recommended_yaml"]


def format_yamls(comparison: dict) -> str:
    """The main results of a comparison as text: a table, then the recommendation."""
    rows = [
        ["", "family", "macro AUROC", f"less {_reference(comparison)}", "s per fold"]
    ]
    for name in _systems(comparison):
        told = comparison["yamls"].get(name, {})
        training = told.get("training_s")
        rows.append(
            [
                f"{name} {MARK}" if told.get("flagged") else name,
                told.get("family", "baseline"),
                _in_words(comparison["macro"][name]["auroc"]),
                _in_words(_difference(comparison, name)),
                "" if training is None else f"{training:.1f}",
            ]
        )
    lines = [pipe_table(rows), *_sentences(comparison)]
    if any(told["flagged"] for told in comparison["yamls"].values()):
        lines.append(f"{MARK} a label is flagged by the confound audit: see its report")
    return "\n\n".join([*lines, *comparison["notes"]])


def _systems(comparison):
    """Names of yamls and baselines, in their order."""
    return [n for n in comparison["macro"] if n not in ("n_labels", "differences")]


def _reference(comparison):
    """What others are shown as differences from: what is recommended."""
    return comparison["recommended"] or next(iter(comparison["yamls"]))


def _difference(comparison, name, label=None):
    """A system less the recommended one; None of that one itself."""
    reference = _reference(comparison)
    if name == reference:
        return None
    entries = comparison["macro"] if label is None else comparison["labels"][label]
    return less(entries["differences"], name, reference)


def _in_words(entry):
    return DASH if entry is None else with_interval(entry)


def _sentences(comparison):
    """What is recommended and why, and what choosing is worth."""
    name, other = comparison["recommended"], comparison["recommended_yaml"]
    sentences = [f"Recommended: {comparison['reason']}."]
    if name is None:
        sentences = [f"Nothing is recommended: {comparison['reason']}."]
    elif name != other:
        sentences.append(
            f"So no yaml is shown to be better than guessing. Of the yamls {other} is "
            "the one to take."
        )
    picked = comparison["pick_the_best"]
    if picked["auroc"]["value"] is not None:
        counts = Counter(fold["chosen"] for fold in picked["chosen"])
        told = [f"{model} in {n}" for model, n in counts.items() if model]
        sentences.append(
            "Taking the yaml with the highest AUROC, chosen for each fold by the "
            f"others, gives {_in_words(picked['auroc'])}; of "
            f"{counted(len(picked['chosen']), 'fold')} that was {listed(told)}."
        )
    return sentences


# The page


def _page(comparison, folder, picture):
    names = [name for name in comparison["yamls"] if (folder / name / PAGE).is_file()]
    page = templates().get_template("comparison.html.jinja")
    return page.render(
        sentences=_sentences(comparison),
        subject=_subject(comparison),
        overview=_overview(comparison),
        labels=_labels(comparison),
        pairs=_pairs(comparison),
        source=inside_page(picture),
        alt=_alt(comparison),
        reference=_reference(comparison),
        reports={name: f"{name}/{PAGE}" for name in names},
        baselines={
            n: DESCRIPTIONS[n] for n in _systems(comparison) if n in DESCRIPTIONS
        },
        left_out=comparison["left_out"],
        notes=comparison["notes"],
        command=comparison["provenance"]["command"],
    )


def _subject(comparison):
    """What is compared, on what, when."""
    return (
        f"{listed(comparison['yamls'])} on "
        f"{counted(comparison['n_recordings'], 'recording')} of "
        f"{counted(comparison['n_subjects'], 'subject')}, out of fold: "
        f"{counted(comparison['n_folds'], 'fold')}, "
        f"{counted(comparison['n_repeats'], 'repeat')}. "
        f"{comparison['provenance']['date'][:10]}."
    )


def _overview(comparison):
    """A row per yaml and baseline."""
    macro = comparison["macro"]
    columns = ["", "AUROC", f"less {_reference(comparison)}", "family"]
    columns += ["training, s", "scoring, s", "parameters", "MB", "flagged"]
    caption = f"Mean of {counted(macro['n_labels'], 'label')}, by yaml"
    table = Table(caption, columns)
    for name in _systems(comparison):
        told = comparison["yamls"].get(name, {})
        cost = [
            DASH if told.get(key) is None else form(told[key])
            for key, form in COSTS.items()
        ]
        entry = _difference(comparison, name)
        less_cell = DASH if entry is None else table.entry(entry)
        auroc = table.entry(macro[name]["auroc"])
        family = word(told.get("family", "baseline"))
        table.add(name, auroc, less_cell, family, *cost, _flags(told))
    return table


def _flags(told):
    if not told:
        return word(DASH)
    if told["flagged"] is None:
        return word("not audited")
    if told["flagged"]:
        return word(", ".join(told["flagged"]), "flagged")
    return word("none")


def _labels(comparison):
    """AUROC by label of each system."""
    systems = _systems(comparison)
    table = Table("AUROC by label", ["label", *systems])
    for label, entries in comparison["labels"].items():
        table.add(label, *(table.entry(entries[name]["auroc"]) for name in systems))
    return table


def _pairs(comparison):
    """The mean differences of all pairs, with their p-values."""
    table = Table("Differences of the mean AUROC", ["pair", "difference", "p", "Holm"])
    for pair, entry in comparison["macro"]["differences"].items():
        p = [
            table.number(entry[key], entry.get("reason"), p_value)
            for key in ("p", "p_holm")
        ]
        table.add(pair, table.entry(entry), *p)
    return table


# The figure


def _rows(comparison):
    """What is drawn, by its name: differences from the recommended one, the mean first.

    Labels are drawn of yamls only.
    """
    rows = {}
    for name in _systems(comparison):
        if name == _reference(comparison):
            continue
        rows[name] = _difference(comparison, name)
        labels = comparison["labels"] if name in comparison["yamls"] else {}
        if len(labels) > 1:
            rows |= {
                f"{name}: {label}": _difference(comparison, name, label)
                for label in labels
            }
    return rows


def _forest(comparison):
    rows = _rows(comparison)
    figure, panel = draw_rows(rows, neutral=0, least=0.32, room=0.9)
    for place, name in enumerate(rows):
        if name in comparison["macro"]:  # a mean, above those of its labels
            panel.get_yticklabels()[place].set_fontweight("bold")
            panel.axhline(place - 0.5, color="0.6", linewidth=0.8)
    panel.set_xlabel(f"AUROC less that of {shown(_reference(comparison), 40)}")
    return figure


def _alt(comparison):
    said = [f"{name} {_in_words(entry)}" for name, entry in _rows(comparison).items()]
    return f"Differences from {_reference(comparison)}: {'; '.join(said)}."
