"""The column `file`: an audio file's path below data_folder in place of a folder."""

import shutil
import unicodedata

import pandas as pd
import pytest
import soundfile
from conftest import read_csv, user_error, write_csv
from preparing import change_csv, values_of
from running import FAST, ROOT, evaluate, extract, run_script, succeeded, train

from local.data import prepare
from local.data.pseudonyms import Pseudonyms
from local.data.recordings import BucketRecordings
from local.storage import gcs as storage
from local.storage.gcs import Address, Cache, RemoteObject
from local.storage.inputs import Storage
from local.withdrawal import withdraw
from local.withdrawal.data_subject import Person

pytest_plugins = ["gcs_server"]

BUCKET = "hospital"


def path_in(row):
    """Where a recording of the tiny corpus is as a file: some nested, some flat."""
    name = f"{row['uid']} take.wav"
    return name if row["subject"] == "s00" else f"ward/{row['sex']}/{name}"


@pytest.fixture
def files(corpus):
    """The tiny corpus with files in place of folders."""
    moved = corpus / "moved"
    for split in ("train", "val", "test"):

        def change(rows):
            for row in rows:
                row["file"] = path_in(row)
                path = moved / row["file"]
                path.parent.mkdir(parents=True, exist_ok=True)
                (corpus / "audio" / row["uid"] / "waveform.wav").rename(path)

        change_csv(corpus, split, change)
    shutil.rmtree(corpus / "audio")
    moved.rename(corpus / "audio")
    return corpus


def same_but_names(found, expected):
    """Whether manifests are alike but for what recordings are called."""
    for split, manifest in expected.manifests.items():
        names = ["recording", "waveform"]
        pd.testing.assert_frame_equal(
            found.manifests[split].drop(columns=names), manifest.drop(columns=names)
        )


def test_files_are_what_their_folders_were(files, shared_corpus):
    found = prepare.prepare_training(values_of(files))
    same_but_names(found, prepare.prepare_training(values_of(shared_corpus)))
    assert found.failed == []
    assert not [note for note in found.notes if "metadata.json" in note]
    names = found.manifests["train"].set_index("ID")["recording"]
    assert names["s00_0"] == "./s00_0 take.wav"
    assert names["s01_0"] == "ward/m/s01_0 take.wav"


def test_rows_share_a_file_and_cut_it(files):
    """Of 0.3 s and of 2 channels."""
    path = files / "audio" / "ward" / "m" / "s01_0 take.wav"
    samples, rate = soundfile.read(path)
    soundfile.write(path, [[x, 0] for x in samples], rate)

    def share(rows):
        rows = [{**row, "start_s": "", "end_s": "", "channel": ""} for row in rows]
        first = next(row for row in rows if row["uid"] == "s01_0")
        other = {**first, "uid": "s01_cut", "start_s": 0.1, "end_s": 0.3, "channel": 0}
        return [*rows, other]

    change_csv(files, "train", share)
    found = prepare.prepare_training(values_of(files))
    rows = found.manifests["train"].set_index("ID")
    assert rows.loc["s01_0", "recording"] == rows.loc["s01_cut", "recording"]
    assert rows.loc["s01_cut", "duration"] == pytest.approx(0.2)
    # one channel is silent: their mean has half the amplitude
    assert rows.loc["s01_0", "peak"] == pytest.approx(rows.loc["s01_cut", "peak"], 0.2)
    assert rows.loc["s01_0", "level_dbfs"] < rows.loc["s01_cut", "level_dbfs"] - 4


def test_a_row_without_a_file_names_a_folder(files, shared_corpus):
    shutil.copytree(shared_corpus / "audio" / "s03_0", files / "audio" / "s03_0")

    def back(rows):
        next(row for row in rows if row["uid"] == "s03_0")["file"] = ""

    change_csv(files, "train", back)
    found = prepare.prepare_training(values_of(files))
    assert "s03_0" in set(found.manifests["train"]["recording"])
    assert found.failed == []


def test_a_name_in_another_unicode_form_is_found(files):
    (files / "audio" / "s00_0 take.wav").rename(
        files / "audio" / unicodedata.normalize("NFD", "é.wav")
    )
    change_csv(files, "train", lambda rows: rows[0].update(file="é.wav"))
    assert prepare.prepare_training(values_of(files)).failed == []


def test_a_folder_is_no_file(files):
    change_csv(files, "train", lambda rows: rows[0].update(file="ward"))
    (bad,) = prepare.prepare_training(values_of(files)).failed
    assert bad["reason"] == f"there is no file {files / 'audio' / 'ward'}"


def test_reasons_do_not_name_the_file(files):
    """Its name may be a person's, and pseudonyms hide it."""
    change_csv(files, "train", lambda rows: rows[0].update(file="Jane Doe.wav"))
    (files / "audio" / "Jane Doe.wav").write_bytes(b"")
    (bad,) = prepare.prepare_training(values_of(files)).failed
    assert bad["reason"] == "the file is empty (0 bytes)"
    (files / "audio" / "Jane Doe.wav").unlink()
    missing = prepare.prepare_training(values_of(files)).failed
    (hidden,) = Pseudonyms(bytes(16)).hidden_failures(missing)
    assert hidden["reason"] == "there is no file …"


def test_a_label_can_not_be_called_file(files):
    (files / "labels.txt").write_text("low,file\n")
    message = user_error(prepare.prepare_training, values_of(files))
    assert "can't name a label file" in message


# In a bucket


def remote_values(files, tmp_path, **more):
    """Values of a corpus whose recordings are in a bucket."""
    values = values_of(files, audio_cache=str(tmp_path / "cache"), **more)
    return {**values, "data_folder": f"gs://{BUCKET}/all audio"}


def test_files_in_a_bucket(gcs, files, shared_corpus, tmp_path):
    gcs.put(BUCKET, files / "audio", "all audio")
    found = prepare.prepare_training(remote_values(files, tmp_path))
    same_but_names(found, prepare.prepare_training(values_of(shared_corpus)))
    assert gcs.proxy.requests["list"] == 1
    assert gcs.proxy.requests["download"] == 30
    # what is missing is told as on disk, and may leave between listing and fetching
    gcs.delete(BUCKET, "all audio/s00_0 take.wav")
    (bad,) = prepare.prepare_training(remote_values(files, tmp_path)).failed
    assert bad["reason"] == (f"there is no file gs://{BUCKET}/all audio/s00_0 take.wav")


def test_ten_thousand_objects_are_listed_once(monkeypatch, tmp_path):
    """None of them is asked for on its own, whatever is asked of the recordings."""
    names = [f"site {i % 9}/r{i}.wav" for i in range(10_000)]
    objects = [RemoteObject(BUCKET, f"all/{name}", 1, 10, "AAAAAA==") for name in names]
    listings = []

    def list_objects(address, most, **_):
        listings.append(address)
        return objects[:most]

    monkeypatch.setattr(storage, "client", lambda *_: None)
    monkeypatch.setattr(storage, "list_objects", list_objects)
    monkeypatch.setattr(storage, "stat", lambda *_: pytest.fail("asked for one"))
    folder = Address.parse(f"gs://{BUCKET}/all")
    recordings = BucketRecordings(folder, Cache(tmp_path), [*names, "site 0/no.wav"])
    assert list(recordings.unreadable([*names, "site 0/no.wav"])) == ["site 0/no.wav"]
    assert recordings.without_metadata(names) == []
    assert recordings.n_bytes == 100_000
    assert listings == [folder]
    some = BucketRecordings(folder, Cache(tmp_path), names[::1000])
    assert some.unreadable(names[::1000]) == {} and len(listings) == 2


def test_one_that_leaves_the_bucket_meanwhile(gcs, files, tmp_path):
    gcs.put(BUCKET, files / "audio", "all audio")
    name = "all audio/ward/f/s02_0 take.wav"
    gcs.proxy.inject("call", kind="download", callback=lambda: gcs.delete(BUCKET, name))
    values = remote_values(files, tmp_path)
    (bad,) = prepare.prepare_training(values).failed
    assert bad["uid"] == "s02_0"
    assert "it left the bucket after it was listed" in bad["reason"]


def test_excluded_subjects_files_are_not_kept(gcs, files, tmp_path):
    """Not those of others beside them, either."""
    gcs.put(BUCKET, files / "audio", "all audio")
    prepare.prepare_training(remote_values(files, tmp_path))
    cache = Cache(tmp_path / "cache")
    folder = Address.parse(f"gs://{BUCKET}/all audio")
    flat = [folder / "s00_0 take.wav", folder / "s00_1 take.wav"]
    nested = folder / "ward/m/s01_0 take.wav"
    assert all(cache.keeps(place, True) for place in [*flat, nested])
    (files / "excluded_subjects.txt").write_text("s01\n")
    prepare.prepare_training(remote_values(files, tmp_path))
    assert not cache.keeps(nested, True)
    assert cache.keeps(folder / "ward/m/s03_0 take.wav", True)
    assert all(cache.keeps(place, True) for place in flat)


def test_withdrawal_forgets_the_file_and_no_other(tmp_path):
    cache = Cache(tmp_path / "cache")
    for name in ("ann.wav", "bo.wav"):
        remote = RemoteObject(BUCKET, f"all/{name}", 7, 1, "AAAAAA==")
        cache.path(remote).parent.mkdir(parents=True, exist_ok=True)
        cache.path(remote).write_bytes(b"x")
    (tmp_path / "cache" / "CACHEDIR.TAG").touch()
    person = Person({"ann"}, recordings={"./ann.wav"})
    places = [f"gs://{BUCKET}/all"]
    assert withdraw.clean_audio_cache(tmp_path / "cache", person, places, False) == 1
    left = [path.name for path in (tmp_path / "cache" / "objects").rglob("*.wav")]
    assert left == ["bo.wav"]


def test_withdrawal_learns_files(files):
    person = Person({"s00"})
    table = pd.DataFrame(read_csv(files / "splits" / "train.csv"))
    assert withdraw.learn_corpus(person, str(files), Storage.of({})) == 2
    expected = {"./s00_0 take.wav", "./s00_1 take.wav"}
    assert person.recordings == expected
    # and from a CSV as it stands, of a fold for example
    person = Person({"s00"})
    assert person.learn(table.assign(audio="")) == 2 and person.recordings == expected


# From end to end


@pytest.fixture
def trained(files, tmp_path):
    """An experiment that was trained on files."""
    succeeded(train(files, tmp_path / "experiment"))
    return tmp_path / "experiment"


def test_every_command_takes_files(trained, files, shared_experiment, tmp_path):
    """With the same seed they give what folders give."""
    probabilities = [
        [float(row["probability"]) for row in read_csv(folder / "predictions.csv")]
        for folder in (trained, shared_experiment)
    ]
    assert probabilities[0] == pytest.approx(probabilities[1], abs=1e-5)

    # evaluate.py, with a reason for one file that is not there
    rows = read_csv(files / "splits" / "val.csv")
    (files / "audio" / rows[0]["file"]).unlink()
    write_csv(tmp_path / "others.csv", rows)
    split = f"--split_csv={tmp_path / 'others.csv'}"
    place = f"--output_folder={tmp_path / 'evaluated'}"
    succeeded(evaluate(trained, split, place, *FAST), status=3)
    assert len(read_csv(tmp_path / "evaluated" / "predictions.csv")) == 15
    (bad,) = read_csv(tmp_path / "evaluated" / "failed.csv")
    assert bad["reason"].startswith("there is no file ")

    # extract_embeddings.py, which needs uid and file only
    table = [{"uid": row["uid"], "file": row["file"]} for row in rows]
    write_csv(tmp_path / "any.csv", table)
    options = (
        f"--split_csv={tmp_path / 'any.csv'}",
        f"--data_folder={files / 'audio'}",
        "--embedding_type=pt",
    )
    succeeded(extract(trained, tmp_path / "any.parquet", *options), status=3)
    vectors = pd.read_parquet(tmp_path / "any.parquet")
    assert vectors["uid"].tolist() == [row["uid"] for row in rows]
    assert vectors["embedding"].isna().tolist() == [True] + [False] * 5

    # predict.py, of rows of a CSV
    script = ("predict.py", f"--experiment_folder={trained}", *options[:2])
    file = tmp_path / "predicted.csv"
    succeeded(run_script(*script, f"--output_file={file}", "--device=cpu"), status=3)
    assert {row["uid"] for row in read_csv(file)} == {r["uid"] for r in rows[1:]}

    # withdraw.py names the files themselves, and leaves no row
    where = (f"--corpus_folder={files}", f"--experiment_folder={trained}")
    told = succeeded(run_script("withdraw.py", "--subject=s12", *where)).stdout
    assert f"{files / 'audio' / 'ward/f/s12_0 take.wav'}: the recording itself" in told
    left = {row["subject"] for row in read_csv(trained / "predictions.csv")}
    assert left == {"s11", "s13", "s14"}


def test_a_run_that_was_stopped_goes_on(trained, files, tmp_path):
    """What preparation has saved names files as it does folders."""
    moved = tmp_path / "moved"
    files.rename(moved)
    options = ("--number_of_epochs=3",)
    said = succeeded(train(moved, trained, *options))
    assert (trained / "predictions.csv").exists() and said.returncode == 0


def test_cross_validation_takes_files(files, tmp_path):
    script = ("cross_validate.py", ROOT / "hparams/train_statistics.yaml")
    folders = (f"--corpus_folder={files}", f"--output_folder={tmp_path / 'cv'}")
    options = ("--n_folds=2", "--sample_rate=8000", "--device=cpu", *FAST)
    succeeded(run_script(*script, *folders, *options))
    assert (
        len(read_csv(tmp_path / "cv" / "predictions.csv")) == 66
    )  # of the training and validation splits
