"""The files of an evaluation, and its main results on the terminal.

A report is a page of sections (`html`) and a model card (`card`) with the same parts.
"""

import logging
from pathlib import Path

from local.data.manifests import write_failed
from local.data.predictions_table import write_predictions
from local.evaluation.beside_model import FILE_NAMES
from local.evaluation.result import EvaluationResult
from local.evaluation.test_log import NO_LOG, TestLog
from local.report import figures
from local.report.card import write_model_card
from local.report.html import render_html
from local.report.terminal import format_results
from local.storage.experiment_files import (
    AUDIT,
    BASELINES,
    FAILED,
    FIGURES,
    METRICS,
    MODEL_CARD,
    PAGE,
    PREDICTIONS,
    SCORED_CSV,
    files_where,
)
from local.utils.files import atomic_write, write_json
from local.utils.number_format import counted
from local.utils.staging import replaced_together

logger = logging.getLogger(__name__)

#: What evaluation writes to its output folder, where there is something to write. The
#: last one is written last: with it the others are complete.
OUTPUTS = tuple(
    name.replace(f"{FIGURES}/*", f"{FIGURES}/{each}.png")
    for name in files_where(evaluation=True)
    for each in (figures.NAMES if name.startswith(FIGURES) else [""])
)


def write_results(result: EvaluationResult, output_folder: str | Path) -> dict:
    """Write an evaluation down.

    output_folder: Gets what `OUTPUTS` lists.

    Returns: The content of metrics.json.
    """
    with replaced_together(Path(output_folder), OUTPUTS) as folder:
        write_predictions(result.table, folder / PREDICTIONS)
        for name, table in result.baselines.items():
            name = FILE_NAMES.get(name, name)
            write_predictions(table, folder / BASELINES / f"{name}.csv")
        write_json(folder / AUDIT, result.audit)
        if result.csv:
            write_json(folder / SCORED_CSV, result.csv)
        if result.evaluation.report:
            write_report(result, folder)
        write_failed(result.failed, folder / FAILED)
        metrics = result.metrics | {"failed_parts": dict(result.failures.reasons)}
        write_json(folder / METRICS, metrics)
    return metrics


def write_report(result: EvaluationResult, output_folder: str | Path):
    """Write figures/*.png, report.html and model_card.md.

    Each file takes the place of an older one as a whole. What fails is not written; the
    result knows why.

    output_folder: Made if it is not there.
    """
    folder = Path(output_folder)
    attempt = result.failures.attempt
    drawn = figures.draw_figures(result, folder / FIGURES)
    page = attempt(PAGE, lambda: render_html(result, drawn))
    if page is not None:
        with atomic_write(folder / PAGE) as stream:
            stream.write(page)
    attempt(MODEL_CARD, lambda: write_model_card(result, folder / MODEL_CARD))


def report_results(
    result: EvaluationResult, output_folder: Path, log: TestLog = NO_LOG
) -> dict:
    """Write an evaluation down, and log its main results.

    log: Where evaluations of a test split are counted.

    Returns: The content of metrics.json.
    """
    metrics = write_results(log.counted(result), output_folder)
    log.add(result)
    made_by = metrics["checkpoint"] or "predictions from elsewhere"
    if "folds" in metrics:
        made_by = (
            f"{metrics['n_folds']} folds, {counted(metrics['n_repeats'], 'repeat')}"
        )
    internal = (metrics.get("internal") or {}).get("labels") or {}
    own = {label: entry["auroc"]["value"] for label, entry in internal.items()}
    table = format_results(metrics, {"own test": own} if own else None, result.audit)
    logger.info("%s split, %s:\n%s", result.split, made_by, table)
    print(f"Everything is in {output_folder}")  # no path in log.txt
    return metrics
