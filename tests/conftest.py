"""Fixtures: a tiny corpus with every part of the contract."""

import csv
import gc
import json
import os
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile

# Collecting makes millions of objects that stay; looking for garbage among them would
# take a quarter of the time.
gc.disable()

#: Processes with this in their environment are measured.
MEASURED = "COVERAGE_PROCESS_CONFIG"

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

RATE = 8000  # Hz
LABELS = [["low", "loud"], ["noisy"]]
SPLITS = {"train": range(8), "val": range(8, 11), "test": range(11, 15)}


def synthesise(low, loud, noisy, seed, duration_s=0.4):
    """A tone with the three properties that the labels name, float32 [time]."""
    generator = np.random.default_rng(seed)
    time_s = np.arange(round(duration_s * RATE)) / RATE
    tone = np.sin(2 * np.pi * (300 if low else 1500) * time_s)
    tone *= 1 + 0.5 * np.sign(np.sin(2 * np.pi * 20 * time_s)) * loud
    noise = generator.standard_normal(len(time_s)) * (0.5 if noisy else 0.01)
    return (0.3 * (tone + noise)).clip(-1, 1).astype("float32")


def write_recording(folder, samples, rate=RATE, **metadata):
    """A UID folder: waveform.wav and metadata.json."""
    folder.mkdir(parents=True)
    soundfile.write(folder / "waveform.wav", samples, rate)
    described = {"encoding": "WAV", "sample_rate_hz": rate, **metadata}
    (folder / "metadata.json").write_text(json.dumps(described))


def write_csv(path, rows):
    """A CSV with the keys of the first row as its header."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, fieldnames=list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


def read_csv(path):
    """The rows of a CSV as dicts of text."""
    with Path(path).open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def user_error(call, *args, **kwargs):
    """The message of a call that the user's input or configuration ends."""
    from local.utils.errors import UserError  # after the path is set

    with pytest.raises(UserError) as raised:
        call(*args, **kwargs)
    return str(raised.value)


def make_corpus(folder, n_per_subject=2):
    """Fifteen subjects, three labels in two heads, one cell not rated."""
    for split, subjects in SPLITS.items():
        rows = []
        for subject in subjects:
            for take in range(n_per_subject):
                seed = 100 * subject + take
                n = subject * n_per_subject + take
                low, loud, noisy = bits = (n % 2, n // 2 % 2, n // 3 % 2)
                uid = f"s{subject:02d}_{take}"
                samples = synthesise(*bits, seed, duration_s=0.3 + 0.1 * (seed % 3))
                write_recording(folder / "audio" / uid, samples)
                rows.append(
                    {
                        "uid": uid,
                        "subject": f"s{subject:02d}",
                        "low": low,
                        "loud": loud,
                        "noisy": noisy,
                        "sex": "fm"[subject % 2],
                    }
                )
        rows[0]["loud"] = ""
        write_csv(folder / "splits" / f"{split}.csv", rows)
    text = "\n".join(",".join(group) for group in LABELS)
    (folder / "labels.txt").write_text(text + "\n")
    return folder


def pytest_collection_modifyitems(items):
    """Modules that start scripts first: the slowest must not be the last."""

    def starts_none(item):
        names = vars(item.module).keys() if hasattr(item, "module") else ()
        starters = {"train", "run_script", "evaluate", "extract", "SMALL"}
        return not starters & set(names)

    items.sort(key=starts_none)


def pytest_collectstart():
    """Hypothesis asks all modules for their file: lazy ones load what isn't there.

    Not above: the process that only hands out the tests need not load SpeechBrain.
    """
    from speechbrain.utils.importutils import LazyModule

    LazyModule.__file__ = None


def pytest_collection_finish():
    """From here on there is garbage."""
    gc.freeze()
    gc.enable()


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_protocol(item):
    """Measure no coverage where a test only repeats what others do."""
    tracer, settings = sys.gettrace(), os.environ.get(MEASURED)
    if settings is None or not item.get_closest_marker("unmeasured"):
        yield
        return
    del os.environ[MEASURED]
    sys.settrace(None)
    yield
    sys.settrace(tracer)
    os.environ[MEASURED] = settings


@pytest.fixture
def corpus(tmp_path):
    """A corpus of its own, to be damaged by the test."""
    return make_corpus(tmp_path / "corpus")


@pytest.fixture(scope="session")
def shared_corpus(tmp_path_factory):
    """A corpus that tests only read."""
    return make_corpus(tmp_path_factory.mktemp("shared") / "corpus")


@pytest.fixture(scope="session")
def shared_experiment(shared_corpus, tmp_path_factory):
    """A small model trained on the shared corpus, which tests only read."""
    from running import succeeded, train  # loads PyTorch: not for every test

    folder = tmp_path_factory.mktemp("shared") / "experiment"
    succeeded(train(shared_corpus, folder))
    return folder
