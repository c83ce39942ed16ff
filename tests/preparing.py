"""What tests of preparation begin with: the values of the yaml, a changed CSV."""

import re
from pathlib import Path

from conftest import read_csv, write_csv

from local.data.corpus import corpus_addresses
from local.utils.yaml_files import plain_values

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "bad_input.md"


def values_of(corpus, **overrides):
    """The values of the training yaml for a corpus."""
    values = plain_values(ROOT / "hparams" / "train.yaml")
    values |= {"corpus_folder": str(corpus)}
    return {**values, **corpus_addresses(values), **overrides}


def change_csv(corpus, split, change):
    """Rewrites a split's CSV after `change` has had its rows."""
    path = corpus / "splits" / f"{split}.csv"
    rows = read_csv(path)
    rows = change(rows) or rows
    write_csv(path, rows)


def lines_of_page(heading):
    """The first cells of the table below a heading of the page on bad input."""
    section = PAGE.read_text(encoding="utf-8").split(f"## {heading}\n")[1]
    table = section.split("\n## ")[0]
    return re.findall(r"^\| (.+?) \|", table, flags=re.MULTILINE)[1:]
