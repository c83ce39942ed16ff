"""Lay VOICED out as a corpus: WFDB records and info files, split by person.

    python recipes/VOICED/prepare.py --source=DIR --corpus_folder=OUT
        [--test_share=0.3] [--seed=1986] [--dry_run]

`--source` is the folder of `voiceNNN.dat`, `voiceNNN.hea` and `voiceNNN-info.txt`.
"""

import re
import sys
from pathlib import Path

import numpy as np
import soundfile

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from local.utils.errors import UserError  # noqa: E402
from local.utils.problems import Place, Problem  # noqa: E402
from recipes import own_layout  # noqa: E402
from recipes.table.tables import Table  # noqa: E402

#: A header: record, signals, rate, samples; file, format, gain and baseline.
HEADER = re.compile(
    r"\S+ 1 (?P<rate>\d+) (?P<n_samples>\d+)\s+"
    r"(?P<name>\w+\.dat) 32 (?P<gain>[1-9]\d*(?:\.\d+)?)\((?P<baseline>-?\d+)\)/NU "
)


def main(arguments=None):
    """Runs the command line; returns the exit status."""
    return own_layout.run(__file__, __doc__, arguments, read_infos, write_audio)


def read_infos(source: Path) -> list[Table]:
    """What the info files say; whose file it is counts, not the ID in it."""
    rows, wrong = [], []
    for path in sorted(source.glob("voice*-info.txt")):
        name = path.name.removesuffix("-info.txt")
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
        pairs = [line.partition("\t") for line in lines]
        row = {key.strip(" :"): value.strip() for key, _, value in pairs if key.strip()}
        if row.get("ID") != name:
            wrong.append(Place(row.get("ID", ""), path.name))
        rows.append(row | {"record": name})
    notes = []
    if wrong:
        what = "other than its file's name, which is taken for the person's"
        notes.append(str(Problem("ID", what, tuple(wrong))))
    return [own_layout.new_table(f"{source}/voice*-info.txt", rows, notes)]


def write_audio(source: Path, folder: Path):
    """Write each record as WAV, 16 bits, which is what was quantised once.

    Raises UserError: for a record that is no single signal of 32 bits.
    """
    for header in sorted(source.glob("voice*.hea")):
        text = header.read_text(encoding="utf-8", errors="replace")
        match = HEADER.match(text)
        if not match:
            raise UserError(
                f"{header}: expected one signal of format 32 in {text[:80]!r}."
            )
        path = header.with_name(match["name"])
        if not path.is_file() or path.stat().st_size != 4 * int(match["n_samples"]):
            raise UserError(
                f"{path} should be a file of {match['n_samples']} samples of 4 bytes: "
                "copy it again."
            )
        signal = np.fromfile(path, "<i4") - float(match["baseline"])
        samples = np.rint(signal / float(match["gain"]) * 2**15).astype(np.int16)
        soundfile.write(folder / f"{header.stem}.wav", samples, int(match["rate"]))


if __name__ == "__main__":
    sys.exit(main())
