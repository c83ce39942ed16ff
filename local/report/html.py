"""report.html: one file that needs nothing else, for a reader who needs no code."""

import base64
import dataclasses
import functools
import struct
from collections.abc import Callable
from pathlib import Path

import jinja2

from local.evaluation.result import EvaluationResult
from local.report import checks, origin, people, results
from local.report.brief import brief
from local.report.figures import FIGURES, Drawn
from local.utils.number_format import counted

TEMPLATES = Path(__file__).parent / "templates"


@dataclasses.dataclass(frozen=True)
class Section:
    """A part of the page: what it is called and what fills its template.

    name: Of its template, its anchor, and the `section` of its figures.
    build: Of an EvaluationResult: the variables of the template; None where there is
        nothing to say.
    """

    name: str
    title: str
    build: Callable


def _only_figures(evidence):
    """Sections of which the figures are all."""
    return None


#: In their order.
SECTIONS = (
    Section("cohort", "Subjects and recordings", people.table_one),
    Section("inclusion", "What was left out, and why", people.inclusion),
    Section("headline", "Results by label", results.headline),
    Section("decisions", "Decisions at the threshold", results.decisions),
    Section("scores", "Results of scores", results.scores),
    Section("baselines", "Beside plain baselines", results.baselines),
    Section("counting", "Recordings, visits and subjects", results.counting),
    Section("discrimination", "How well recordings are told apart", _only_figures),
    Section("calibration", "Can the probabilities be believed?", _only_figures),
    Section("subgroups", "Subgroups", checks.subgroups),
    Section("audit", "Confound audit", checks.audit),
    Section("raters", "Agreement of raters", checks.raters),
    Section("training", "Training", _only_figures),
    Section("errors", "The worst errors", origin.errors),
    Section("settings", "Settings, versions and command", origin.settings),
    Section("methods", "How the numbers are made", origin.methods),
)


def render_html(evidence: EvaluationResult, drawn: list[Drawn]) -> str:
    """Makes the page.

    Returns: HTML that refers to nothing outside itself.
    """
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals |= {"counted": counted}
    figures = {}
    for figure in drawn:
        figures.setdefault(figure.section, []).append(_embedded(figure))
    sections = []
    for section in SECTIONS:
        own = figures.get(section.name, [])
        body = evidence.failures.attempt(
            f"report.html: {section.title}",
            functools.partial(_body, section, evidence, own, environment),
        )
        failed = _failed(section, evidence.failures.reasons)
        if body or failed:
            sections.append(
                {
                    "name": section.name,
                    "title": section.title,
                    "body": body or "",
                    "failed": failed,
                }
            )
    return environment.get_template("report.html.jinja").render(
        sections=sections, **origin.header(evidence), **brief(evidence)
    )


def _body(section, evidence, figures, environment):
    """What is said in a section; None where there is nothing to say."""
    variables = section.build(evidence)
    if variables is None and not figures:
        return None
    template = environment.get_template(f"{section.name}.html.jinja")
    return template.render(figures=figures, **(variables or {}))


def _failed(section, reasons):
    """What is missing in a section, and why: {what: reason}."""
    parts = {f"report.html: {section.title}": "this section"}
    if section.name != "audit":  # which says it itself
        parts[section.name] = "what belongs here"
    parts |= {
        f"figures/{name}.png": f"the figure {name}"
        for name, (entry, _) in FIGURES.items()
        if entry == section.name
    }
    return {what: reasons[part] for part, what in parts.items() if part in reasons}


def _embedded(figure):
    """A figure as its template shows it: the picture inside the page."""
    picture = Path(figure.path).read_bytes()
    width, height = struct.unpack(">II", picture[16:24])  # of the PNG's header
    return {
        "name": figure.name,
        "title": figure.title,
        "alt": figure.alt,
        "source": f"data:image/png;base64,{base64.b64encode(picture).decode()}",
        "width": width,
        "height": height,
    }
