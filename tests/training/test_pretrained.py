"""training.pretrained: an encoder that was trained before."""

import hashlib
import json
import shutil
import socket

import pandas as pd
import pytest
import torch
from conftest import user_error
from running import SMALL, Started, failed, succeeded, train, weights
from speechbrain.inference.classifiers import EncoderClassifier
from speechbrain.lobes.models.ECAPA_TDNN import ECAPA_TDNN, Classifier

import export
from local.inference.export import folder as export_folder
from local.storage import hub
from local.training.pretrained import WEIGHTS, find_source
from local.training.settings import check_numbers
from local.utils.yaml_files import parse_value, plain_values, resolved_yaml

pytest_plugins = ["gcs_server"]

#: As SpeechBrain's speaker models have it, but small.
SPEAKER_MODEL = """\
n_mels: 20
sample_rate: 8000
compute_features: !new:speechbrain.lobes.features.Fbank
    sample_rate: !ref <sample_rate>
    n_mels: !ref <n_mels>
    left_frames: 0
    right_frames: 0
mean_var_norm: !new:speechbrain.processing.features.InputNormalization
    norm_type: sentence
    std_norm: False
embedding_model: !new:speechbrain.lobes.models.ECAPA_TDNN.ECAPA_TDNN
    input_size: !ref <n_mels>
    channels: [16, 16, 16, 16, 48]
    kernel_sizes: [5, 3, 3, 3, 1]
    dilations: [1, 2, 3, 4, 1]
    attention_channels: 8
    lin_neurons: 12
classifier: !new:speechbrain.lobes.models.ECAPA_TDNN.Classifier
    input_size: 12
    out_neurons: 7
mean_var_norm_emb: !new:speechbrain.processing.features.InputNormalization
    norm_type: global
    std_norm: False
modules:
    compute_features: !ref <compute_features>
    mean_var_norm: !ref <mean_var_norm>
    embedding_model: !ref <embedding_model>
    mean_var_norm_emb: !ref <mean_var_norm_emb>
    classifier: !ref <classifier>
label_encoder: !new:speechbrain.dataio.encoder.CategoricalEncoder
pretrainer: !new:speechbrain.utils.parameter_transfer.Pretrainer
    loadables:
        embedding_model: !ref <embedding_model>
        classifier: !ref <classifier>
"""


@pytest.fixture
def speaker_model(tmp_path):
    """A folder with random weights that SpeechBrain's EncoderClassifier reads."""
    folder = tmp_path / "speaker_model"
    folder.mkdir()
    (folder / "hyperparams.yaml").write_text(SPEAKER_MODEL)
    torch.manual_seed(0)
    encoder = ECAPA_TDNN(
        20, channels=[16, 16, 16, 16, 48], attention_channels=8, lin_neurons=12
    )
    torch.save(encoder.state_dict(), folder / WEIGHTS)
    torch.save(Classifier(12, out_neurons=7).state_dict(), folder / "classifier.ckpt")
    return folder


def settings(source, yaml="train.yaml", **others):
    """The text and the values of a training yaml for the small model."""
    given = [option.removeprefix("--").split("=") for option in SMALL]
    overrides = {key: parse_value(value) for key, value in given if key != "device"}
    overrides |= {"pretrained": str(source), **others}
    return [
        read(f"hparams/{yaml}", overrides) for read in (resolved_yaml, plain_values)
    ]


def check(source, **others):
    """Whether a source fits, as training asks before it prepares the data."""
    text, values = settings(source, **others)
    find_source(values).check_fits(text, values)


def encoder(folder):
    return {key[1]: value for key, value in weights(folder).items() if "emb" in key[0]}


def same(state, other):
    return state.keys() == other.keys() and all(
        torch.equal(state[key], other[key]) for key in state
    )


# What is a source


def test_a_folder_that_encoder_classifier_reads(speaker_model, tmp_path, shared_corpus):
    """Frozen for its only epoch the encoder is the source's, statistics included."""
    EncoderClassifier.from_hparams(source=str(speaker_model), savedir=speaker_model)
    options = (f"--pretrained={speaker_model}", "--number_of_epochs=1")
    out = tmp_path / "out"
    succeeded(train(shared_corpus, out, *options, "--freeze_epochs=1"))
    source = torch.load(speaker_model / WEIGHTS, weights_only=True)
    assert same(encoder(out), source)
    digest = hashlib.sha256((speaker_model / WEIGHTS).read_bytes()).hexdigest()
    saved = plain_values(out / "hyperparams.yaml")
    assert saved["pretrained_digest"] == digest
    assert saved["pretrained"] == str(speaker_model)
    assert f"starts from {speaker_model.name} (" in (out / "log.txt").read_text()
    succeeded(train(shared_corpus, tmp_path / "b", *options))
    assert not same(encoder(tmp_path / "b"), source)


def test_heads_are_those_of_a_run_from_scratch(speaker_model, tmp_path, shared_corpus):
    """The source's weights take no random number from what is drawn after them."""
    options = ("--number_of_epochs=1", "--lr=0", "--weight_decay=0")
    for name, given in (("a", ()), ("b", (f"--pretrained={speaker_model}",))):
        succeeded(train(shared_corpus, tmp_path / name, *options, *given))
    heads = [
        {
            key[1]: value
            for key, value in weights(tmp_path / name).items()
            if "cl" in key[0]
        }
        for name in "ab"
    ]
    assert same(*heads)


def test_the_best_checkpoint_of_an_experiment(shared_experiment, tmp_path):
    check(shared_experiment)
    source = find_source({"pretrained": str(shared_experiment)})
    shutil.copytree(shared_experiment, tmp_path / "copy")
    (best,) = (tmp_path / "copy" / "save").glob(source.weights.parent.name)
    better = best.rename(best.with_name("CKPT+better"))
    shutil.copytree(better, best)  # and two that are worse, the newest among them
    for worse in (best, best.with_name("CKPT+newest")):
        shutil.copytree(better, worse, dirs_exist_ok=True)
        text = (worse / "CKPT.yaml").read_text()
        (worse / "CKPT.yaml").write_text(
            "\n".join(
                "selection: 9.0" if line.startswith("selection") else line
                for line in text.splitlines()
            )
        )
    found = find_source({"pretrained": str(tmp_path / "copy")})
    assert found.weights.parent.name == "CKPT+better"


def test_an_export(shared_experiment, tmp_path, monkeypatch):
    monkeypatch.setattr(export_folder, "write_and_check_onnx", lambda *_: None)
    monkeypatch.setattr(export_folder, "check_folder", lambda *_: 0.0)
    folder = tmp_path / "export"
    export.main(
        [f"--experiment_folder={shared_experiment}", f"--output_folder={folder}"]
    )
    check(folder)
    exported, expected = (
        find_source({"pretrained": str(source)}).state_dict()
        for source in (folder, shared_experiment)
    )
    assert same(exported, expected)


def test_a_folder_in_a_bucket(gcs, speaker_model, tmp_path):
    gcs.put("hospital", speaker_model, "models/speaker")
    values = {
        "pretrained": "gs://hospital/models/speaker/",
        "audio_cache": str(tmp_path / "cache"),
    }
    source = find_source(values)
    assert source.weights.read_bytes() == (speaker_model / WEIGHTS).read_bytes()
    check(values["pretrained"], audio_cache=values["audio_cache"])
    message = user_error(find_source, values | {"pretrained": "gs://hospital/none"})
    assert "pretrained gs://hospital/none: there is no such folder" in message


def test_an_id_of_the_hub(speaker_model, tmp_path, monkeypatch):
    """From its cache; what is not there is not asked over the network."""
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    message = user_error(find_source, {"pretrained": "speechbrain/spkrec"})
    assert message.startswith("pretrained speechbrain/spkrec: there is no such folder")
    assert "unless the environment has HF_HUB_OFFLINE=0" in message
    assert not list(tmp_path.glob("models--*/snapshots/*"))
    repository = tmp_path / "models--speechbrain--spkrec"
    shutil.copytree(speaker_model, repository / "snapshots" / "a1")
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text("a1")
    source = find_source({"pretrained": "speechbrain/spkrec"})
    assert source.folder == repository / "snapshots" / "a1"
    monkeypatch.setenv("HF_HUB_OFFLINE", "0")
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", "http://127.0.0.1:9")
    message = user_error(hub.hub_folder, "no/one", "pretrained", (WEIGHTS,))
    assert "the Hugging Face hub does not give a model of it (" in message


# What does not fit


@pytest.mark.parametrize(
    ("old", "new", "options", "problem"),
    [
        (
            "[16, 16, 16, 16, 48]",
            "[8, 16, 16, 16, 48]",
            "Give --channels=[8,",
            "48] here",
        ),
        (
            "[1, 2, 3, 4, 1]",
            "[1, 2, 3, 5, 1]",
            "--dilations=[1,2,3,5,1]",
            "[1,2,3,4,1]",
        ),
        (
            "rate: 8000",
            "rate: 16000",
            "--sample_rate=16000",
            "sample_rate 16000 there,",
        ),
        ("n_mels: 20", "n_mels: 40", "Give --n_mels=40:", "n_mels 40 there, 20 here"),
        ("left_frames: 0", "n_fft: 512", "--n_fft=512", "n_fft 512 there, 400 here"),
        ("left_frames: 0", "f_min: 50", "They differ in:", "f_min 50 there, 0 here"),
        ("left_frames: 0", "win_length: 32", "They differ in:", "win_length 32 there"),
        ("std_norm: False\nemb", "std_norm: True\nemb", "in:", "std_norm true there"),
        ("norm_type: sentence", "norm_type: global", "in:", "norm_type global there"),
        ("    attention_channels: 8\n", "", "--attention_channels=128", "128 there, 8"),
        ("!ref <sample_rate>", "!ref <n_mels> * 2", "in:", "!ref <n_mels> * 2 there"),
        (
            "features.Fbank",
            "features.MFCC",
            "in:",
            "class speechbrain.lobes.features.M",
        ),
        ("var_norm: !new", "norm: !new", "in:", "mean_var_norm: class none there"),
        ("ECAPA_TDNN.ECAPA_TDNN", "Xvector.Xvector", "in:", "models.Xvector.Xvector"),
    ],
)
def test_another_encoder_or_input(speaker_model, old, new, options, problem):
    check(speaker_model)
    assert old in SPEAKER_MODEL
    text = SPEAKER_MODEL.replace(old, new)
    text = text.replace("    mean_var_norm: !ref <mean_var_norm>\n", "")
    (speaker_model / "hyperparams.yaml").write_text(text)
    message = user_error(check, speaker_model)
    assert "another encoder, or another input to it" in message
    assert options in message and problem in message


def test_a_rate_that_is_not_known_yet(speaker_model):
    check(speaker_model, sample_rate=0)


def test_weights_key_by_key(speaker_model):
    state = torch.load(speaker_model / WEIGHTS, weights_only=True)
    lost = [key for key in state if key.startswith("asp.")]
    for key in lost:
        del state[key]
    state["fc.conv.weight"] = torch.zeros(12, 96)
    state["heads.0.weight"] = torch.zeros(2)
    torch.save(state, speaker_model / WEIGHTS)
    message = user_error(check, speaker_model)
    assert f"{len(lost)} keys missing: {', '.join(lost[:5])}, and " in message
    assert "1 key surplus: heads.0.weight" in message
    assert "1 key of another shape: fc.conv.weight (12×96×1 expected, 12×96 found)" in (
        message
    )


def test_nothing_of_a_source_is_run(speaker_model, tmp_path):
    mark = tmp_path / "was_run"
    (speaker_model / "hyperparams.yaml").write_text(
        f"x: !apply:pathlib.Path.touch [!apply:pathlib.Path [{mark}]]\n"
        f"y: (!apply:os.mkdir [{mark}],)\n" + SPEAKER_MODEL
    )
    check(speaker_model)
    assert not mark.exists()

    class Evil:
        def __reduce__(self):
            return mark.touch, ()

    torch.save({"a": Evil()}, speaker_model / WEIGHTS)
    message = user_error(check, speaker_model)
    assert "nothing of it was executed. Expected a folder with" in message
    assert not mark.exists()


@pytest.mark.parametrize(
    ("break_it", "message"),
    [
        (lambda folder: shutil.rmtree(folder), "there is no such folder. Expected a"),
        (lambda folder: (folder / WEIGHTS).unlink(), f"holds no {WEIGHTS}. Expected"),
        (lambda folder: (folder / "save").mkdir(), "has not finished a first epoch"),
        (
            lambda folder: (folder / "hyperparams.yaml").write_text("[1, 2]"),
            "can't be read (it holds no keys). Expected",
        ),
        (
            lambda folder: (folder / "hyperparams.yaml").write_text("a: ["),
            "can't be read (",
        ),
        (
            lambda folder: (folder / "hyperparams.yaml").write_bytes(b"\xff\xfe"),
            "can't be read (",
        ),
        (
            lambda folder: (folder / WEIGHTS).write_bytes(b"PK\x03\x04 cut"),
            "can't be read as weights",
        ),
    ],
)
def test_what_is_no_source(speaker_model, break_it, message):
    break_it(speaker_model)
    assert message in user_error(check, speaker_model)


def test_a_yaml_without_ecapa(speaker_model):
    text, values = settings(speaker_model, n_mels=20)
    text = text.replace("local.model.ecapa.ECAPA_TDNN", "torch.nn.Identity")
    message = user_error(find_source(values).check_fits, text, values)
    assert "for yamls whose embedding_model is ECAPA-TDNN" in message


def test_a_message_of_a_run(shared_corpus, speaker_model, tmp_path):
    """Before the data are looked at, and without a traceback."""
    result = train(
        *(shared_corpus, tmp_path / "out", "--channels=[8,8,8,8,24]"),
        f"--pretrained={speaker_model}",
    )
    assert "Give --channels=[16,16,16,16,48]:" in failed(result)
    assert not (tmp_path / "out" / "save").exists()


def test_whom_the_source_has_heard_can_not_test_it(shared_experiment, tmp_path):
    """Codes of subjects alone tell nothing: other corpora have them too."""
    source = find_source({"pretrained": str(shared_experiment)})
    splits = ("train", "valid", "test")
    manifests = {
        split: pd.read_csv(shared_experiment / "save/manifests" / f"{split}.csv")
        for split in splits
    }
    source.check_unseen(manifests)
    turned = manifests | {"test": manifests["train"], "train": manifests["test"]}
    message = user_error(source.check_unseen, turned)
    assert "trained with 8 of the 8 subjects of this test split" in message
    chosen_by = {"train": manifests["train"], "test": manifests["valid"]}
    assert "with 3 of the 3 subjects" in user_error(source.check_unseen, chosen_by)
    later = manifests["test"].assign(subject="s00")
    message = user_error(source.check_unseen, manifests | {"test": later})
    assert "with 1 of the 1 subject of" in message
    others = {name: table.assign(duration=9.9) for name, table in turned.items()}
    source.check_unseen(others)


# How it is trained


def test_frozen_at_first_and_then_not(speaker_model, shared_corpus, tmp_path):
    """After two epochs with one of them frozen; a rate of 0 leaves all weights."""
    source = torch.load(speaker_model / WEIGHTS, weights_only=True)
    options = (f"--pretrained={speaker_model}", "--patience=2", "--val_size=0")
    succeeded(train(shared_corpus, tmp_path / "a", *options, "--freeze_epochs=1"))
    assert all(
        not torch.equal(source[key], value)
        for key, value in encoder(tmp_path / "a").items()
        if key.endswith("weight")
    )
    schedule = ("--scheduler=onecycle", "--encoder_lr=0")
    for name, given in (("b", ("--encoder_lr=0",)), ("c", schedule)):
        succeeded(train(shared_corpus, tmp_path / name, *options, *given))
        for key, value in encoder(tmp_path / name).items():
            is_learned = "running" not in key and "num_batches" not in key
            assert torch.equal(source[key], value) == is_learned
        line = (tmp_path / name / "train_log.jsonl").read_text().splitlines()[-1]
        assert json.loads(line)["encoder_lr"] == 0


def test_a_run_goes_on_without_its_source(speaker_model, shared_corpus, tmp_path):
    """And a kill in the frozen epoch changes nothing."""
    options = (f"--pretrained={speaker_model}", "--freeze_epochs=1")
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    succeeded(train(shared_corpus, whole, *options))
    succeeded(train(shared_corpus, parts, *options, "--number_of_epochs=1"))
    digest = plain_values(parts / "hyperparams.yaml")["pretrained_digest"]
    shutil.rmtree(speaker_model)
    succeeded(train(shared_corpus, parts, *options))
    assert same(encoder(parts), encoder(whole))
    assert plain_values(parts / "hyperparams.yaml")["pretrained_digest"] == digest
    other = train(shared_corpus, parts, options[1], "--pretrained=elsewhere")
    assert "pretrained: " in failed(other) and "elsewhere" in failed(other)


@pytest.mark.unmeasured
def test_two_processes_with_a_frozen_epoch(speaker_model, shared_corpus, tmp_path):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    place = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "WORLD_SIZE": "2"}
    ranks = [
        Started(
            *("train.py", "hparams/train.yaml", f"--corpus_folder={shared_corpus}"),
            *(f"--output_folder={tmp_path / 'out'}", *SMALL, "--freeze_epochs=1"),
            *(f"--pretrained={speaker_model}", "--encoder_lr=0"),
            **(place | {"RANK": rank, "LOCAL_RANK": rank}),
        )
        for rank in "01"
    ]
    for rank in ranks:
        succeeded(rank.wait())
    source = torch.load(speaker_model / WEIGHTS, weights_only=True)
    assert torch.equal(
        encoder(tmp_path / "out")["fc.conv.weight"], source["fc.conv.weight"]
    )


def test_what_needs_a_source():
    _, values = settings("", freeze_epochs=1)
    message = user_error(check_numbers, values | {"pretrained": None})
    assert "freeze_epochs needs --pretrained=FOLDER" in message
