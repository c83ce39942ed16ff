"""Writing an exported model: a folder that works without this recipe."""

import contextlib
import copy
import logging
import math
from importlib import metadata
from pathlib import Path

import torch
from speechbrain.dataio.encoder import CategoricalEncoder

from local.data.labels import flatten
from local.inference.classifier import ClinicalClassifier
from local.inference.export.card import write_card
from local.inference.export.check import check_folder, check_onnx
from local.inference.export.onnx_features import NoOnnx
from local.inference.export.onnx_model import OnnxModel, write_onnx
from local.inference.export.package import write_package
from local.inference.export.readme import readme_text
from local.inference.export.yaml_text import (
    KERNEL_HEADS,
    ModelNodes,
    stack_text,
    yaml_text,
)
from local.inference.stacked_heads import stack_heads
from local.model.kernel_heads import KernelHeads
from local.storage.addresses import is_remote
from local.training.experiment import Experiment
from local.utils.errors import RunError, UserError
from local.utils.files import folder_beside, write_json
from local.utils.number_format import printable

logger = logging.getLogger(__name__)

#: What the copied modules import, as packages; torch comes with SpeechBrain.
PACKAGES = (
    *("speechbrain", "torch", "torchaudio", "numpy", "scipy", "soundfile", "soxr"),
    *("av", "librosa"),
)


def export(experiment: Experiment, output_folder: Path):
    """Write an experiment's model to a folder that is complete or not there at all.

    experiment: On the CPU.
    output_folder: Not there, or empty.

    Raises UserError: for features from a file in the place of audio.
    Raises RunError: if what was written does not give what the experiment gives.
    """
    experiment.check_hears()
    model = ClinicalClassifier.of_experiment(experiment, run_opts={"device": "cpu"})
    nodes = ModelNodes(experiment.folder / "hyperparams.yaml")
    with _no_new_parents(output_folder), folder_beside(output_folder) as partial:
        labels = write_folder(partial, experiment, model, nodes)
        difference = check_folder(partial, model, nodes.is_stock)
        logger.info("loaded again: differs by at most %.1e", difference)
        onnx_file = partial / "model.onnx"
        write_and_check_onnx(onnx_file, experiment, model, labels)
        has_onnx = onnx_file.exists()
        text = readme_text(experiment.hparams, nodes.is_stock, has_onnx, model.flagged)
        _write(partial / "README.md", text)
        partial.rename(output_folder)


class _EncodedLabel(str):
    """A label in the encoder's file, where " => " ends it."""

    def __repr__(self):
        return super().__repr__().replace("=>", r"=\x3e")


def write_folder(
    folder: Path, experiment: Experiment, model: ClinicalClassifier, nodes: ModelNodes
) -> list[dict]:
    """Write all but model.onnx and README.md.

    Returns: What labels.json says of each label.
    """
    hparams, modules = experiment.hparams, experiment.brain.modules
    heads, heads_text = _heads(modules)
    save_weights(modules["embedding_model"], folder / "embedding_model.ckpt")
    save_weights(heads, folder / "classifier.ckpt")
    loadables = ["embedding_model", "classifier", "label_encoder"]
    front_end = modules["compute_features"]
    if next(front_end.parameters(), None) is not None:
        save_weights(front_end, folder / "compute_features.ckpt")
        loadables.append("compute_features")
    normalization = modules["mean_var_norm"]
    if getattr(normalization, "norm_type", None) == "global":  # it has learned
        normalization._save(folder / "mean_var_norm.ckpt")
        loadables.append("mean_var_norm")
    encoder = CategoricalEncoder()
    encoder.update_from_iterable(map(_EncodedLabel, model.labels))
    encoder.expect_len(len(model.labels))
    encoder.save(folder / "label_encoder.ckpt")

    points = model.hparams.operating_points
    name = printable(Path(experiment.address).name)  # it stands in a comment's line
    origin = f"{name}, {experiment.checkpoint}"
    decided = {"operating_points": points, "flagged": model.flagged}
    decided["training_range"] = model.hparams.training_range
    text = yaml_text(nodes, hparams | decided, heads_text, loadables, origin)
    _write(folder / "hyperparams.yaml", text)
    write_package(folder)
    groups = "\n".join(",".join(group) for group in hparams["label_groups"])
    _write(folder / "labels.txt", groups + "\n")
    # without "+cpu", which package indexes don't have
    packages = [*PACKAGES, *(["transformers"] if "ssl_source" in hparams else [])]
    versions = [f"{name}=={metadata.version(name).split('+')[0]}" for name in packages]
    _write(folder / "requirements.txt", "\n".join(versions) + "\n")
    labels = describe_labels(hparams, points, model.flagged)
    write_json(folder / "labels.json", {"labels": labels})
    write_card(experiment, folder / "model_card.md")
    return labels


def _heads(modules):
    """The heads as they are exported, and their entry of the yaml."""
    if isinstance(modules["classifier"], KernelHeads):
        heads = copy.deepcopy(modules["classifier"])
        heads.out_of_fold = torch.zeros(0)  # of people, and only for thresholds
        return heads, KERNEL_HEADS
    layers = stack_heads(modules["shared_dense"], modules["classifier"])
    stack = torch.nn.Sequential(*(layer for layer, _ in layers))
    return stack, stack_text(layers)


def save_weights(module, path):
    """Save a module's weights, to be loaded with `weights_only`."""
    torch.save({k: v.cpu() for k, v in module.state_dict().items()}, path)


def describe_labels(
    hparams: dict, points: dict[str, dict], flags: dict[str, list[str]] | None
) -> list[dict]:
    """What labels.json says: all that makes a decision of a logit.

    hparams: Of the experiment.
    points: Its operating points.
    flags: Labels that its audit flags; None: there was no audit.

    Returns: In the order of the logits.
    """
    names = flatten(hparams["label_groups"])
    heads = [i for i, group in enumerate(hparams["label_groups"]) for _ in group]
    ranges = hparams["label_ranges"] or [None] * len(names)
    weights = hparams["positive_weights"] or [1.0] * len(names)
    nothing = {"threshold": None, "calibration": None}
    return [
        {
            "label": name,
            "head": head,
            "output": "score" if bounds else "logit",
            "range": bounds,
            "positive_weight": weight,
            **points.get(name, nothing),
            "flagged": None if flags is None else flags.get(name, []),
        }
        for name, head, bounds, weight in zip(
            names, heads, ranges, weights, strict=True
        )
    ]


def write_and_check_onnx(
    path: Path, experiment: Experiment, model: ClinicalClassifier, labels: list[dict]
):
    """Write model.onnx and compare it; a front end may have none, which is told.

    labels: As `describe_labels` gives them.

    Raises RunError: if it can't be made, or gives something else than PyTorch.
    """
    hparams = experiment.hparams
    try:
        if "ssl_source" in hparams:
            raise NoOnnx(
                "the pretrained encoder reads each recording in pieces of its own "
                "length, which is no graph of a batch; custom.py computes it"
            )
        onnx_model = OnnxModel(
            experiment.brain.modules, hparams["eval_crop"], hparams["shared_dense"]
        )
    except NoOnnx as reason:
        logger.warning("no model.onnx is written: %s", reason)
        return
    about = {
        "sample_rate": hparams["sample_rate"],
        "lengths": "samples of each recording, int64; what lies behind does not count",
        "min_samples": math.ceil(hparams["min_duration"] * hparams["sample_rate"]),
        "labels": labels,
        "checkpoint": experiment.checkpoint,
        "not_for": "diagnosis, triage or any decision about a person",
    }
    logger.info("writing model.onnx, which takes about a minute")
    try:
        write_onnx(onnx_model, hparams["sample_rate"], path, about)
    except Exception as error:  # whatever the exporter may raise
        reason = " ".join(str(error).split())[:300]
        raise RunError(
            f"model.onnx can't be made: {type(error).__name__}: {reason}"
        ) from error
    difference = check_onnx(path, model, onnx_model.output_names)
    logger.info("model.onnx differs by at most %.1e", difference)


def check_output_folder(folder: Path, address: str):
    """Refuse a folder that holds something, or lies among an experiment's checkpoints.

    address: The experiment's.

    Raises UserError.
    """
    if folder.is_symlink() or folder.is_mount():
        raise UserError(  # nothing can take its place
            f"output_folder {folder} is a link or a mount point: give a folder in it."
        )
    if folder.exists() and any(folder.iterdir()):
        raise UserError(
            f"output_folder {folder} is not empty: give one that is not there yet."
        )
    if is_remote(address):
        return
    save_folder = Path(address, "save").resolve()
    if save_folder in [folder.resolve(), *folder.resolve().parents]:
        raise UserError(
            f"output_folder {folder} belongs to the experiment, whose files stay as "
            "they are: give another one."
        )


@contextlib.contextmanager
def _no_new_parents(folder):
    """Remove parents of a folder that were not there, unless it is at the end."""
    new = [parent for parent in folder.parents if not parent.exists()]
    try:
        yield
    finally:
        for parent in new:
            with contextlib.suppress(OSError):  # not empty: all went well
                parent.rmdir()


def _write(path, text):
    path.write_text(text, encoding="utf-8", newline="\n")
