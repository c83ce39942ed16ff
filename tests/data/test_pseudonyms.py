"""Results that name nobody, and that a holder of the key can tie to names again."""

import hashlib
import hmac
import json

import pyarrow.parquet as pq
import pytest
from conftest import make_corpus, read_csv, write_csv
from hypothesis import given
from hypothesis import strategies as st
from running import FAST, FULL, evaluate, extract, failed, run_script, succeeded, train

from local.data.pseudonyms import Pseudonyms, are_pseudonyms, read_pseudonyms
from local.utils.errors import UserError

KEY = bytes(range(32))


def expected(kind, name, key=KEY):
    """By the standard library alone: HMAC of what it is, a zero byte and the name."""
    digest = hmac.new(key, f"{kind}\0{name}".encode(), hashlib.sha256).hexdigest()
    return f"{kind}-{digest[:20]}"


def test_pseudonyms_are_keyed_and_tell_recordings_from_subjects():
    pseudonyms = Pseudonyms(KEY)
    assert pseudonyms.uid("p01") == expected("uid", "p01")
    assert pseudonyms.subject("p01") == expected("subject", "p01")
    other = Pseudonyms(KEY[::-1])
    assert other.uid("p01") != pseudonyms.uid("p01")
    assert other.fingerprint != pseudonyms.fingerprint


@given(st.text(max_size=30))
def test_any_text_has_a_pseudonym_which_stays_itself(name):
    pseudonyms = Pseudonyms(KEY)
    made = pseudonyms.uid(name)
    assert are_pseudonyms([made]) and pseudonyms.uid(made) == made
    assert pseudonyms.uids_restored([made, "other"], [name]) == [name, "other"]


def test_a_key_is_never_shown():
    assert repr(Pseudonyms(KEY)) == "Pseudonyms()"


@pytest.mark.parametrize("content", [None, b"", bytes(15)])
def test_what_is_no_key(tmp_path, content):
    if content is not None:
        (tmp_path / "key").write_bytes(content)
    with pytest.raises(UserError, match="16 secret bytes or more"):
        read_pseudonyms(tmp_path / "key")
    with pytest.raises(UserError, match="must be on disk"):
        read_pseudonyms("gs://clinic/key")


def test_without_a_key_names_stay():
    assert read_pseudonyms(None) is None


def test_reasons_name_no_folder():
    (entry,) = Pseudonyms(KEY).hidden_failures(
        [{"uid": "r1", "subject": "p1", "reason": "there is no folder /data/p1/r 1"}]
    )
    assert entry == {
        "uid": expected("uid", "r1"),
        "subject": expected("subject", "p1"),
        "reason": "there is no folder …",
    }


# The commands


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A corpus with a damaged recording, an experiment and embeddings, with a key."""
    folder = tmp_path_factory.mktemp("pseudonyms")
    (folder / "key").write_bytes(KEY)
    corpus = make_corpus(folder / "corpus")
    (corpus / "audio/s11_0/waveform.wav").write_bytes(b"")
    # one audio in two splits: the audit names its recordings
    wave = (corpus / "audio/s00_0/waveform.wav").read_bytes()
    (corpus / "audio/s12_0/waveform.wav").write_bytes(wave)
    key = f"--pseudonymise_key={folder / 'key'}"
    succeeded(train(corpus, folder / "experiment", key, *FULL), status=3)
    return folder


def names_of(corpus):
    """All uids and subjects of a corpus."""
    rows = [row for file in corpus.glob("splits/*.csv") for row in read_csv(file)]
    return {row["uid"] for row in rows} | {row["subject"] for row in rows}


def test_what_is_for_others_names_nobody(run):
    experiment = run / "experiment"
    names = names_of(run / "corpus")
    for file in ("predictions.csv", "failed.csv", "audit.json", "metrics.json"):
        text = (experiment / file).read_text(encoding="utf-8")
        assert not [name for name in names if name in text], file
    for file in ("report.html", "model_card.md"):
        text = (experiment / file).read_text(encoding="utf-8")
        assert not [name for name in names if f"{name}<" in text or f" {name}" in text]
    assert expected("uid", "s12_0") in (experiment / "report.html").read_text()


def test_names_are_the_keyed_hashes_in_the_same_order(run):
    rows = read_csv(run / "experiment/predictions.csv")
    split = read_csv(run / "experiment/save/manifests/test.csv")
    found = [(row["uid"], row["subject"]) for row in rows[::3]]
    assert found == [
        (expected("uid", row["ID"]), expected("subject", row["subject"]))
        for row in split
    ]
    (bad,) = read_csv(run / "experiment/failed.csv")
    assert bad["uid"] == expected("uid", "s11_0") and "empty" in bad["reason"]
    audit = json.loads((run / "experiment/audit.json").read_text())
    (shared,) = audit["shared_audio"]
    both = {expected("uid", "s00_0"), expected("uid", "s12_0")}
    assert set(shared["uids"]) == both


def test_the_key_is_nowhere_in_the_experiment(run):
    files = [file for file in (run / "experiment").rglob("*") if file.is_file()]
    for file in files:
        content = file.read_bytes()
        assert KEY not in content and KEY.hex().encode() not in content, file


def test_embeddings_have_the_same_names_and_can_be_a_baseline(run):
    """Features of training and test; the experiment's own key is taken."""
    parts = [read_csv(run / "corpus/splits" / f"{n}.csv") for n in ("train", "test")]
    listed = [{"uid": row["uid"]} for rows in parts for row in rows]
    write_csv(run / "all.csv", listed)
    csv = f"--split_csv={run / 'all.csv'}"
    succeeded(extract(run / "experiment", run / "e.parquet", csv), status=3)
    table = pq.read_table(run / "e.parquet")
    assert table["uid"].to_pylist() == [expected("uid", row["uid"]) for row in listed]
    assert table.schema.metadata[b"pseudonyms"].decode() == Pseudonyms(KEY).fingerprint
    (bad,) = read_csv(run / "e.parquet.failed.csv")
    assert bad["uid"] == expected("uid", "s11_0")
    result = evaluate(
        run / "experiment",
        f"--features={run / 'e.parquet'}",
        f"--output_folder={run / 'with features'}",
        *FAST,
    )
    succeeded(result, status=3)
    metrics = json.loads((run / "with features/metrics.json").read_text())
    assert metrics["baselines"]["e"]["labels"]["low"]["auroc"]["value"] is not None
    own = read_csv(run / "with features/predictions.csv")
    beside = read_csv(run / "with features/baselines/e.csv")
    assert {row["uid"] for row in beside} == {row["uid"] for row in own}


def test_predictions_find_their_recordings_by_the_key(run, tmp_path):
    command = (
        *("evaluate.py", "hparams/evaluate.yaml", *FAST),
        f"--predictions_csv={run / 'experiment/predictions.csv'}",
        f"--split_csv={run / 'corpus/splits/test.csv'}",
    )
    folder = tmp_path / "with"
    key = f"--pseudonymise_key={run / 'key'}"
    succeeded(run_script(*command, key, f"--output_folder={folder}"))
    metrics = json.loads((folder / "metrics.json").read_text())
    own = json.loads((run / "experiment/metrics.json").read_text())
    assert metrics["labels"]["low"]["auroc"] == own["labels"]["low"]["auroc"]
    assert metrics["subgroups"]["low"]["columns"].keys() == {"sex"}
    rows = [read_csv(of / "predictions.csv") for of in (folder, run / "experiment")]
    assert [row["uid"] for row in rows[0]] == [row["uid"] for row in rows[1]]
    message = failed(run_script(*command, f"--output_folder={tmp_path / 'without'}"))
    assert "pseudonyms" in message and "--pseudonymise_key" in message


def test_a_key_that_is_not_there_stops_a_run_before_it_begins(run, tmp_path):
    message = failed(
        train(run / "corpus", tmp_path / "new", f"--pseudonymise_key={tmp_path / 'k'}")
    )
    assert "pseudonymise_key" in message and not (tmp_path / "new").exists()
