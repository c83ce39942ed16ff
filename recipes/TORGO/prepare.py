"""Lay TORGO out as a corpus: speakers, sessions and microphones are its folders.

    python recipes/TORGO/prepare.py --source=DIR --corpus_folder=OUT
        [--test_share=0.3] [--seed=1986] [--dry_run]

`--source` holds the unpacked archives F, FC, M and MC, with
`F01/Session1/wav_headMic/0001.wav` somewhere below.
"""

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from recipes import own_layout  # noqa: E402
from recipes.table.tables import Table  # noqa: E402

#: Sex and, for the controls, C are in a speaker's code.
NAME = (
    r"(?P<speaker>(?P<sex>[FM])(?P<control>C?)\d+)/(?P<session>Session\w+)/"
    r"wav_(?P<device>\w+)/(?P<item>[^/]+)\.wav"
)


def main(arguments=None):
    """Runs the command line; returns the exit status."""
    return own_layout.run(__file__, __doc__, arguments, read)


def read(source: Path) -> list[Table]:
    """What the folders say, and the prompt of each recording where there is one."""
    rows = own_layout.read_names(source, NAME)
    for row in rows:
        row["group"] = "control" if row["control"] else "dysarthria"
        path = source / Path(row["file"]).parents[1] / "prompts" / f"{row['item']}.txt"
        if path.is_file():
            text = path.read_text(encoding="utf-8", errors="replace")
            row["prompt"] = " ".join(text.replace("\0", "").split())
    return [own_layout.new_table(f"{source}/[FM]*/Session*/wav_*/*.wav", rows)]


if __name__ == "__main__":
    sys.exit(main())
