"""What tests of preparation begin with: the values of the yaml, a changed CSV."""

from pathlib import Path

from conftest import read_csv, write_csv

from local.data.corpus import corpus_addresses
from local.utils.yaml_files import plain_values

ROOT = Path(__file__).parents[1]


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
