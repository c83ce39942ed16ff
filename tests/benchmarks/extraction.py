"""How fast embeddings are extracted, beside two other ways and the machine's limit.

    PYTHONPATH=. python tests/benchmarks/extraction.py [--n_recordings=120]
        [--n_rounds=3] [--memory]

The network of hparams/train.yaml, untrained, over recordings of noise (44.1 kHz wav, 1
to 15 s, 4 s on average). The ways take turns, each in a process of its own:

1. ours, by backend: looking at the recordings, decoding, features, network, file;
2. the original project's: each cut or padded to 10 s, features one by one, batches of
   8;
3. SpeechBrain's: one by one through `EncoderClassifier.encode_batch`.

What takes place once (opening the model, an export) is not in it. The limit is the
arithmetic of SpeechBrain's network for these lengths, at the rate at which this machine
multiplies large matrices, measured in each round. Nothing else should run beside it.
`--memory` compares the peaks of 200 and 2,000 recordings instead.
"""

import argparse
import resource
import statistics
import subprocess
import sys
import tempfile
from functools import partial
from pathlib import Path

import soundfile
import torch
from speechbrain.inference.classifiers import EncoderClassifier
from turns import make_recordings, print_ratio, take_turns

sys.path.insert(0, str(Path(__file__).parents[1]))
from archives import Untrained, archive, merged

from local.audio import loading
from local.inference.engine import Engine
from local.training.brain import ClinicalBrain
from local.utils.yaml_files import load_hparams

ROOT = Path(__file__).parents[2]
MODEL_RATE = 16000
BACKENDS = ("eager", "onnx")


def main():
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--n_recordings", type=int, default=120)
    parser.add_argument("--n_rounds", type=int, default=3)
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
    manifest = make_recordings(folder / "audio", given.n_recordings)
    uids, mean_s = manifest["ID"].tolist(), manifest["duration"].mean()
    print(
        f"{len(uids)} recordings of {mean_s:.1f} s, {torch.get_num_threads()} threads"
    )
    ways = {f"ours, {name}": partial(Ours, folder, uids, name) for name in BACKENDS}
    ways["the original's"] = partial(Original, folder, uids)
    ways["SpeechBrain's"] = partial(Stock, folder, uids)
    ways["matrices"] = Matrices
    taken = take_turns(ways, given.n_rounds)
    n_frames = sum(1 + int(100 * s) for s in manifest["duration"])
    limit_s = operations_per_frame(folder) * n_frames / Matrices.N_OPERATIONS
    taken["the limit"] = [limit_s * s for s in taken.pop("matrices")]
    for name, seconds in taken.items():
        print(f"{name}: {len(uids) / statistics.median(seconds):.1f} recordings/s")
    for name in BACKENDS:
        for other in ("the original's", "SpeechBrain's", "the limit"):
            print_ratio(taken, f"ours, {name}", other)


def hparams_of_the_yaml(folder):
    """Modules and settings of hparams/train.yaml."""
    overrides = {"output_folder": str(folder / "e"), "label_groups": [["a"], ["b"]]}
    return load_hparams(ROOT / "hparams" / "train.yaml", overrides)


class Ours:
    """From the recordings to the file."""

    def __init__(self, folder, uids, backend):
        self.folder, self.uids = folder, uids
        self.hparams = hparams_of_the_yaml(folder)
        brain = ClinicalBrain(
            modules=self.hparams["modules"],
            hparams=self.hparams,
            run_opts={"device": "cpu"},
        )
        self.engine = Engine(brain, backend)
        place = folder / "audio"
        self.experiment = Untrained(folder, brain, self.hparams, place)

    def __call__(self, number):
        """Extract all."""
        del number
        maker, plan = archive(self.experiment, self.uids, self.folder / "e.parquet")
        maker.engine = self.engine
        maker.make_all(plan, (0, 1))
        merged(maker, plan)


class Original(torch.utils.data.Dataset):
    """Features of each recording's first 10 s, one by one; batches of 8."""

    def __init__(self, folder, uids):
        self.folder, self.uids = folder, uids
        self.modules = hparams_of_the_yaml(folder)["modules"]
        self.modules["embedding_model"].eval()

    def __len__(self):
        return len(self.uids)

    def __getitem__(self, i):
        path = self.folder / "audio" / self.uids[i] / "waveform.wav"
        samples, rate = soundfile.read(path, dtype="float32", always_2d=True)
        waveform = loading.resample(torch.from_numpy(samples.T[0]), rate, MODEL_RATE)
        clip = torch.zeros(10 * MODEL_RATE)
        n = min(len(waveform), len(clip))
        clip[:n] = waveform[:n]
        return self.modules["compute_features"](clip[None])[0]

    @torch.no_grad()
    def __call__(self, number):
        """Extract all."""
        del number
        for features in torch.utils.data.DataLoader(self, batch_size=8):
            self.modules["embedding_model"](features).numpy()


class Stock:
    """One by one through SpeechBrain's own inference class."""

    def __init__(self, folder, uids):
        self.files = [str(folder / "audio" / uid / "waveform.wav") for uid in uids]
        self.classifier = EncoderClassifier(
            modules=dict(hparams_of_the_yaml(folder)["modules"]),
            hparams={"label_encoder": None, "sample_rate": MODEL_RATE},
            run_opts={"device": "cpu"},
        )

    @torch.no_grad()
    def __call__(self, number):
        """Extract all."""
        del number
        for file in self.files:
            waveform = self.classifier.load_audio(file)
            self.classifier.encode_batch(waveform[None]).numpy()


class Matrices:
    """Products of large fp32 matrices."""

    SIZE, N_PRODUCTS = 1024, 200
    N_OPERATIONS = 2 * SIZE**3 * N_PRODUCTS

    def __call__(self, number):
        """Compute them."""
        del number
        a, b = torch.randn(2, self.SIZE, self.SIZE)
        for _ in range(self.N_PRODUCTS):
            torch.mm(a, b)


def operations_per_frame(folder):
    """Multiplications and additions of SpeechBrain's network for 10 ms."""
    counted = []

    def count(module, inputs, output):
        del inputs
        counted.append(2 * module.weight.numel() * output.shape[-1])

    network = hparams_of_the_yaml(folder)["modules"]["embedding_model"].eval()
    for module in network.modules():
        if isinstance(module, torch.nn.Conv1d):
            module.register_forward_hook(count)
    with torch.inference_mode():
        network(torch.zeros(1, 1000, 80))
    return sum(counted) / 1000


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
    place = folder / "audio"
    uids = make_recordings(place, 100)["ID"].tolist()
    for i in range(100, n_rows):
        uids.append(f"r{i:04d}")
        (place / uids[-1]).symlink_to(place / uids[i % 100])
    Ours(folder, uids, "eager")(0)
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


if __name__ == "__main__":
    main()
