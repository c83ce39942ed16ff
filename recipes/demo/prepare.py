"""Make the demo corpus: synthetic speech with the five labels of the original.

    python recipes/demo/prepare.py --corpus_folder=DIR [--seed=N]
        [--confound=noise:strained] [--n_subjects=104] [--n_recordings=8] [--n_jobs=N]

The corpus shows that the software works. It is speech from a synthesiser with
simulated severities and raters: nothing that is measured on it says anything about
patients. The same seed and versions give the same decoded audio, bit for bit.
"""

import importlib.util
import json
import logging
import multiprocessing
import os
import shutil
import signal
import sys
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from local.utils.errors import UserError  # noqa: E402
from local.utils.files import folder_beside, write_json  # noqa: E402
from local.utils.progress import progress  # noqa: E402
from local.utils.usage import Parser  # noqa: E402
from recipes.corpus import exit_status, write_rows  # noqa: E402
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
    return exit_status(lambda: prepare(*parse_arguments(arguments)))


def prepare(folder: Path, settings: dict, n_jobs: int):
    """Make the corpus unless it is there; print its references.

    folder, settings, n_jobs: As `parse_arguments` gives them.
    """
    if is_finished(folder, settings):
        print(f"{folder} is complete, with these settings: nothing to do.")
    else:
        make_corpus(folder, settings, n_jobs)
    print_reference(json.loads((folder / "ceiling.json").read_text("utf-8")))
    print(NOT_CLINICAL)


def parse_arguments(arguments):
    """Read the command line into folder, settings and number of processes."""
    parser = Parser(description=(__doc__ or "").split("\n")[0])
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
    content = "no corpus made by this script"
    if (folder / SETTINGS_FILE).is_file():
        try:
            content = json.loads((folder / SETTINGS_FILE).read_text("utf-8"))
        except ValueError:
            content = f"a {SETTINGS_FILE} that can't be read"
        if content == settings:
            return True
    raise UserError(
        f"{folder} is not empty and would have to be overwritten.\n"
        f"Expected: an empty or new folder, or a corpus with {settings}\n"
        f"Found: {content}\n"
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
    """Write splits, labels, severities, places of breakdowns, ceiling, settings."""
    # Imported here: this file is read by every process, and scikit-learn is slow.
    from recipes.demo.reference import reference

    split_of = {subject.name: subject.split for subject in subjects}
    splits = {name: [] for name in ("train", "val", "test")}
    for row in rows:
        splits[split_of[row["subject"]]].append(row)
    measured = ("severities", "breakdowns", "duration_s", "pause_share", "n_pauses")
    for split, split_rows in splits.items():
        write_rows(
            folder / "splits" / f"{split}.csv",
            [
                {name: cell for name, cell in row.items() if name not in measured}
                for row in split_rows
            ],
        )
    write_rows(
        folder / "severities.csv",
        [
            {"uid": row["uid"]}
            | {label: round(row["severities"][label], 3) for label in LABELS}
            for row in rows
        ],
    )
    write_rows(
        folder / "breakdowns.csv",
        [
            {"uid": row["uid"], "start_s": round(start_s, 3), "end_s": round(end_s, 3)}
            for row in rows
            for start_s, end_s in row["breakdowns"]
        ],
        columns=("uid", "start_s", "end_s"),
    )
    shutil.copyfile(LABELS_FILE, folder / "labels.txt")
    write_json(folder / "ceiling.json", reference(splits))
    write_json(folder / SETTINGS_FILE, settings)


def print_reference(references):
    """Print ceiling and baseline of every label and their mean."""
    print(f"\n{'AUROC on the test split':28} ceiling  duration and pauses only")
    for name, values in [*references["labels"].items(), ("macro", references["macro"])]:
        shown = [
            "   –   " if values[kind] is None else f"{values[kind]:7.3f}"
            for kind in ("ceiling", "baseline")
        ]
        print(f"{name:28} {shown[0]}  {shown[1]}")
    print()


if __name__ == "__main__":
    sys.exit(main())
