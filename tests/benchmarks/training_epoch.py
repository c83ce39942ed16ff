"""How long an epoch of training takes, beside the way of the original script.

    PYTHONPATH=. OMP_NUM_THREADS=2 python tests/benchmarks/training_epoch.py

Makes 120 recordings (44.1 kHz, 1 to 15 s, 4 s on average) and trains on them with the
network and optimiser of hparams/train.yaml, each epoch in one process:

- original: every recording cut or padded to 10 s, decoded anew, its features computed
  on its own where a dataset gives items, batches of 8 in random order;
- here: recordings at their own length (10 s at most), similar ones in a batch, features
  of the batch.

Each is a process of its own, and they take turns; nothing else should run beside them.
The first round warms up. A round takes some minutes on two CPU cores, with
`--n_recordings=48` a third of that. `--compile` adds a way: what train.py's `--compile`
brings, whose first round takes many minutes.
"""

import argparse
import tempfile
from functools import partial
from pathlib import Path

import numpy as np
import torch
from speechbrain import Stage
from speechbrain.dataio.dataloader import make_dataloader
from speechbrain.utils.run_opts import RunOptions
from turns import make_recordings, print_ratio, take_turns

from local.audio import loading
from local.data import dataset as dataio
from local.data.recordings import FolderRecordings
from local.data.samplers import training_lengths
from local.model import heads
from local.model.legacy_front_end import OriginalClip
from local.training import fit
from local.utils.memory import keep_freed_memory
from local.utils.yaml_files import load_hparams

YAML = Path(__file__).parents[2] / "hparams" / "train.yaml"
NETWORKS = "local.model.ecapa", "speechbrain.lobes.models.ECAPA_TDNN"
LABELS = ["a", "b", "c", "d", "e"]


def make_corpus(folder, n_recordings):
    """Recordings with random labels; their manifest."""
    manifest = make_recordings(folder, n_recordings)
    targets = np.random.default_rng(1).integers(0, 2, (n_recordings, len(LABELS)))
    return manifest.assign(**dict(zip(LABELS, targets.T.astype(float), strict=True)))


def new_brain(folder, overrides=None, yaml=YAML, **run_opts):
    """The network of the yaml with its optimiser, untrained."""
    needed = {"output_folder": str(folder / "out"), "label_groups": [LABELS]}
    hparams = load_hparams(yaml, needed | (overrides or {}))
    keys = ("compile_module_keys", "compile_using_dynamic_shape_tracing")
    run_opts |= {key: hparams[key] for key in keys}
    brain = fit.build_brain(
        {**hparams, "checkpointer": None}, RunOptions.from_dictionary(run_opts)
    )
    brain._compile()  # as `fit` does
    brain.n_train_batches = 1
    brain.init_optimizers()
    brain.modules.train()
    return brain, hparams


class Here:
    """Epochs as train.py runs them."""

    def __init__(self, folder, manifest, **run_opts):
        keep_freed_memory()
        self.brain, hparams = new_brain(folder, **run_opts)
        loader_kwargs = hparams["train_batches"].loader_kwargs(manifest)
        self.batches = loader_kwargs["batch_sampler"]
        dataset = dataio.build_dataset(
            manifest,
            LABELS,
            FolderRecordings(folder / "audio"),
            hparams["audio"],
            hparams["train_crop"],
        )
        self.loader = make_dataloader(dataset, **loader_kwargs)

    def __call__(self, number):
        """Train for an epoch."""
        self.batches.set_epoch(number)
        self.brain.on_stage_start(Stage.TRAIN, number)
        for batch in self.loader:
            self.brain.step += 1
            self.brain.fit_batch(batch)


class OriginalDataset(torch.utils.data.Dataset):
    """Features and targets of a recording, all made when it is asked for."""

    def __init__(self, folder, manifest, front_end, clip):
        self.folder, self.front_end, self.clip = folder, front_end, clip
        self.names = manifest["recording"].tolist()
        self.targets = torch.tensor(manifest[LABELS].to_numpy(), dtype=torch.float32)

    def __len__(self):
        return len(self.names)

    def __getitem__(self, i):
        files = loading.recording_files(self.folder / self.names[i])
        waveform = loading.load_recording(
            files, loading.read_metadata(files), loading.AudioFormat()
        )
        waveform = self.clip(waveform, self.names[i])
        return self.front_end(waveform.unsqueeze(0)).squeeze(0), self.targets[i]


class Original:
    """Epochs as the original script runs them, with the same network."""

    def __init__(self, folder, manifest):
        # SpeechBrain's network as it is
        text = YAML.read_text().replace(*NETWORKS)
        yaml = folder / "original.yaml"
        yaml.write_text(text)
        self.brain, hparams = new_brain(folder, yaml=yaml)
        clip = OriginalClip(hparams["clip_length"], hparams["sample_rate"])
        front_end = hparams["compute_features"]
        dataset = OriginalDataset(folder / "audio", manifest, front_end, clip)
        self.loader = torch.utils.data.DataLoader(
            dataset, batch_size=hparams["batch_size"], shuffle=True
        )
        self.normalise, self.loss = hparams["mean_var_norm"], hparams["compute_loss"]

    def __call__(self, number):
        """Train for an epoch."""
        for features, targets in self.loader:
            lengths = torch.ones(len(features))
            features = self.normalise(features, lengths)
            outputs = heads.classify(self.brain.modules, features, lengths)
            self.loss(outputs.logits, targets).backward()
            self.brain.optimizers_step()


def computed_s(manifest, batches, clip_length):
    """Seconds of audio and padding that an epoch computes: here, in the original."""
    lengths = training_lengths(manifest["duration"], clip_length)
    here = sum(len(batch) * lengths[batch].max() for batch in batches)
    return here, clip_length * len(manifest), lengths.sum()


def main():
    """Time them, taking turns, and print ratios."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--n_recordings", type=int, default=120)
    parser.add_argument("--compile", action="store_true")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        manifest = make_corpus(folder / "audio", options.n_recordings)
        batches = Here(folder, manifest).batches
        padded, original, real = computed_s(manifest, batches, clip_length=10)
        print(
            f"{len(manifest)} recordings, {torch.get_num_threads()} threads. Audio: "
            f"{real:.0f} s; with padding {padded:.0f} s here, {original:.0f} s in the "
            f"original, a ratio of {original / padded:.2f}"
        )
        ways = {
            "the original": partial(Original, folder, manifest),
            "here": partial(Here, folder, manifest),
        }
        if options.compile:
            ways["here, compiled"] = partial(Here, folder, manifest, compile=True)
        taken = take_turns(ways, options.rounds)
    print_ratio(taken, "here", "the original")
    if options.compile:
        print_ratio(taken, "here, compiled", "here")


if __name__ == "__main__":
    main()
