"""report.html: one file that needs nothing else, for a reader who needs no code."""

import base64
import functools
import struct
from pathlib import Path

import jinja2

from local.evaluation.result import EvaluationResult
from local.metrics import calibration, intervals, split_metrics, thresholds
from local.report import origin
from local.report.brief import IN_WORDS, brief
from local.report.figures import FIGURES, Drawn
from local.report.sections import SECTIONS
from local.report.tables import Table, Warned

TEMPLATES = Path(__file__).parent / "templates"

#: Numbers that intros.html.jinja names.
NUMBERS = {
    "in_words": IN_WORDS,
    "enough": split_metrics.ENOUGH_SUBJECTS,
    "enough_of_a_class": split_metrics.ENOUGH_OF_A_CLASS,
    "interval_from": intervals.MIN_SUBJECTS,
    "threshold_from": thresholds.MIN_TO_CHOOSE,
    "curve_from": calibration.MIN_FOR_CURVE,
}


def templates() -> jinja2.Environment:
    """The templates of pages; a name that is not given to one is an error."""
    return jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def inside_page(picture: bytes) -> str:
    """The address of a PNG that is part of the page itself."""
    return f"data:image/png;base64,{base64.b64encode(picture).decode()}"


def render_html(evidence: EvaluationResult, drawn: list[Drawn]) -> str:
    """Makes the page.

    Returns: HTML that refers to nothing outside itself.
    """
    environment = templates()
    environment.tests["table"] = lambda part: isinstance(part, Table)
    intros = environment.get_template("intros.html.jinja").make_module(NUMBERS)
    figures = {}
    for figure in drawn:
        figures.setdefault(figure.section, []).append(_embedded(figure))
    sections = []
    for section in SECTIONS:
        make = functools.partial(_parts, section, evidence)
        parts = evidence.failures.attempt(f"report.html: {section.title}", make)
        failed = _failed(section, evidence.failures.reasons)
        shown = figures.get(section.name, [])
        if parts or shown or failed:
            sections.append(
                {
                    "name": section.name,
                    "title": section.title,
                    "intro": getattr(intros, section.name, lambda: "")(),
                    "parts": [*failed, *(parts or ())],
                    "figures": shown,
                }
            )
    return environment.get_template("report.html.jinja").render(
        sections=sections, brief=brief(evidence), **origin.header(evidence)
    )


def _parts(section, evidence):
    """The sentences and tables of a section, in one list."""
    parts = []
    for build in section.builders:
        built = build(evidence)
        parts += built if isinstance(built, list) else [built]
    return [part for part in parts if part]


def _failed(section, reasons):
    """Sentences on what is missing in a section, and why."""
    names = {f"report.html: {section.title}": "this section"}
    names |= dict.fromkeys(section.needs, "what belongs here")
    names |= {
        f"figures/{name}.png": f"the figure {name}"
        for name, (entry, _) in FIGURES.items()
        if entry == section.name
    }
    return [
        Warned(f"Missing: {what}; {reasons[part]}.")
        for part, what in names.items()
        if part in reasons
    ]


def _embedded(figure):
    """A figure as its template shows it."""
    picture = figure.path.read_bytes()
    width, height = struct.unpack(">II", picture[16:24])  # of the PNG's header
    return {
        "name": figure.name,
        "title": figure.title,
        "alt": figure.alt,
        "source": inside_page(picture),
        "width": width,
        "height": height,
    }
