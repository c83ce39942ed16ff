"""hparams/train_ssl.yaml, with an encoder as it is and with one that is trained."""

import json
import os
import shutil
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from conftest import read_csv
from encoders import SIZE, make_encoder
from running import (
    KILLED_BATCH,
    KILLED_SAVE,
    ROOT,
    assert_same_end,
    evaluate,
    extract,
    failed,
    run_script,
    succeeded,
    weights,
)
from safetensors.torch import load_file

from local.data.feature_cache import FeatureCache
from local.inference.classifier import ClinicalClassifier
from local.utils.yaml_files import plain_values

FAST = ("--audit=False", "--report=False", "--acoustic_baseline=False")
OPTIONS = ("--device=cpu", "--ssl_window=1.0", *FAST)


def train_ssl(corpus, source, folder, *options):
    return run_script(
        *("train.py", "hparams/train_ssl.yaml", f"--corpus_folder={corpus}"),
        *(f"--ssl_source={source}", f"--output_folder={folder}", *OPTIONS, *options),
    )


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    return make_encoder(tmp_path_factory.mktemp("encoder") / "wavlm", "wavlm")


@pytest.fixture(scope="module")
def experiment(shared_corpus, source, tmp_path_factory):
    """Its source is gone afterwards."""
    folder = tmp_path_factory.mktemp("ssl")
    moved = source.rename(folder / "source")
    succeeded(train_ssl(shared_corpus, moved, folder / "experiment"))
    moved.rename(source)
    return folder / "experiment"


def logits(folder):
    rows = read_csv(folder / "predictions.csv")
    return {(row["uid"], row["label"]): float(row["logit"]) for row in rows}


def assert_export_is_equal(experiment, folder, file, expected):
    """export.py itself has it loaded without this recipe, and compares."""
    options = f"--experiment_folder={experiment}", f"--output_folder={folder}"
    said = succeeded(run_script("export.py", *options))
    assert "no model.onnx is written: the pretrained encoder" in said.stdout
    assert "transformers==" in (folder / "requirements.txt").read_text()
    lay = plain_values(experiment / "hyperparams.yaml")["ssl_source"]
    assert lay not in (folder / "hyperparams.yaml").read_text()
    model = ClinicalClassifier.from_hparams(
        source=str(folder), savedir=str(folder.with_name("links"))
    )
    said = {label: of["logit"] for label, of in model.classify_file(file).items()}
    assert said == pytest.approx(expected, abs=1e-4)


def test_it_learns_and_says_the_same_again(experiment):
    """Even a random encoder hears a tone's frequency."""
    metrics = json.loads((experiment / "metrics.json").read_text())
    assert metrics["labels"]["low"]["auroc"]["value"] > 0.9
    succeeded(evaluate(experiment, *FAST[:2]))
    scored = logits(experiment / "evaluation" / "test")
    assert scored == pytest.approx(logits(experiment), rel=1e-4, abs=1e-5)


@pytest.mark.parametrize("options", [("--eval_batch_size=4",), ("--num_workers=2",)])
def test_it_is_the_same_at_other_settings_of_work(
    experiment, source, shared_corpus, tmp_path, options
):
    succeeded(train_ssl(shared_corpus, source, tmp_path / "a", *options))
    assert logits(tmp_path / "a") == pytest.approx(logits(experiment), abs=1e-4)


def test_embeddings_are_of_the_chosen_layer(
    experiment, source, shared_corpus, tmp_path
):
    csv = f"--split_csv={shared_corpus / 'splits/test.csv'}"
    data = f"--data_folder={shared_corpus / 'audio'}"
    options = (csv, data, "--embedding_type=pt")
    succeeded(extract(experiment, tmp_path / "mean.parquet", *options))
    succeeded(train_ssl(shared_corpus, source, tmp_path / "second", "--ssl_layer=2"))
    succeeded(extract(tmp_path / "second", tmp_path / "second.parquet", *options))
    mean, second = (
        np.stack(pq.read_table(tmp_path / f"{name}.parquet")["embedding"].to_pylist())
        for name in ("mean", "second")
    )
    assert mean.shape[1] == second.shape[1] == SIZE
    assert not np.allclose(mean, second, atol=1e-3)


def test_other_ways_to_ask_it(experiment, shared_corpus, tmp_path):
    uid = read_csv(shared_corpus / "splits/test.csv")[0]["uid"]
    file = shared_corpus / "audio" / uid / "waveform.wav"
    expected = {
        label: value
        for (name, label), value in logits(experiment).items()
        if name == uid
    }
    model = ClinicalClassifier.from_hparams(source=str(experiment))
    said = {label: of["logit"] for label, of in model.classify_file(file).items()}
    assert said == pytest.approx(expected, abs=1e-4)
    options = (f"--experiment_folder={experiment}", "--json")
    told = json.loads(succeeded(run_script("predict.py", file, *options)).stdout)
    (recording,) = told["recordings"]
    said = {label: of["logit"] for label, of in recording["labels"].items()}
    assert said == pytest.approx(expected, abs=1e-4)
    assert_export_is_equal(experiment, tmp_path / "export", file, expected)


def test_the_second_time_nothing_is_encoded(
    experiment, source, shared_corpus, tmp_path
):
    """Of a cache that was made with other numbers these are read."""
    cache = tmp_path / "cache"
    option = f"--feature_cache={cache}"
    succeeded(train_ssl(shared_corpus, source, tmp_path / "a", option))
    files = sorted(cache.glob("*.npz"))
    hidden = [file for file in files if np.load(file)["features"].ndim == 2]
    # of each recording these, and what it is like
    assert (len(files), len(hidden)) == (60, 30)
    assert logits(tmp_path / "a") == pytest.approx(logits(experiment), abs=1e-4)
    for file in hidden:
        with np.load(file) as arrays:
            assert arrays["features"].shape == (3, SIZE)
        np.savez(file, features=np.zeros((3, SIZE), "float32"))
    # another layer is of the same features
    succeeded(train_ssl(shared_corpus, source, tmp_path / "b", option, "--ssl_layer=1"))
    assert len({*logits(tmp_path / "b").values()}) == 3  # the same for all, by label
    assert sorted(cache.glob("*.npz")) == files


def test_a_source_that_is_none_is_told_before_the_corpus_is_read(
    shared_corpus, tmp_path
):
    for command in ("train.py", "cross_validate.py"):
        run = run_script(
            *(command, "hparams/train_ssl.yaml", f"--corpus_folder={shared_corpus}"),
            *(f"--ssl_source={tmp_path}", f"--output_folder={tmp_path / 'out'}"),
        )
        told = failed(run)
        assert "is no folder of a pretrained encoder" in told
        assert not (tmp_path / "out").exists()


# An encoder that training changes

#: Small and quick, with a rate of its own for the encoder.
QUICK = (
    *("--number_of_epochs=2", "--batch_size=4", "--clip_length=0.3"),
    *("--lin_neurons=12", "--clf_bottleneck=10", "--attention_channels=8"),
    "--encoder_lr=1e-3",
)


def tuned(corpus, source, folder, *options):
    return train_ssl(corpus, source, folder, *QUICK, *options)


@pytest.fixture(scope="module")
def whisper(tmp_path_factory):
    return make_encoder(tmp_path_factory.mktemp("encoder") / "whisper", "whisper")


@pytest.fixture(scope="module")
def tuned_experiment(shared_corpus, whisper, tmp_path_factory):
    """With a layer that is trained; its source is gone afterwards."""
    folder = tmp_path_factory.mktemp("tuned")
    moved = whisper.rename(folder / "source")
    options = ("--ssl_trainable=1", "--shared_dense=True", "--report=True")
    succeeded(tuned(shared_corpus, moved, folder / "experiment", *options))
    moved.rename(whisper)
    return folder / "experiment"


def encoder_weights(folder):
    """Those of the encoder, by the names that they have in its source."""
    own = {name: weight for (_, name), weight in weights(folder).items()}
    prefix = "encoder.model."
    return {key.removeprefix(prefix): own[key] for key in own if prefix in key}


def test_only_what_is_to_be_trained_changes(
    tuned_experiment, whisper, shared_corpus, tmp_path
):
    before = load_file(whisper / "model.safetensors")

    def changed(folder):
        after = encoder_weights(folder)
        return {
            key
            for key, weight in after.items()
            if weight.shape == before.get(key, weight[:0]).shape
            and not weight.equal(before[key])
        }

    assert changed(tuned_experiment)
    assert all(key.startswith("encoder.layers.1.") for key in changed(tuned_experiment))
    folder = tmp_path / "lora"
    succeeded(tuned(shared_corpus, whisper, folder, "--lora_rank=2"))
    assert not changed(folder)
    adapters = {key for key in encoder_weights(folder) if "adapter_up" in key}
    assert len(adapters) == 4  # two feed-forward layers in each of two layers
    assert all(encoder_weights(folder)[key].any() for key in adapters)


@pytest.mark.parametrize("options", [("--ssl_trainable=all",), ("--lora_rank=2",)])
@pytest.mark.parametrize("kind", ["wavlm", "hubert", "wav2vec2"])
def test_all_kinds_say_the_same_again(shared_corpus, tmp_path, kind, options):
    source = make_encoder(tmp_path / kind, kind)
    folder = tmp_path / "experiment"
    more = (*options, "--ssl_pooling=attentive")
    succeeded(tuned(shared_corpus, source, folder, *more))
    shutil.rmtree(source)
    batch = ("--eval_batch_size=4", "--num_workers=2")
    succeeded(evaluate(folder, "--audit=False", "--report=False", *batch))
    scored = logits(folder / "evaluation" / "test")
    assert scored == pytest.approx(logits(folder), rel=1e-4, abs=1e-5)


def test_other_ways_to_ask_a_tuned_one(tuned_experiment, shared_corpus, tmp_path):
    uid = read_csv(shared_corpus / "splits/test.csv")[0]["uid"]
    file = shared_corpus / "audio" / uid / "waveform.wav"
    expected = {
        label: value
        for (name, label), value in logits(tuned_experiment).items()
        if name == uid
    }
    options = (f"--experiment_folder={tuned_experiment}", "--json")
    told = json.loads(succeeded(run_script("predict.py", file, *options)).stdout)
    (recording,) = told["recordings"]
    said = {label: of["logit"] for label, of in recording["labels"].items()}
    assert said == pytest.approx(expected, abs=1e-4)
    assert_export_is_equal(tuned_experiment, tmp_path / "export", file, expected)
    sizes = {"pt": 12, "ft": 10, "st": 768}
    for kind, size in sizes.items():
        csv = f"--split_csv={shared_corpus / 'splits/test.csv'}"
        options = (csv, f"--embedding_type={kind}", "--backend=onnx")
        succeeded(extract(tuned_experiment, tmp_path / f"{kind}.parquet", *options))
        table = pq.read_table(tmp_path / f"{kind}.parquet")
        assert np.stack(table["embedding"].to_pylist()).shape[1] == size
        assert table.schema.metadata[b"backend"] == b"eager"


def test_report_and_card_say_what_it_started_from(tuned_experiment):
    numbers = plain_values(tuned_experiment / "hyperparams.yaml")["ssl_encoder"]
    assert numbers == {"architecture": "whisper", "trained": 1944, "frozen": 7416}
    told = (
        "the pretrained encoder source (whisper; weights: 1,944 trained, 7,416 frozen)"
    )
    for name in ("model_card.md", "report.html"):
        text = (tuned_experiment / name).read_text()
        assert told in text, name


@pytest.mark.parametrize(
    ("script", "more"),
    [(KILLED_BATCH, ("--ckpt_interval_steps=1",)), (KILLED_SAVE, ())],
    ids=["after a checkpoint in an epoch", "in a checkpoint"],
)
def test_a_killed_run_ends_like_an_undisturbed_one(
    shared_corpus, whisper, tmp_path, script, more
):
    options = (
        *("--lora_rank=2", "--ssl_pooling=attentive", "--scheduler=onecycle"),
        *("--number_of_epochs=3", "--speed=0.5", *more),
    )
    succeeded(tuned(shared_corpus, whisper, tmp_path / "whole", *options))
    deadly = tmp_path / "deadly.py"
    deadly.write_text(script)
    first = run_script(
        *(deadly, "hparams/train_ssl.yaml", f"--corpus_folder={shared_corpus}"),
        *(f"--ssl_source={whisper}", f"--output_folder={tmp_path / 'killed'}"),
        *("--device=cpu", "--ssl_window=1.0", "--audit=False", "--report=False"),
        *(*QUICK, *options),
    )
    assert first.returncode == -9, first.stderr[-2000:]
    succeeded(tuned(shared_corpus, whisper, tmp_path / "killed", *options))
    assert_same_end(tmp_path / "whole", tmp_path / "killed")


def test_cross_validation_and_withdrawal(shared_corpus, whisper, tmp_path):
    """By a yaml of one's own; whoever is withdrawn leaves the encoder's cache, too."""
    corpus = shutil.copytree(shared_corpus, tmp_path / "corpus")
    (tmp_path / "key").write_bytes(b"0123456789abcdef")
    secret = f"--pseudonymise_key={tmp_path / 'key'}"
    base = ROOT / "hparams" / "train_ssl.yaml"
    (tmp_path / "tuned.yaml").write_text(f"base: {base}\nssl_trainable: 1\n")
    cv, frozen, cache = (tmp_path / name for name in ("cv", "frozen", "cache"))
    run = run_script(
        *("cross_validate.py", tmp_path / "tuned.yaml", f"--corpus_folder={corpus}"),
        *(f"--ssl_source={whisper}", f"--output_folder={cv}", "--n_folds=2", secret),
        *(*OPTIONS, *QUICK),
    )
    succeeded(run)
    told = plain_values(cv / "repeat_1/fold_1/hyperparams.yaml")
    assert told["ssl_encoder"]["trained"] == 1944
    options = (f"--feature_cache={cache}", secret)
    succeeded(train_ssl(corpus, whisper, frozen, *options))
    row = read_csv(corpus / "splits/train.csv")[0]
    features, names = FeatureCache(cache), [row["uid"]]
    assert features.keeps(names) == 1
    run = run_script(
        *("withdraw.py", f"--subject={row['subject']}", f"--corpus_folder={corpus}"),
        *("--experiment_folder", cv, frozen, secret),
    )
    assert f"{cache}: features of " in succeeded(run).stdout
    assert features.keeps(names) == 0
    assert row["subject"] not in (cv / "predictions.csv").read_text()


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (("--ssl_trainable=3",), "2 layers of"),
        (("--ssl_trainable=2", "--ssl_layer=1"), "1 layers of"),
        (("--ssl_trainable=some",), "ssl_trainable must be none"),
        (("--ssl_trainable=-1",), "ssl_trainable must be none"),
        (("--ssl_trainable=1.5",), "ssl_trainable must be none"),
        (("--ssl_trainable=True",), "ssl_trainable must be none"),
        (("--ssl_trainable=1", "--lora_rank=2"), "leave one of them out"),
        (("--lora_rank=-1",), "lora_rank must be 0 or more"),
        (("--lora_rank=2", "--ssl_layer=0"), "ssl_layer 0 reads none"),
        (("--ssl_pooling=attentive",), "ssl_pooling attentive is learned by gradients"),
        (("--shared_dense=True",), "shared_dense True is learned by gradients"),
        (("--ssl_pooling=max", "--lora_rank=2"), "ssl_pooling must be mean or"),
        (("--lora_rank=2", "--freqm=4"), "freqm: of spectrograms"),
        (("--lora_rank=2", "--pretrained=a"), "pretrained is for ECAPA-TDNN"),
    ],
)
def test_settings_that_do_not_go_together(
    whisper, shared_corpus, tmp_path, options, told
):
    run = train_ssl(shared_corpus, whisper, tmp_path / "out", *options)
    assert told in failed(run)
    assert not (tmp_path / "out").exists()


@pytest.mark.skipif("WHISPER_FOLDER" not in os.environ, reason="no WHISPER_FOLDER")
@pytest.mark.skipif("FSDD_CORPUS" not in os.environ, reason="no FSDD_CORPUS")
def test_whisper_tells_digits_of_speakers_it_has_not_heard(tmp_path):
    """WHISPER_FOLDER has Whisper tiny.en, FSDD_CORPUS what recipes/FSDD makes."""
    run = train_ssl(
        *(Path(os.environ["FSDD_CORPUS"]), Path(os.environ["WHISPER_FOLDER"])),
        *(tmp_path / "out", "--ssl_window=2", "--val_size=0", "--kernel=linear"),
    )
    assert "top-1 accuracy 0.99" in succeeded(run).stdout
