"""Spreadsheets and folders of audio that tests of the table recipe begin with."""

import csv
from pathlib import Path

import numpy as np
import openpyxl
import soundfile

from recipes.table.prepare import main

RATE = 8000  # Hz


def write_audio(folder, names, seconds=0.2):
    """Noise, another one for each name."""
    for i, name in enumerate(sorted(names)):
        path = Path(folder, name)
        path.parent.mkdir(parents=True, exist_ok=True)
        seed = [ord(letter) for letter in name]
        noise = np.random.default_rng(seed).normal(size=round(seconds * RATE) + i)
        soundfile.write(path, 0.1 * noise, RATE)


def write_xlsx(path, rows, sheet="Sheet1"):
    """A workbook with one sheet of these rows, the header first."""
    workbook = openpyxl.Workbook()
    workbook.active.title = sheet
    for row in rows:
        workbook.active.append(list(row))
    path.parent.mkdir(parents=True, exist_ok=True)
    workbook.save(path)
    return path


def write_csv_rows(path, rows):
    """A CSV with these rows, the header first."""
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows(rows)
    return path


def prepare(capsys, **options):
    """Runs the recipe; its exit status, what it printed and its message.

    options: By name; a list is given once for each entry, True as a flag.
    """
    arguments = []
    for key, value in options.items():
        for one in value if isinstance(value, list) else [value]:
            arguments.append(f"--{key}" if one is True else f"--{key}={one}")
    capsys.readouterr()
    status = main(arguments)
    told = capsys.readouterr()
    return status, told.out, told.err


def read_splits(corpus):
    """The rows of each split by its name."""
    splits = {}
    for file in sorted((Path(corpus) / "splits").glob("*.csv")):
        with file.open(encoding="utf-8", newline="") as stream:
            splits[file.stem] = list(csv.DictReader(stream))
    return splits


def rows_of(corpus):
    """All rows by uid."""
    return {row["uid"]: row for rows in read_splits(corpus).values() for row in rows}
