"""Lay SEP-28k or SEP-28k-E out as a corpus: clips of podcasts, counts of annotators.

    python recipes/SEP-28k/prepare.py --source=DIR --corpus_folder=OUT
        [--splits=SEP28k-E] [--test_share=0.3] [--seed=1986] [--dry_run]

`--source` holds SEP-28k_labels.csv or SEP-28k-Extended_clips.csv, and
`clips/<Show>/<EpId>/<Show>_<EpId>_<ClipId>.wav` or, uncut, `wavs/<Show>/<EpId>.wav`.
"""

import dataclasses
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from local.utils.errors import UserError  # noqa: E402
from recipes import own_layout  # noqa: E402
from recipes.table.tables import Table, read_tables  # noqa: E402

#: The tables, the extended one first; the second holds no splits.
TABLES = ("SEP-28k-Extended_clips.csv", "SEP-28k_labels.csv")

#: Samples per second that Start and Stop count.
RATE = 16000


def main(arguments=None):
    """Runs the command line; returns the exit status."""
    return own_layout.run(__file__, __doc__, arguments, read)


def read(source: Path) -> list[Table]:
    """The clips, each in a file of its own or as a segment of its episode."""
    files = [source / name for name in TABLES if (source / name).is_file()]
    if not files:
        raise UserError(f"{source} holds neither {' nor '.join(TABLES)}.")
    (table,) = read_tables([str(files[0])], needed=["Show", "EpId", "ClipId"])
    rows = table.rows.copy()
    if "speaker" not in rows:  # SEP-28k does not say who speaks
        rows["speaker"] = ""
    absent = {"Show", "EpId", "ClipId", "Start", "Stop"} - set(rows)
    if absent:
        raise UserError(f"{files[0]} has no column {', '.join(sorted(absent))}.")
    episode = rows["Show"] + "/" + rows["EpId"]
    clip = rows["Show"] + "_" + rows["EpId"] + "_" + rows["ClipId"]
    if (source / "clips").is_dir():
        rows["file"] = "clips/" + episode + "/" + clip + ".wav"
        rows["start_s"] = rows["end_s"] = ""
    else:
        rows["file"] = "wavs/" + episode + ".wav"
        for column, second in (("Start", "start_s"), ("Stop", "end_s")):
            rows[second] = rows[column].map(seconds)
    return [dataclasses.replace(table, rows=rows)]


def seconds(samples: str) -> str:
    """Seconds of a number of samples, as text; what is none stays as it is."""
    try:
        return f"{float(samples) / RATE:.10g}"
    except ValueError:
        return samples


if __name__ == "__main__":
    sys.exit(main())
