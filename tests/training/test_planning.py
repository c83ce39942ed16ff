"""training.planning, model.feature_statistics: what is settled before a model."""

import functools
import shutil

import numpy as np
import pytest
import soundfile
import torch
from conftest import read_csv, user_error, write_csv
from original_features import kaldi_fbank
from running import ROOT, SMALL, failed, run_script, succeeded, train

from local.audio.loading import AudioFormat
from local.data.dataset import build_dataset
from local.data.loaders import TrainBatches
from local.model import feature_statistics
from local.storage.experiment_files import STATISTICS
from local.training import fit
from local.training.planning import plan_training
from local.utils import cli
from local.utils.errors import UserError
from local.utils.yaml_files import plain_values


def plan(corpus, *options, yaml="train.yaml", folder=None):
    """What train.py would settle with these options."""
    arguments = [str(ROOT / "hparams" / yaml), *options]
    if corpus:
        arguments.append(f"--corpus_folder={corpus}")
    if folder:
        arguments.append(f"--output_folder={folder}")
    return plan_training(cli.parse_arguments(arguments))


# Names and places


def test_the_corpus_folder_names_the_data_set_and_the_outputs(
    shared_corpus, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    found = plan(shared_corpus).values
    assert found["dataset_name"] == shared_corpus.name
    expected = tmp_path / "results" / shared_corpus.name / "train" / "1986"
    assert found["output_folder"] == str(expected)
    assert found["save_folder"] == f"{expected}/save"
    named = plan(shared_corpus, "--dataset_name=2024", "--seed=7").values
    assert named["output_folder"] == str(tmp_path / "results/2024/train/7")


def test_without_a_corpus_folder_the_audio_s_place_names_it(shared_corpus, tmp_path):
    found = plan(
        None,
        f"--data_folder={shared_corpus / 'audio'}",
        f"--split_folder={shared_corpus / 'splits'}",
        f"--labels_file={shared_corpus / 'labels.txt'}",
    )
    assert found.values["dataset_name"] == shared_corpus.name


@pytest.mark.parametrize("name", ["a/b", "..", "/tmp"])
def test_a_name_that_is_a_path_is_refused(shared_corpus, name):
    with pytest.raises(UserError, match="dataset_name must be the name of a folder"):
        plan(shared_corpus, f"--dataset_name={name}")


def test_a_study_is_a_folder_below_the_data(corpus, tmp_path):
    (corpus / "all").mkdir()
    shutil.move(corpus / "audio", corpus / "all" / "study1")
    found = plan(corpus, f"--data_folder={corpus / 'all'}", "--study=study1")
    assert found.values["data_folder"] == str(corpus / "all" / "study1")
    assert found.values["study"] is None
    for study in ("/etc", "../all/study1"):
        with pytest.raises(UserError, match="study must be a folder below data_folder"):
            plan(corpus, f"--study={study}")


# Values


def test_a_number_stands_for_a_range(shared_corpus, tmp_path):
    found = plan(shared_corpus, "--pshift=0.5", "--pshiftn=3", folder=tmp_path / "o")
    assert found.values["pshiftn"] == 3
    for option in ("--pshiftn=high", "--channels=64"):
        with pytest.raises(UserError, match=r"must be a list"):
            plan(shared_corpus, option)


def test_sample_rate_0_is_the_rate_that_all_have(corpus, tmp_path):
    found = plan(corpus, "--sample_rate=0", folder=tmp_path / "out").values
    assert found["sample_rate"] == 8000
    assert found["compute_features"]["sample_rate"] == 8000
    uid = read_csv(corpus / "splits" / "test.csv")[0]["uid"]
    waveform = 0.1 * np.sin(np.arange(4000))
    soundfile.write(corpus / "audio" / uid / "waveform.wav", waveform, 11025)
    with pytest.raises(UserError, match="several") as raised:
        plan(corpus, "--sample_rate=0", folder=tmp_path / "out")
    assert "8000 Hz: 29 recordings" in str(raised.value)
    assert "11025 Hz: 1 recordings" in str(raised.value)


def test_a_run_at_the_recordings_own_rate_trains_and_resumes(shared_corpus, tmp_path):
    folder = tmp_path / "out"
    succeeded(train(shared_corpus, folder, "--sample_rate=0"))
    assert plain_values(folder / "hyperparams.yaml")["sample_rate"] == 8000
    again = train(shared_corpus, folder, "--sample_rate=0", "--number_of_epochs=3")
    assert "Going into epoch 3" in succeeded(again).stdout
    message = failed(train(shared_corpus, folder, "--sample_rate=16000"))
    assert "sample_rate: 8000 there, 16000 here" in message


def test_a_threshold_of_no_label_ends_before_training(shared_corpus):
    message = user_error(plan, shared_corpus, "--threshold={lou: 0.3}")
    assert "threshold names lou" in message and "low, loud, noisy" in message
    planned = plan(shared_corpus, "--threshold={loud: 0.3}")
    assert planned.values["threshold"] == {"loud": 0.3}


def test_scores_have_neither_auroc_nor_positives(shared_corpus):
    options = ("--best_checkpoint=macro_auroc", "--positive_weight=True")
    with pytest.raises(UserError, match="All labels are scores") as raised:
        plan(shared_corpus, "--loss=mse", *options)
    assert "no AUROC" in str(raised.value) and "no positives" in str(raised.value)
    ranges = plan(shared_corpus, "--loss=mse").values["label_ranges"]
    assert ranges == [[0, 1]] * 3
    assert plan(shared_corpus).values["label_ranges"] is None


# Shares of raters


def rated(corpus):
    """Each recording of train.csv is loud to one of two raters, every third to both."""
    path = corpus / "splits" / "train.csv"
    rows = read_csv(path)
    for i, row in enumerate(rows):
        row |= {"loud": "", "loud@ann": "1", "loud@bo": str(int(i % 3 == 0))}
    write_csv(path, rows)
    return rows


def test_soft_targets_are_weighed_and_learned_as_shares(corpus):
    rows = rated(corpus)
    found = plan(corpus, "--soft_targets=True", "--positive_weight=True")
    shares = [0.5 + 0.5 * (i % 3 == 0) for i in range(len(rows))]
    names = found.preparation.labels
    weight = found.values["positive_weights"][names.index("loud")]
    assert weight == pytest.approx((len(rows) - sum(shares)) / sum(shares))
    manifest = found.preparation.manifests["train"]
    assert set(manifest["loud"].dropna()) == {1.0}  # by majority, of those without tie
    hparams = found.values | {
        "eval_crop": None,
        "train_crop": None,
        "audio": AudioFormat.of(found.values),
        "train_batches": TrainBatches.of(found.values),
    }
    data, _ = fit._training_data(None, hparams, found.preparation)
    learned = {data[i]["id"]: data[i]["target"][names.index("loud")] for i in (0, 1, 3)}
    assert learned == {rows[i]["uid"]: shares[i] for i in (0, 1, 3)}


def test_soft_targets_that_can_not_be(corpus, tmp_path):
    with pytest.raises(UserError, match="has no column <label>@<rater>"):
        plan(corpus, "--soft_targets=True")
    rated(corpus)
    yaml, folder = ROOT / "hparams" / "train_statistics.yaml", tmp_path / "out"
    arguments = cli.parse_arguments(
        [
            *(str(yaml), f"--corpus_folder={corpus}", f"--output_folder={folder}"),
            *("--soft_targets=True", "--device=cpu"),
        ]
    )
    with pytest.raises(UserError, match="fitted in one pass to 0 and 1: leave it at F"):
        fit.build(plan_training(arguments), arguments)


# Mean and standard deviation of the features


train_fbank = functools.partial(train, yaml="train_fbank.yaml")


def compute(corpus, folder, *options, yaml="train_fbank.yaml"):
    return run_script(
        "compute_statistics.py",
        f"hparams/{yaml}",
        *(f"--corpus_folder={corpus}", f"--output_folder={folder}"),
        *(*SMALL, *options),
    )


@pytest.fixture(scope="module")
def computed(shared_corpus, tmp_path_factory):
    """An output folder with the statistics of the shared corpus."""
    folder = tmp_path_factory.mktemp("statistics") / "out"
    succeeded(compute(shared_corpus, folder, "--eval_batch_size=3"))
    return folder


def test_they_are_of_the_training_recordings(computed, shared_corpus):
    """Against all features in one array; batches of unequal lengths are no matter."""
    frames = []
    for row in read_csv(shared_corpus / "splits" / "train.csv"):
        path = shared_corpus / "audio" / row["uid"] / "waveform.wav"
        waveform = torch.from_numpy(soundfile.read(path, dtype="float32")[0])
        frames.append(kaldi_fbank(waveform, sample_rate=8000, n_mels=20).numpy())
    features = np.concatenate(frames)
    found = feature_statistics.saved_statistics(computed)
    assert found.dataset_mean == pytest.approx(features.mean(), rel=1e-5)
    assert found.dataset_std == pytest.approx(features.std(), rel=1e-5)
    assert (found.n_recordings, found.n_frames) == (16, len(features))


def test_training_reads_them(computed, shared_corpus):
    found = feature_statistics.saved_statistics(computed).values
    trained = train_fbank(shared_corpus, computed)
    assert "dataset_mean and dataset_std from" in succeeded(trained).stdout
    saved = plain_values(computed / "hyperparams.yaml")
    assert {key: saved[key] for key in found} == found
    # and finds them again when it continues
    again = train_fbank(shared_corpus, computed, "--number_of_epochs=3")
    assert "Going into epoch 3" in succeeded(again).stdout


def test_those_of_other_features_are_refused(computed, shared_corpus, tmp_path):
    folder = tmp_path / "out"
    folder.mkdir()
    shutil.copy(computed / STATISTICS, folder)
    message = failed(train_fbank(shared_corpus, folder, "--n_mels=21"))
    assert "computed from other data or with another front end" in message
    # given ones come first
    given = ("--dataset_mean=-5", "--dataset_std=3")
    succeeded(train_fbank(shared_corpus, folder, "--n_mels=21", *given))
    assert plain_values(folder / "hyperparams.yaml")["dataset_mean"] == -5
    (folder / STATISTICS).write_text("{}")
    with pytest.raises(UserError, match="can't be read"):
        feature_statistics.saved_statistics(folder)


def test_a_yaml_without_these_keys_is_refused(shared_corpus, tmp_path):
    message = failed(compute(shared_corpus, tmp_path / "out", yaml="train.yaml"))
    assert "has no keys dataset_mean and dataset_std" in message


def test_features_that_are_all_the_same_have_no_deviation(shared_corpus):
    found = plan(shared_corpus)
    prepared = found.preparation
    audio = AudioFormat.of(found.values)
    dataset = build_dataset(
        prepared.manifests["train"], [], prepared.recordings, audio, None
    )

    def constant(waveforms):
        return torch.full((len(waveforms), 10, 4), 1 / 3)

    with pytest.raises(UserError, match="there is no standard deviation"):
        feature_statistics.compute_statistics(constant, dataset, {"batch_size": 2}, {})


def test_they_are_computed_before_training(computed, shared_corpus):
    """Not after: the experiment could not be continued then."""
    message = failed(compute(shared_corpus, computed))
    assert "holds an experiment" in message


def test_half_of_them_given_is_refused(shared_corpus, tmp_path):
    message = failed(train_fbank(shared_corpus, tmp_path / "o", "--dataset_mean=1"))
    assert "dataset_mean and dataset_std belong together" in message
    zero = ("--dataset_mean=1", "--dataset_std=0")
    message = failed(train_fbank(shared_corpus, tmp_path / "o", *zero))
    assert "dataset_std must be above 0" in message
    assert not (tmp_path / "o").exists()
