"""Every mistake a user can make: status 2, one message that helps, nothing changed."""

import json

import pytest
from conftest import read_csv, write_csv
from running import FAST, evaluate, failed, run_script, succeeded, train


def edit(path, change):
    """Change the rows of a CSV in place."""
    rows = read_csv(path)
    write_csv(path, change(rows) or rows)


def without(*columns):
    return lambda rows: [
        {key: row[key] for key in row if key not in columns} for row in rows
    ]


def setting(row, **cells):
    return lambda rows: rows[row].update(cells)


def test_all_mistakes_in_the_csvs_are_told_at_once(corpus, tmp_path):
    splits = corpus / "splits"
    edit(splits / "train.csv", setting(0, low="2"))
    edit(splits / "train.csv", setting(3, uid=read_csv(splits / "train.csv")[4]["uid"]))
    edit(splits / "val.csv", without("loud"))
    edit(splits / "test.csv", setting(1, noisy="maybe"))
    message = failed(train(corpus, tmp_path / "out"))
    for part in (
        "1 cell in column 'low' with something else than 0 and 1: '2' (train.csv row 2",
        "--label_types='{low: {type: ordinal, range: [0, 2]",
        "1 uid in several rows: 's02_0' (train.csv row 5, 6)",
        "1 label without a column: 'loud' (val.csv)",
        "1 cell in column 'noisy' with something else than 0 and 1: 'maybe' (test",
    ):
        assert part in message
    assert not (tmp_path / "out").exists()


def test_subjects_of_the_test_split_may_not_be_elsewhere(corpus, tmp_path):
    edit(corpus / "splits" / "train.csv", setting(0, subject="s11"))
    edit(corpus / "splits" / "val.csv", setting(0, subject="s12"))
    message = failed(train(corpus, tmp_path / "out"))
    assert "1 subject both in test.csv and in train.csv: 's11'" in message
    assert "1 subject both in test.csv and in val.csv: 's12'" in message


def test_missing_columns_are_named(corpus, tmp_path):
    edit(corpus / "splits" / "train.csv", without("uid", "subject"))
    message = failed(train(corpus, tmp_path / "out"))
    assert "2 needed columns missing: 'uid' (train.csv), 'subject' (train" in message


def test_values_outside_their_label_type_are_named(corpus, tmp_path):
    edit(corpus / "splits" / "train.csv", setting(0, low="5"))
    types = "--label_types={low: {type: ordinal, range: [0, 4], positive_from: 1}}"
    message = failed(train(corpus, tmp_path / "out", types))
    assert "something else than the range 0 to 4: '5' (train.csv row 2)" in message


@pytest.mark.parametrize("gone", ["audio", "splits", "labels.txt"])
def test_missing_parts_of_the_corpus_are_named(corpus, tmp_path, gone):
    (corpus / gone).rename(corpus / "elsewhere")
    message = failed(train(corpus, tmp_path / "out"))
    assert str(corpus / gone) in message


def test_a_missing_corpus_folder_is_named(tmp_path):
    message = failed(train(tmp_path / "nowhere", tmp_path / "out"))
    assert str(tmp_path / "nowhere") in message


def test_all_unusable_recordings_are_told_at_once(corpus, tmp_path):
    audio = corpus / "audio"
    (audio / "s00_0" / "metadata.json").write_text("{")
    (audio / "s01_0" / "metadata.json").write_text(json.dumps({"rate": 8000}))
    (audio / "s08_0" / "waveform.wav").write_bytes(b"")
    (audio / "s11_0" / "waveform.wav").rename(audio / "s11_0" / "sound.wav")
    message = failed(train(corpus, tmp_path / "out"))
    for uid in ("s00_0", "s01_0", "s08_0", "s11_0"):
        assert f"  - {uid}: " in message
    assert "--on_bad_recording=skip" in message
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(("uid", "status"), [("s00_0", 0), ("s11_0", 3)])
def test_skipping_goes_on_without_unusable_recordings(corpus, tmp_path, uid, status):
    """Of training, or of the test split, which is then evaluated without it."""
    (corpus / "audio" / uid / "waveform.wav").write_bytes(b"")
    result = train(corpus, tmp_path / "out", "--on_bad_recording=skip")
    succeeded(result, status=3)
    left_out = read_csv(tmp_path / "out" / "failed.csv")
    assert [row["uid"] for row in left_out] == [uid]
    manifests = (tmp_path / "out" / "save" / "manifests").glob("*.csv")
    used = [row["ID"] for manifest in manifests for row in read_csv(manifest)]
    assert uid not in used and len(used) == 29
    succeeded(evaluate(tmp_path / "out", "--device=cpu", *FAST), status)
    assert read_csv(tmp_path / "out" / "failed.csv") == left_out


@pytest.mark.parametrize(
    ("options", "hint"),
    [
        (["--optimizer=adam"], "did you mean --optimizer_name?"),
        (["--optimizer_name=sgd"], "must be adam or adamw"),
        (["--activation=relux"], "LeakyReLU"),
        (["--speed=2"], "speed must lie in 0 to 1"),
        (["--batch_size=1"], "batch_size must be 2 or more"),
        (["--reverb=0.5"], "reverb needs --reverb_folder=DIR"),
        (["--freqm=2.5"], "freqm must be a whole number"),
        (["--best_checkpoint=f1"], "must be loss or macro_auroc"),
        (["--on_bad_recording=ignore"], "must be stop or skip"),
        (["--loss=mae"], "loss must be bce or mse"),
        (
            ["--channels=[16,16]"],
            "of each: found 2 channels, 5 kernel_sizes, 5 dilations",
        ),
        (["--missing_values=-9"], "missing_values must be a list"),
        (["--label_types=5"], "label_types must be a mapping"),
        (["--batch_size=abc"], "batch_size must be a number"),
        (["--clip_length=0.03"], "the model needs 0.065 s"),
        (["--device=cuda:7"], "--device=cuda:7: there is no such GPU"),
    ],
    ids=lambda value: value[0].split("=")[0] if isinstance(value, list) else "",
)
def test_settings_that_can_not_be(shared_corpus, tmp_path, options, hint):
    assert hint in failed(train(shared_corpus, tmp_path / "out", *options))
    assert not (tmp_path / "out" / "train_log.txt").exists()


def test_untrained_weights_are_never_evaluated(tmp_path):
    assert "no hyperparams.yaml" in failed(evaluate(tmp_path))
    (tmp_path / "hyperparams.yaml").write_text("seed: 1\n")
    assert "holds no checkpoint" in failed(evaluate(tmp_path))


def test_placeholders_must_be_given():
    message = failed(run_script("evaluate.py", "hparams/evaluate.yaml"))
    assert "experiment_folder" in message


def test_outputs_below_a_file_are_refused_before_any_work(shared_corpus, tmp_path):
    (tmp_path / "file").write_text("mine")
    message = failed(train(shared_corpus, tmp_path / "file" / "out"))
    assert f"{tmp_path / 'file'} is a file" in message
    assert (tmp_path / "file").read_text() == "mine"


def test_keys_that_follow_from_others_are_not_to_be_given(shared_corpus, tmp_path):
    options = ("--save_folder=/elsewhere", "--label_groups=[[low]]")
    message = failed(train(shared_corpus, tmp_path / "out", *options))
    assert "--save_folder, --label_groups" in message
