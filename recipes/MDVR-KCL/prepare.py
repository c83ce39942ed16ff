"""Lay MDVR-KCL out as a corpus: the names of its files say everything.

    python recipes/MDVR-KCL/prepare.py --source=DIR --corpus_folder=OUT
        [--test_share=0.3] [--seed=1986] [--dry_run]

`--source` is the unpacked archive: `ReadText/PD/ID02_pd_2_0_0.wav` is somewhere below.
"""

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from local.utils.problems import Place, Problem  # noqa: E402
from recipes import own_layout  # noqa: E402
from recipes.table.tables import Table  # noqa: E402

#: Task, group, person, Hoehn and Yahr, UPDRS II item 5 (speech), UPDRS III item 18
#: (speech). One name of the release lacks the underscore before `hc`.
NAME = (
    r"(?P<task>\w+)/(?P<group>PD|HC)/(?P<person>ID\d+)_?(?P<code>pd|hc)"
    r"_(?P<hoehn_yahr>\d)_(?P<updrs_ii_5>\d)_(?P<updrs_iii_18>\d)\.wav"
)


def main(arguments=None):
    """Runs the command line; returns the exit status."""
    return own_layout.run(__file__, __doc__, arguments, read)


def read(source: Path) -> list[Table]:
    """What the names of the files say; two that contradict their folder are told."""
    rows = own_layout.read_names(source, NAME)
    wrong = [row["file"] for row in rows if row["code"].lower() != row["group"].lower()]
    what = "of another group than its folder's, which is taken"
    notes = [str(Problem("file", what, tuple(map(Place, wrong))))] if wrong else []
    return [own_layout.new_table(f"{source}/*/(PD|HC)/ID*.wav", rows, notes)]


if __name__ == "__main__":
    sys.exit(main())
