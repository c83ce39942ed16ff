"""Make the demo corpus: synthetic speech with the five labels of the original.

    python recipes/demo/prepare.py --corpus_folder=DIR [--seed=N]
        [--confound=noise:strained] [--n_subjects=104] [--n_recordings=8] [--n_jobs=N]

The corpus shows that the software works. It is speech from a synthesiser with
simulated severities and raters: nothing that is measured on it says anything about
patients. The same seed and versions give the same decoded audio, bit for bit.
"""

import argparse
import csv
import importlib.util
import json
import logging
import multiprocessing
import os
import shutil
import signal
import sys
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from local.utils.errors import UserError  # noqa: E402
from local.utils.files import folder_beside  # noqa: E402
from local.utils.progress import progress  # noqa: E402
from recipes.demo.cohort import LABELS, draw_cohort  # noqa: E402
from recipes.demo.raters import draw_panel  # noqa: E402

LABELS_FILE = Path(__file__).with_name("labels.txt")
SETTINGS_FILE = "settings.json"

#: Changes when the same settings would give other audio or labels.
VERSION = 2

#: Subjects that one process synthesises: fixed, so that what a subject sounds like
#: does not depend on how many processes there are (see recipes.demo.synthesis).
BLOCK_SIZE = 13

NOT_CLINICAL = (
    "This is synthetic speech with simulated ratings. It shows that the software "
    "works; it says nothing about patients."
)


def main(arguments=None):
    """Run the command line; returns the exit status."""
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stdout)
    try:
        folder, settings, n_jobs = parse_arguments(arguments)
        if is_finished(folder, settings):
            print(f"{folder} is complete, with these settings: nothing to do.")
        else:
            make_corpus(folder, settings, n_jobs)
        print_reference(json.loads((folder / "ceiling.json").read_text("utf-8")))
        print(NOT_CLINICAL)
    except UserError as error:
        print(error, file=sys.stderr)
        return 2
    except (OSError, BrokenProcessPool) as error:
        print(f"The demo corpus could not be made: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("Stopped; nothing was left behind.", file=sys.stderr)
        return 130
    return 0


def parse_arguments(arguments):
    """Read the command line into folder, settings and number of processes."""
    parser = argparse.ArgumentParser(
        description=(__doc__ or "").split("\n")[0], allow_abbrev=False
    )
    parser.add_argument("--corpus_folder", type=Path, required=True)
    parser.add_argument("--seed", type=int, default=1986)
    parser.add_argument("--n_subjects", type=int, default=104)
    parser.add_argument("--n_recordings", type=int, default=8, help="per subject")
    parser.add_argument("--confound", help="noise:LABEL ties the noise to a label")
    parser.add_argument("--n_jobs", type=int, default=os.cpu_count() or 1)
    given = parser.parse_args(arguments)
    problems = []
    if given.n_subjects < 6:
        problems.append(f"n_subjects is {given.n_subjects}, but at least 6 are needed")
    if given.n_recordings < 1 or given.n_jobs < 1 or given.seed < 0:
        problems.append("n_recordings and n_jobs start at 1, seed at 0")
    factor, _, label = (given.confound or "noise:").partition(":")
    if factor != "noise" or (given.confound and label not in LABELS):
        problems.append(
            f"confound is {given.confound!r}, but noise:LABEL was expected, with "
            f"LABEL one of {', '.join(LABELS)}"
        )
    if importlib.util.find_spec("parselmouth") is None:
        problems.append("praat-parselmouth is missing: pip install praat-parselmouth")
    if problems:
        raise UserError("The demo corpus can't be made:", problems)
    settings = {
        "version": VERSION,
        "seed": given.seed,
        "n_subjects": given.n_subjects,
        "n_recordings": given.n_recordings,
        "confound": label or None,
    }
    return given.corpus_folder, settings, given.n_jobs


def is_finished(folder, settings):
    """Whether the corpus is there already; an error if something else is."""
    if not folder.exists() or (folder.is_dir() and not any(folder.iterdir())):
        return False
    found = "no corpus made by this script"
    if (folder / SETTINGS_FILE).is_file():
        try:
            found = json.loads((folder / SETTINGS_FILE).read_text("utf-8"))
        except ValueError:
            found = f"a {SETTINGS_FILE} that can't be read"
        if found == settings:
            return True
    raise UserError(
        f"{folder} is not empty and would have to be overwritten.\n"
        f"Expected: an empty or new folder, or a corpus with {settings}\n"
        f"Found: {found}\n"
        "Name another --corpus_folder, or remove this one."
    )


def make_corpus(folder: Path, settings: dict, n_jobs: int):
    """Make the corpus in a folder beside its own and rename that when it is whole.

    folder: The corpus, which does not exist yet or is empty.
    settings: seed, n_subjects, n_recordings, confound.
    n_jobs: How many processes synthesise at the same time.
    """
    with folder_beside(folder) as partial:
        subjects, rows = synthesise(partial / "audio", settings, n_jobs)
        write_tables(partial, subjects, rows, settings)
        partial.rename(folder)


def synthesise(audio_folder, settings, n_jobs):
    """Draw the cohort and make all recordings; returns subjects and their rows."""
    from recipes.demo.record import record_block

    # not VERSION: subjects and labels stay when the audio becomes another
    rng = np.random.default_rng([settings["seed"], 1])
    panel = draw_panel(rng)
    subjects = draw_cohort(settings["n_subjects"], rng)
    blocks = [
        (subjects[start : start + BLOCK_SIZE], panel, settings, audio_folder)
        for start in range(0, len(subjects), BLOCK_SIZE)
    ]
    # Matrices are tiny here: threads inside a process would only wait for each other.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    rows = []
    with (
        progress(len(subjects), "synthesising", "subject") as step,
        ProcessPoolExecutor(
            max_workers=n_jobs,
            mp_context=multiprocessing.get_context("spawn"),
            max_tasks_per_child=1,
            initializer=_leave_interrupts_to_the_parent,
        ) as pool,
    ):
        for block, block_rows in zip(
            blocks, pool.map(record_block, blocks), strict=True
        ):
            rows += block_rows
            step(len(block[0]))
    return subjects, rows


def _leave_interrupts_to_the_parent():
    """Let Ctrl-C stop the whole with one message, not with one per process."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def write_tables(folder, subjects, rows, settings):
    """Write splits, labels.txt, severities.csv, ceiling.json and the settings."""
    # Imported here: this file is read by every process, and scikit-learn is slow.
    from recipes.demo.reference import reference

    split_of = {subject.name: subject.split for subject in subjects}
    splits = {name: [] for name in ("train", "val", "test")}
    for row in rows:
        splits[split_of[row["subject"]]].append(row)
    measured = ("severities", "duration_s", "pause_share", "n_pauses")
    (folder / "splits").mkdir()
    for split, split_rows in splits.items():
        columns = [name for name in split_rows[0] if name not in measured]
        _write_csv(folder / "splits" / f"{split}.csv", columns, split_rows)
    _write_csv(
        folder / "severities.csv",
        ["uid", *LABELS],
        [
            {"uid": row["uid"]}
            | {label: round(value, 3) for label, value in row["severities"].items()}
            for row in rows
        ],
    )
    shutil.copyfile(LABELS_FILE, folder / "labels.txt")
    _write_json(folder / "ceiling.json", reference(splits))
    _write_json(folder / SETTINGS_FILE, settings)


def print_reference(found):
    """Print ceiling and baseline of every label and their mean."""
    print(f"\n{'AUROC on the test split':28} ceiling  duration and pauses only")
    for name, values in [*found["labels"].items(), ("macro", found["macro"])]:
        shown = [
            "   –   " if values[kind] is None else f"{values[kind]:7.3f}"
            for kind in ("ceiling", "baseline")
        ]
        print(f"{name:28} {shown[0]}  {shown[1]}")
    print()


def _write_csv(path, columns, rows):
    """Write some columns of rows (dicts)."""
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, columns, extrasaction="ignore")
        writer.writeheader()
        writer.writerows(rows)


def _write_json(path, content):
    """Write indented JSON."""
    path.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())
