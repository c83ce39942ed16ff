"""The report of an evaluation: figures, a page to read and a model card.

    write_report(evidence, output_folder)

`html` makes the page of sections. The tables and sentences of each are in `brief`,
`people`, `results`, `checks` or `origin`, the words around them in `templates`. `card`
makes the model card of the same parts.
"""

from pathlib import Path

from local.figures import draw_figures
from local.files import atomic_write
from local.report.card import write_model_card
from local.report.html import render_html

__all__ = ["write_report"]

REPORT, MODEL_CARD, FIGURES = "report.html", "model_card.md", "figures"


def write_report(evidence, output_folder):
    """Writes figures/*.png, report.html and model_card.md.

    Each file takes the place of an older one as a whole. What fails is not written; the
    evidence knows why.

    Arguments
    ---------
    evidence : evidence.Evidence
    output_folder : str or Path
        Made if it is not there.
    """
    folder = Path(output_folder)
    attempt = evidence.failures.attempt
    drawn = draw_figures(evidence, folder / FIGURES)
    page = attempt(REPORT, lambda: render_html(evidence, drawn))
    if page is not None:
        with atomic_write(folder / REPORT) as stream:
            stream.write(page)
    attempt(MODEL_CARD, lambda: write_model_card(evidence, folder / MODEL_CARD))
