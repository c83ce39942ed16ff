"""Where in each file a model hears what it says: what predict.py --explain writes.

explained/interview.png, interview.json
"""

import re
from collections import Counter
from pathlib import Path

from local.evaluation.flags import MARK
from local.inference.classifier import ClinicalClassifier
from local.report.figures.drawing import save
from local.report.figures.spectrograms import draw_explained
from local.storage.addresses import local_path, output_path
from local.storage.experiment_files import HPARAMS
from local.training.experiment import Experiment
from local.utils.errors import UserError
from local.utils.files import folder_beside, write_json
from local.utils.number_format import number, printable
from local.utils.progress import progress

#: Of a file's name, so that any file system takes what is made of it.
MAX_CHARACTERS = 80


def with_folder(argv: list[str]) -> list[str]:
    """A command line whose --explain names a folder.

    What follows a bare one is a file to be heard.

    >>> with_folder(["--explain", "a.wav"])
    ['--explain=explained', 'a.wav']
    """
    return ["--explain=explained" if text == "--explain" else text for text in argv]


def explain_folder(address: str) -> Path:
    """The folder that is to be made, which is new, or empty.

    address: As on the command line.

    Raises UserError: for anything else, as what lies there is not overwritten, and for
        a place that can't be written.
    """
    folder = local_path(address, "explain")
    if folder.exists() and not (folder.is_dir() and not any(folder.iterdir())):
        what = "a folder with something in it" if folder.is_dir() else "a file"
        raise UserError(
            f"--explain={folder} is {what}, which stays as it is: expected a new or "
            "empty folder. Name another one: --explain=FOLDER."
        )
    if (folder.parent / HPARAMS).exists():
        raise UserError(
            f"--explain={folder} lies in an experiment's folder, whose files stay as "
            "they are: name another one."
        )
    output_path(folder.parent, "explain")  # which it is made in
    return folder


def explain_files(
    experiment: Experiment, predicted: dict, folder: Path, device: str | None = None
):
    """Write a picture and JSON for each recording; all of them, or no folder.

    predicted: As `predict_files.predict_manifest` gives it: `file` is a path.
    folder: As `explain_folder` gives it.
    device: Where to compute; that of the experiment unless given.
    """
    run_opts = {"run_opts": {"device": device}} if device else {}
    model = ClinicalClassifier.of_experiment(experiment, **run_opts)
    recordings = predicted["recordings"]
    names = file_names([recording["file"] for recording in recordings])
    with (
        folder_beside(folder) as partial,
        progress(len(names), "explaining", "file") as step,
    ):
        for name, recording in zip(names, recordings, strict=True):
            _explain(model, recording, partial / name)
            step(1)
        if folder.exists():
            folder.rmdir()
        partial.rename(folder)


def _explain(model, recording, path):
    """Writes ``<path>.png`` and ``<path>.json`` of one recording."""
    file, said = recording["file"], recording["labels"]
    explained = model.explain_file(file)
    labels = {label: said[label] | explained["labels"][label] for label in said}
    explained |= {"labels": labels}
    rate, flagged = model.hparams.sample_rate, model.flagged or ()
    captions = {
        label: _caption(entry) + (f" {MARK}" if label in flagged else "")
        for label, entry in said.items()
    }
    name = printable(str(Path(*Path(file).parts[-2:])))
    if recording["out_of_range"]:
        name += " (out of range)"
    sketch = draw_explained(name, model.load_audio(file), rate, explained, captions)
    save(sketch.figure, path.with_name(f"{path.name}.png"))
    write_json(path.with_name(f"{path.name}.json"), recording | explained)


def _caption(entry):
    """What is said of a whole recording.

    >>> _caption({"probability": 0.876, "threshold": 0.5, "predicted": 1})
    'probability 0.88, threshold 0.50'
    """
    if "score" in entry:
        return f"predicted {number(entry['score'])}"
    threshold = entry["threshold"]
    against = "no threshold" if threshold is None else f"threshold {number(threshold)}"
    return f"probability {number(entry['probability'])}, {against}"


def file_names(paths: list[str]) -> list[str]:
    """A name for each path, without a suffix, that any file system takes.

    Files of one name have their folder's before it; two names don't differ in their
    letters' case alone.

    >>> file_names(["a/one.wav", "b/One.mp3", "b/one.wav", "c/..wav", "d/x y:$.wav"])
    ['a_one', 'b_One', 'b_one_2', 'recording', 'x_y__']
    """
    stems = [Path(path).stem for path in paths]
    counts = Counter(stem.lower() for stem in stems)
    taken, names = set(), []
    for path, stem in zip(map(Path, paths), stems, strict=True):
        if counts[stem.lower()] > 1:
            stem = f"{path.parent.name}_{stem}"
        stem = re.sub(r"[^\w-]", "_", stem)[:MAX_CHARACTERS]
        if not stem.strip("_-"):
            stem = "recording"
        name, n = stem, 1
        while name.lower() in taken:
            n += 1
            name = f"{stem}_{n}"
        taken.add(name.lower())
        names.append(name)
    return names
