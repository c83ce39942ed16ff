"""How fast embeddings are extracted, beside two other ways and the machine's limit.

    PYTHONPATH=. python tests/benchmarks/extraction.py [--n_recordings=120]
        [--n_rounds=3] [--backends eager onnx] [--memory]

The network of hparams/train.yaml, untrained, over recordings of noise (44.1 kHz wav, 1
to 15 s, 4 s on average), all in one process, one way after the other in each round:

1. ours: looking at the recordings, decoding, features, network, file;
2. the original project's: each cut or padded to 10 s, features one by one, batches of
   8;
3. SpeechBrain's: one by one through `EncoderClassifier.encode_batch`.

What takes place once (opening the model, an export) is not in it, and is printed
beside. The limit is the network's arithmetic for these lengths, at the rate at which
this machine multiplies large matrices. `--memory` compares peaks of 200 and 2,000
recordings instead.
"""

import argparse
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd
import soundfile
import torch
from speechbrain.inference.classifiers import EncoderClassifier

from local import audio, embeddings
from local.brain import ClinicalBrain
from local.bulk import Parts, extract_parts
from local.config import load_hparams
from local.engine import Engine
from local.manifests import build_manifest
from local.recordings import FolderRecordings
from local.windows import split_long

ROOT = Path(__file__).parents[2]
RATE, MODEL_RATE = 44100, 16000
PT = embeddings.EmbeddingKind("pt")


def main():
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--n_recordings", type=int, default=120)
    parser.add_argument("--n_rounds", type=int, default=3)
    parser.add_argument("--backends", nargs="+", default=["eager", "onnx"])
    parser.add_argument("--memory", action="store_true")
    parser.add_argument("--peak_of", type=int, help="rows; what --memory runs twice")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        if given.memory:
            print_memory()
        elif given.peak_of:
            print(peak_mb(folder, given.peak_of))
        else:
            print_speed(folder, given)


def print_speed(folder, given):
    """Print recordings per second of each way, and ratios."""
    uids = make_recordings(folder, given.n_recordings)
    brain = untrained(folder)
    ways = {}
    for backend in given.backends:
        begin = time.perf_counter()
        engine = Engine(brain, backend)
        print(f"ours, {backend}: {time.perf_counter() - begin:.1f} s to get ready")
        ways[f"ours, {backend}"] = lambda engine=engine: ours(folder, uids, engine)
    ways["the original's"] = lambda: original(folder, uids, brain)
    ways["SpeechBrain's"] = lambda: stock(folder, uids, brain)
    ways["the limit"] = lambda: limit(folder, uids, brain)
    seconds = {name: [] for name in ways}
    for number in range(given.n_rounds + 1):
        for name, way in ways.items():
            begin = time.perf_counter()
            took = way()
            took = time.perf_counter() - begin if took is None else took
            if number:  # the first round warms up
                seconds[name].append(took)
    for name, of in seconds.items():
        rate = given.n_recordings / statistics.median(of)
        print(f"{name}: {rate:.1f} recordings/s")
    for name in list(ways)[: len(given.backends)]:
        for other in list(ways)[len(given.backends) :]:
            ratios = sorted(
                b / a for a, b in zip(seconds[name], seconds[other], strict=True)
            )
            middle = statistics.median(ratios)
            text = f"{middle:.2f} ({ratios[0]:.2f} to {ratios[-1]:.2f})"
            print(f"{name}: {text} times as fast as {other}")


def make_recordings(folder, n):
    """Write n recordings and give their uids."""
    generator = np.random.default_rng(1)
    durations = np.clip(generator.lognormal(np.log(3.4), 0.6, n), 1, 15)
    uids = [f"r{i:04d}" for i in range(n)]
    for uid, duration in zip(uids, durations, strict=True):
        place = folder / "audio" / uid
        place.mkdir(parents=True)
        samples = 0.1 * generator.standard_normal(round(duration * RATE))
        soundfile.write(place / "waveform.wav", samples, RATE)
        (place / "metadata.json").write_text('{"encoding": "WAV"}')
    print(f"{n} recordings, {durations.mean():.1f} s on average")
    return uids


def untrained(folder):
    """A brain with the modules of hparams/train.yaml."""
    overrides = {
        "output_folder": str(folder / "e"),
        "label_groups": [["a"], ["b"]],
    }
    hparams = load_hparams(ROOT / "hparams" / "train.yaml", overrides)
    brain = ClinicalBrain(
        modules=hparams["modules"],
        hparams=hparams,
        run_opts={"device": "cpu"},
        checkpointer=hparams["checkpointer"],
    )
    brain.values = hparams
    brain.modules.eval()
    return brain


def ours(folder, uids, engine):
    """From the recordings to the file."""
    table = pd.DataFrame({"uid": uids, "audio": uids})
    table = table.assign(start_s="", end_s="", channel="")
    recordings, values = FolderRecordings(folder / "audio"), engine.brain.values
    manifest, failed = build_manifest(table, None, recordings, values, [], "inspecting")
    assert not failed
    windows = split_long(manifest, values["max_duration"], values["window_overlap"])
    parts = Parts(folder / "e.parquet", uids, 192, {}, "")
    extract_parts(parts, engine, PT, windows, recordings, values)
    parts.merge()


class TenSeconds(torch.utils.data.Dataset):
    """Features of each recording's first 10 s, as the original project's dataset."""

    def __init__(self, folder, uids, brain):
        self.folder, self.uids, self.modules = folder, uids, brain.modules

    def __len__(self):
        return len(self.uids)

    def __getitem__(self, i):
        path = self.folder / "audio" / self.uids[i] / "waveform.wav"
        samples, rate = soundfile.read(path, dtype="float32", always_2d=True)
        waveform = audio.resample(torch.from_numpy(samples.T[0]), rate, MODEL_RATE)
        clip = torch.zeros(10 * MODEL_RATE)
        n = min(len(waveform), len(clip))
        clip[:n] = waveform[:n]
        return self.modules["compute_features"](clip[None])[0]


@torch.no_grad()
def original(folder, uids, brain):
    """Batches of 8, all padded to 10 s."""
    loader = torch.utils.data.DataLoader(TenSeconds(folder, uids, brain), batch_size=8)
    for features in loader:
        brain.modules["embedding_model"](features).numpy()


def stock(folder, uids, brain):
    """One by one through SpeechBrain's own inference class."""
    classifier = EncoderClassifier(
        modules=dict(brain.modules),
        hparams={"label_encoder": None, "sample_rate": MODEL_RATE},
        run_opts={"device": "cpu"},
    )
    for uid in uids:
        waveform = classifier.load_audio(str(folder / "audio" / uid / "waveform.wav"))
        with torch.no_grad():
            classifier.encode_batch(waveform[None]).numpy()


def limit(folder, uids, brain):
    """Seconds that the network's multiplications would take at the machine's rate."""
    counted = []
    convolutions = [
        module
        for module in brain.modules["embedding_model"].modules()
        if isinstance(module, torch.nn.Conv1d)
    ]
    hooks = [
        module.register_forward_hook(
            lambda module, _, out: counted.append(
                2 * module.weight.numel() * out.shape[-1]
            )
        )
        for module in convolutions
    ]
    n_frames = 0
    for uid in uids:
        info = soundfile.info(folder / "audio" / uid / "waveform.wav")
        n_frames += 1 + int(info.duration * 100)
    with torch.inference_mode():
        brain.modules["embedding_model"](torch.zeros(1, 1000, 80))
    for hook in hooks:
        hook.remove()
    return sum(counted) / 1000 * n_frames / matrix_rate()


def matrix_rate():
    """fp32 operations per second of a large matrix product, the best of some."""
    rates = []
    for n in (1024, 2048):
        a, b = torch.randn(n, n), torch.randn(n, n)
        for _ in range(8):
            begin = time.perf_counter()
            torch.mm(a, b)
            rates.append(2 * n**3 / (time.perf_counter() - begin))
    return max(rates)


def print_memory():
    """Print the peaks of two runs and their ratio."""
    peaks = []
    for n in (200, 2000):
        command = [sys.executable, __file__, f"--peak_of={n}"]
        result = subprocess.run(command, capture_output=True, text=True, check=True)
        peaks.append(float(result.stdout.splitlines()[-1]))
        print(f"{n} recordings: peak memory {peaks[-1]:.0f} MB")
    print(f"ratio {peaks[1] / peaks[0]:.2f}")


def peak_mb(folder, n_rows):
    """The peak memory of extracting n rows, of 100 recordings again and again."""
    make_recordings(folder, 100)
    for i in range(100, n_rows):
        (folder / "audio" / f"r{i:04d}").symlink_to(
            folder / "audio" / f"r{i % 100:04d}"
        )
    uids = [f"r{i:04d}" for i in range(n_rows)]
    ours(folder, uids, Engine(untrained(folder)))
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


if __name__ == "__main__":
    main()
