"""Pages of the documentation site that do not lie in docs/, and links among all.

MkDocs calls `on_files` and `on_page_markdown` (hooks in mkdocs.yml). Pages keep the
links that a reader of the repository follows; here those to other pages become links of
the site, and those to source files their text.
"""

import ast
import json
import posixpath
import re
from pathlib import Path

from mkdocs.structure.files import File

ROOT = Path(__file__).parents[2]

#: A link of Markdown: its text and its target.
LINK = re.compile(r"(?<!!)\[([^\[\]]+)\]\(([^)\s]+)\)")

#: A yaml's heading, and a key with the beginning of its comment.
HEADING = re.compile(r"# ---- (.+?) -*$")
KEY = re.compile(r"(\w+): *(.*?)(?:\s+# (.*))?$")
MORE = re.compile(r"\s+# (.*)$")


def on_files(files, config):
    """Add README.md as the first page, the recipes' pages, and the reference."""
    outside = ["RELIABILITY.md", "CHANGELOG.md"]
    outside += sorted(
        str(path.relative_to(ROOT)) for path in ROOT.glob("recipes/*/README.md")
    )
    pages = {name: (ROOT / name).read_text("utf-8") for name in outside}
    pages["index.md"] = (ROOT / "README.md").read_text("utf-8")
    pages["reference/keys.md"] = keys_page()
    pages["reference/classifier.md"] = classifier_page()
    pages["tutorial.md"] = tutorial_page()
    for name, text in pages.items():
        files.append(File.generated(config, name, content=text))
    return files


def on_page_markdown(markdown, page, config, files):
    """Make a page's links lead where the site has what they lead to."""
    here = page.file.src_uri
    source = source_of(here)

    def linked(match):
        text, target = match.groups()
        place, _, anchor = target.partition("#")
        if "://" in target or not place:
            return match.group()
        path = posixpath.normpath(posixpath.join(posixpath.dirname(source), place))
        uri = uri_of(path)
        if files.get_file_from_path(uri):
            there = posixpath.relpath(uri, posixpath.dirname(here) or ".")
            return f"[{text}]({there}{'#' if anchor else ''}{anchor})"
        if not (ROOT / path).exists():
            return match.group()  # and strict MkDocs says so
        return text if text.startswith("`") else f"{text} (`{path}`)"

    markdown = LINK.sub(linked, markdown)
    return markdown.replace("](docs/img/", "](img/") if here == "index.md" else markdown


def source_of(uri):
    """Where in the repository a page's text lies.

    >>> source_of("index.md"), source_of("labels.md"), source_of("CHANGELOG.md")
    ('README.md', 'docs/labels.md', 'CHANGELOG.md')
    """
    if uri == "index.md":
        return "README.md"
    return uri if (ROOT / uri).is_file() else f"docs/{uri}"


def uri_of(path):
    """The page that a file of the repository becomes.

    >>> uri_of("README.md"), uri_of("docs/labels.md"), uri_of("recipes/demo/README.md")
    ('index.md', 'labels.md', 'recipes/demo/README.md')
    """
    if path == "README.md":
        return "index.md"
    return path.removeprefix("docs/").replace(".ipynb", ".md")


def keys_page():
    """The keys of all yamls, their defaults and comments, as Markdown."""
    lines = [
        "# Keys of the yamls",
        "Any of them can be given as `--key=value`. A yaml that begins with `base:` "
        "has the keys of that one, too, and lists what differs.",
    ]
    for file in sorted((ROOT / "hparams").glob("*.yaml")):
        lines.append(f"\n## hparams/{file.name}")
        for heading, keys in sections(file.read_text("utf-8")):
            if keys:
                lines += [f"\n### {heading}\n" if heading else ""]
                lines += ["| key | default | meaning |", "|---|---|---|"]
            for key, default, meaning in keys:
                cells = f"`{key}`", f"`{default}`" if default else "", meaning
                row = " | ".join(cells).replace("<", "&lt;")
                lines.append(f"| {row} |")
    return "\n".join(lines) + "\n"


def sections(text):
    """Headings of a yaml, each with its plain keys: their defaults, their comments.

    Returns: list of (heading, list of (key, default, meaning))

    >>> sections("# ---- Audio ---\\nrate: 8  # Hz\\n         # of all\\nx: !new:list")
    [('', []), ('Audio', [('rate', '8', 'Hz of all')])]
    """
    found = [("", [])]
    for line in text.splitlines():
        if heading := HEADING.match(line):
            found.append((heading[1], []))
        elif key := KEY.match(line):
            found[-1][1].append([key[1], key[2], key[3] or ""])
        elif (more := MORE.match(line)) and found[-1][1]:
            found[-1][1][-1][2] += f" {more[1]}"
    return [
        (
            heading,
            [
                (key, default, meaning.strip().replace("|", "\\|"))
                for key, default, meaning in keys
                if default and not default.startswith("!")
            ],
        )
        for heading, keys in found
    ]


def classifier_page():
    """The Python class, by its docstrings, as Markdown."""
    file = ROOT / "local" / "inference" / "classifier.py"
    module = ast.parse(file.read_text("utf-8"))
    (of_class,) = [node for node in module.body if isinstance(node, ast.ClassDef)]
    lines = ["# The Python class", text_of(module), f"\n## {of_class.name}\n"]
    lines.append(text_of(of_class))
    for method in of_class.body:
        if isinstance(method, ast.FunctionDef) and not method.name.startswith("_"):
            signature = f"{method.name}({ast.unparse(method.args)})"
            lines += [f"\n### {method.name}\n", code(signature, "python"), ""]
            lines.append(text_of(method))
    return "\n".join(lines) + "\n"


def text_of(node):
    """A docstring as Markdown: arguments are a list, what is indented stays code."""
    text = ast.get_docstring(node) or ""
    for pattern, as_markdown in (
        (r"``(.+?)``", r"`\1`"),
        (r"^(?!Re|Ra)([\w*][\w*, ]*?)( \(.+?\))?: ", r"- `\1`\2: "),
        (r"^(Returns|Raises)\b(.*)$", r"\n**\1**\2"),
    ):
        text = re.sub(pattern, as_markdown, text, flags=re.MULTILINE)
    return text


def tutorial_page():
    """docs/tutorial.ipynb with the outputs that are stored in it, as Markdown."""
    notebook = json.loads((ROOT / "docs" / "tutorial.ipynb").read_text("utf-8"))
    parts = []
    for cell in notebook["cells"]:
        source = "".join(cell["source"])
        parts.append(
            source if cell["cell_type"] == "markdown" else code(source, "python")
        )
        parts += [shown(output) for output in cell.get("outputs", [])]
    return "\n\n".join(parts) + "\n"


def shown(output):
    """What a cell puts out: a picture, a table, or text."""
    data = output.get("data", {"text/plain": output.get("text", "")})
    if "image/png" in data:
        return f"![output](data:image/png;base64,{''.join(data['image/png']).strip()})"
    if "text/html" in data:
        return re.sub(r"<style.*?</style>", "", "".join(data["text/html"]), flags=re.S)
    return code("".join(data["text/plain"]).rstrip(), "text")


def code(text, language):
    """A block of code.

    >>> code("x = 1", "python")
    '```python\\nx = 1\\n```'
    """
    return f"```{language}\n{text}\n```"
