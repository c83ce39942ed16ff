"""An encoder that was trained before (`pretrained`): does it fit, and its weights.

A source is a folder with `hyperparams.yaml` and `embedding_model.ckpt`, which
SpeechBrain's `EncoderClassifier` and export.py have, or an experiment of this recipe.
"""

import dataclasses
import hashlib
from pathlib import Path

import pandas as pd
import ruamel.yaml
import torch

from local.model.ecapa import ECAPA_TDNN
from local.model.weight_files import read_state_dict
from local.storage.addresses import is_remote, local_path
from local.storage.experiment_files import HPARAMS, MANIFESTS, SAVE
from local.storage.hub import hub_folder, is_hub_id
from local.storage.inputs import Storage, is_of_experiment, told_as
from local.training.checkpoints import AtomicCheckpointer
from local.training.declared import (
    ENCODER,
    SAME_CLASS,
    described,
    differences,
    is_plain,
    option_text,
)
from local.training.scoring import SELECTION
from local.utils.errors import UserError
from local.utils.number_format import counted
from local.utils.yaml_files import small_text

#: The encoder's weights, in a folder and in a checkpoint.
WEIGHTS = "embedding_model.ckpt"

#: Keys of weights of each kind that are named.
MAX_NAMED = 5

EXPECTED = (
    "Expected a folder with hyperparams.yaml and embedding_model.ckpt, as "
    "SpeechBrain's EncoderClassifier reads it or export.py writes it, or an experiment "
    "that train.py made."
)


@dataclasses.dataclass(frozen=True)
class EncoderSource:
    """Where an encoder's weights come from.

    address: As the user gave it.
    folder: Where it can be read.
    weights: The file of the encoder's weights.
    """

    address: str
    folder: Path
    weights: Path

    @property
    def digest(self) -> str:
        """SHA-256 of the weights."""
        with self.weights.open("rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()

    def state_dict(self) -> dict[str, torch.Tensor]:
        """The encoder's weights.

        Raises UserError: if the file holds anything else.
        """
        with told_as(self.address, self.folder):
            return read_state_dict(self.weights, EXPECTED)

    def check_fits(self, text: str, values: dict):
        """Check that the yaml's encoder is the source's and hears what that one heard.

        text: Of the yaml that is trained, its references resolved.
        values: Its plain values; a `sample_rate` of 0 is not compared yet.

        Raises UserError: naming every difference, and what to give.
        """
        theirs, ours = self._described(), described(text)
        if ENCODER not in ours or ours[ENCODER].name not in SAME_CLASS.values():
            raise UserError(
                "pretrained is for yamls whose embedding_model is ECAPA-TDNN, as "
                "hparams/train.yaml: leave it out."
            )
        different = differences(theirs, ours)
        if different:
            options = [
                f"--{name}={option_text(there)}"
                for _, name, there, _ in different
                if name in values and is_plain(there)
            ]
            advice = f" Give {' '.join(options)}" if options else " They differ in"
            raise UserError(
                f"pretrained {self.address} has another encoder, or another input to "
                f"it, than this yaml: its weights would mean nothing here.{advice}:",
                [
                    f"{part}: {name} {option_text(there)} there, {option_text(ours)} "
                    "here"
                    for part, name, there, ours in different
                ],
            )
        self._check_weights(ours[ENCODER])

    def _described(self):
        path = self.folder / HPARAMS
        with told_as(self.address, self.folder):
            try:
                return described(small_text(path))
            except (
                *(OSError, ValueError, TypeError, RecursionError, AttributeError),
                ruamel.yaml.YAMLError,
            ) as error:
                reason = " ".join(str(error).split())
                raise UserError(
                    f"{path} can't be read ({reason}). {EXPECTED}"
                ) from error

    def _check_weights(self, encoder):
        """Hold the weights against those that the encoder has, key by key."""
        found = {key: tuple(value.shape) for key, value in self.state_dict().items()}
        with torch.device("meta"):  # sizes alone, whatever they are
            model = ECAPA_TDNN(
                **{k: v for k, v in encoder.arguments.items() if is_plain(v)}
            )
        expected = {key: tuple(v.shape) for key, v in model.state_dict().items()}
        kinds = {
            "missing": [key for key in expected if key not in found],
            "surplus": [key for key in found if key not in expected],
            "of another shape": [
                f"{key} ({_shape(shape)} expected, {_shape(found[key])} found)"
                for key, shape in expected.items()
                if found.get(key, shape) != shape
            ],
        }
        problems = [_some(kind, keys) for kind, keys in kinds.items() if keys]
        if problems:
            raise UserError(
                f"pretrained {self.address}: {self.weights.name} has not the "
                f"{len(expected)} weights of the ECAPA-TDNN that its {HPARAMS} "
                "describes. All of them are needed, under SpeechBrain's names:",
                problems,
            )

    def check_unseen(self, manifests: dict[str, pd.DataFrame]):
        """Refuse a source that was trained with people who are to test it.

        Subject codes of two corpora may coincide: they only count where a recording of
        the same name and length is in both.

        manifests: Of the new run, by split.

        Raises UserError.
        """
        files = [self.folder / MANIFESTS / f"{split}.csv" for split in SEEN]
        files = [file for file in files if file.is_file()]
        if not files:
            return  # of another program: nobody knows whom it heard
        seen = pd.concat([pd.read_csv(file, dtype=str) for file in files])
        here = pd.concat(list(manifests.values()))
        if not _recordings(seen) & _recordings(here):
            return
        tested = set(manifests["test"]["subject"].astype(str))
        known = tested & set(seen["subject"])
        if known:
            raise UserError(
                f"pretrained {self.address} was trained with {len(known)} of the "
                f"{counted(len(tested), 'subject')} of this test split: the results "
                "would be better than they are for others. Start from an encoder that "
                "has not heard them, as one trained on another corpus."
            )


#: Splits that an experiment learns from, or chooses by.
SEEN = ("train", "valid")


def _recordings(manifest):
    """Name and length, in ms, of each recording."""
    lengths_ms = (1000 * manifest["duration"].astype(float)).round().astype(int)
    return set(zip(manifest["ID"].astype(str), lengths_ms, strict=True))


def find_source(values: dict) -> EncoderSource:
    """What the key `pretrained` names.

    values: Plain values of the yaml.

    Raises UserError: if there is no such source, or no weights are in it.
    """
    address = str(values["pretrained"])
    if is_remote(address):
        folder = Storage.of(values).folder(address.rstrip("/"), _is_wanted)
    elif is_hub_id(address):
        folder = hub_folder(address, "pretrained", (HPARAMS, WEIGHTS))
    else:
        folder = local_path(address, "pretrained")
    if not folder.is_dir():
        raise UserError(f"pretrained {address}: there is no such folder. {EXPECTED}")
    weights = folder / WEIGHTS
    if (folder / SAVE).is_dir():
        checkpointer = AtomicCheckpointer(folder / SAVE)
        with told_as(address, folder):
            best = checkpointer.find_checkpoint(min_key=SELECTION)
        if best is None:
            raise UserError(
                f"pretrained {address} holds no checkpoint (save/CKPT+…): its training "
                "has not finished a first epoch."
            )
        weights = best.path / WEIGHTS
    absent = [
        path.relative_to(folder)
        for path in (folder / HPARAMS, weights)
        if not path.is_file()
    ]
    if absent:
        names = " and no ".join(map(str, absent))
        raise UserError(f"pretrained {address} holds no {names}. {EXPECTED}")
    return EncoderSource(address, folder, weights)


def _is_wanted(name):
    """Whether a file of a bucket's folder is needed, be it an export or experiment."""
    return name == WEIGHTS or is_of_experiment(name)


def _shape(shape):
    return "×".join(map(str, shape)) or "one number"


def _some(kind, keys):
    named = ", ".join(keys[:MAX_NAMED])
    more = f", and {len(keys) - MAX_NAMED} more" if len(keys) > MAX_NAMED else ""
    return f"{counted(len(keys), 'key')} {kind}: {named}{more}"
