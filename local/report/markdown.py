"""Markdown in which text of users is only text, whatever it holds."""

import re
from pathlib import Path

import jinja2

from local.report.tables import Table

UNKNOWN = "unknown"

#: What means something inside a line (GitHub's Markdown, with its formulas).
_INSIDE = re.compile(r"[\\`*_\[\]<>|~&$#]")

#: What makes a list or a rule at its beginning.
_AT_START = re.compile(r"^(?:[-+=]|\d+(?=[.)](?:\s|$)))")


class Markdown(str):
    """Text that is Markdown already."""


def escaped(content) -> Markdown:
    """Makes Markdown that shows some content as it is, on one line.

    content (str, number or None): `Markdown` stays as it is; None is shown as unknown.

    >>> escaped("# a|b\\n*c*")
    '\\\\# a\\\\|b \\\\*c\\\\*'
    >>> escaped(None), escaped("1. FC"), escaped("0.5")
    ('unknown', '1\\\\. FC', '0.5')
    """
    if isinstance(content, Markdown):
        return content
    text = UNKNOWN if content is None else " ".join(str(content).split())
    text = "".join(character for character in text if character.isprintable())
    text = _INSIDE.sub(r"\\\g<0>", text)
    return Markdown(_AT_START.sub(_escape_start, text))


def _escape_start(result):
    return f"{result[0]}\\" if result[0][0].isdigit() else f"\\{result[0]}"


def pipe_table(table: Table) -> Markdown:
    """A table with its caption above and its notes below."""
    is_text = [
        all(row.cells[i].kind.startswith("word") for row in table.rows if row.cells)
        for i in range(len(table.columns) - 1)
    ]
    rules = [":--", *(":--" if text else "--:" for text in is_text)]
    lines = [list(map(escaped, table.columns)), rules]
    for row in table.rows:
        name = escaped(row.name)
        if row.cells:
            lines.append([name, *map(_cell, row.cells)])
        else:
            lines.append([f"**{name}**", *[""] * len(is_text)])
    parts = [
        f"**{escaped(table.caption)}**",
        "\n".join(f"| {' | '.join(line)} |" for line in lines),
    ]
    if table.notes:
        notes = table.notes.items()
        parts.append(
            "\n".join(f"- ({mark}) {escaped(reason)}" for reason, mark in notes)
        )
    return Markdown("\n\n".join(parts))


def parts(shown: list[Table | str | None]) -> Markdown:
    """Tables, and sentences as items of a list; what is empty is left out."""
    return Markdown(
        "\n\n".join(
            pipe_table(part) if isinstance(part, Table) else f"- {escaped(part)}"
            for part in shown
            if part
        )
    )


def _cell(cell):
    text = escaped(cell.text)
    text = f"**{text}**" if "flagged" in cell.kind else text
    mark = f" ({cell.mark})" if cell.mark else ""
    return f"{text}{mark} {escaped(cell.detail)}".strip()


def environment(folder: Path) -> jinja2.Environment:
    """An environment for templates of Markdown.

    Every expression is escaped; what is Markdown already says so by its type.

    folder: With the templates.
    """
    made = jinja2.Environment(
        loader=jinja2.FileSystemLoader(folder),
        autoescape=False,
        finalize=escaped,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    made.filters["table"] = pipe_table
    made.filters["parts"] = parts
    return made
