"""recipes/audformat/prepare.py on CSVs as audformat and nkululeko write them."""

import pytest
from preparing import values_of

from local.data.prepare import prepare_training
from recipes.audformat.prepare import main
from tests.recipes.tables import read_splits, rows_of, write_audio, write_csv_rows

HEADER = ("file", "speaker", "gender", "age", "emotion", "arousal")
SPEAKERS = {"train": "abcd", "dev": "ef", "test": "gh"}
LABEL = "--label=happy: {emotion} = happiness"


def rows_of_split(split, below="wav/"):
    return [
        (
            *(f"{below}{s}{i}.wav", s, ["male", "female"][i % 2], 30),
            *(["happiness", "anger"][i % 2], 0.25 * i),
        )
        for s in SPEAKERS[split]
        for i in (0, 2, 1)
    ]


@pytest.fixture
def corpus(tmp_path):
    """nkululeko's train, dev and test, with paths from their folder on."""
    names = [f"wav/{s}{i}.wav" for s in "abcdefgh" for i in (0, 1, 2)]
    write_audio(tmp_path / "db", names)
    for split in SPEAKERS:
        rows = [(f, s, "male", a, e, r) for f, s, _, a, e, r in rows_of_split(split)]
        write_csv_rows(tmp_path / "db" / f"db_{split}.csv", [HEADER, *rows])
    return tmp_path / "db"


def run(capsys, corpus, *options, names=("train", "dev", "test")):
    capsys.readouterr()
    csvs = [f"--csv={corpus}/db_{name}.csv" for name in names]
    status = main([*csvs, f"--corpus_folder={corpus.parent / 'corpus'}", *options])
    told = capsys.readouterr()
    return status, told.out, told.err


def test_splits_as_they_are(corpus, capsys):
    status, _, message = run(capsys, corpus, LABEL, "--score=arousal: {arousal}")
    assert status == 0, message
    made = corpus.parent / "corpus"
    splits = read_splits(made)
    assert {
        name: {row["subject"] for row in rows} for name, rows in splits.items()
    } == {
        "train": {"a", "b", "c", "d"},
        "val": {"e", "f"},
        "test": {"g", "h"},
    }
    row = rows_of(made)["a2"]
    assert row == {
        **{"uid": "a2", "subject": "a", "file": "a2.wav", "happy": "1"},
        **{"arousal": "0.5", "sex": "male", "age": "30"},
    }
    assert (made / "audio").resolve() == (corpus / "wav").resolve()
    types = {"arousal": {"type": "score", "range": [0, 1]}}
    assert prepare_training(values_of(made, label_types=types)).failed == []
    assert main([str(made / "corpus.yaml")]) == 0


def test_segments(tmp_path, capsys):
    """As audformat writes them, and in seconds; paths that are whole."""
    write_audio(tmp_path / "wav", [f"{s}.wav" for s in "abcd"], seconds=0.5)
    times = [
        ("0 days", "0 days 00:00:00.2"),
        ("0 days 00:00:00.2", "NaT"),
        ("0 days", "NaT"),
    ]
    rows = [
        (f"{tmp_path}/wav/{s}.wav", *(times[i] if s != "d" else (0, "")), s, i % 2)
        for s in "abc"
        for i in (0, 1)
    ]
    rows += [(f"{tmp_path}/wav/d.wav", "0 days", "NaT", "d", 1)]
    rows += [(f"{tmp_path}/wav/d.wav", 0.1, 0.4, "d", 0)]
    write_csv_rows(
        tmp_path / "all.csv", [("file", "start", "end", "speaker", "x"), *rows]
    )
    made = tmp_path / "corpus"
    options = [f"--csv={tmp_path / 'all.csv'}", "--label=x: {x}"]
    assert main([*options, f"--corpus_folder={made}"]) == 0, capsys.readouterr().err
    rows = rows_of(made)
    assert {uid: (row["start_s"], row["end_s"]) for uid, row in rows.items()} == {
        **{f"{s}-0-0.2": ("0", "0.2") for s in "abc"},
        **{f"{s}-0.2": ("0.2", "") for s in "abc"},
        **{"d": ("", ""), "d-0.1-0.4": ("0.1", "0.4")},
    }
    assert set(read_splits(made)) == {"train", "test"}  # drawn
    assert prepare_training(values_of(made, val_size=1)).failed == []


def test_a_name_says_the_split(corpus, capsys):
    (corpus / "db_test.csv").rename(corpus / "db_held-out.csv")
    status, _, message = run(capsys, corpus, LABEL, names=("train", "held-out"))
    assert status == 0 and len(read_splits(corpus.parent / "corpus")) == 2, message
    (corpus / "db_dev.csv").rename(corpus / "other.csv")
    csvs = [f"--csv={corpus}/db_train.csv", f"--csv=test={corpus}/db_held-out.csv"]
    csvs += [f"--csv={corpus}/other.csv", LABEL]
    assert main([*csvs, f"--corpus_folder={corpus.parent / 'c'}"]) == 2
    assert "Of which split is other.csv?" in capsys.readouterr().err
    csvs[2] = f"--csv=dev={corpus}/other.csv"
    assert main([*csvs, f"--corpus_folder={corpus.parent / 'c'}"]) == 0
    assert {len(rows) for rows in read_splits(corpus.parent / "c").values()} == {12, 6}


def test_a_test_needs_a_training(corpus, capsys):
    (corpus / "db_train.csv").rename(corpus / "all.csv")
    csvs = [f"--csv={corpus}/all.csv", f"--csv={corpus}/db_test.csv", LABEL]
    assert main([*csvs, f"--corpus_folder={corpus.parent / 'c'}"]) == 2
    assert "none of train: give --csv=train=FILE" in capsys.readouterr().err


def change(name, *pairs):
    """Text of a CSV is another."""

    def changed(corpus):
        path = corpus / f"db_{name}.csv"
        text = path.read_text()
        for old, new in pairs:
            assert old in text
            text = text.replace(old, new)
        path.write_text(text)

    return changed


@pytest.mark.parametrize(
    ("spoil", "options", "told"),
    [
        (change("test", (",g,", ",a,")), (LABEL,), "subject in several splits: 'a'"),
        (change("test", ("file,", "path,")), (LABEL,), "has no column 'file'"),
        (
            change("test", ("wav/g0.wav", "wav/G0.wav")),
            (LABEL,),
            "'G0.wav' is nearly g0.wav (db_test.csv row 2)",
        ),
        (change("dev", ("wav/e0.wav", "")), (LABEL,), "empty cell in column 'file'"),
        (
            change("train", ("wav/a0.wav", "../../etc/passwd")),
            (LABEL,),
            "db, where the other paths begin: '../../etc/passwd' (db_train.csv row 2);",
        ),
        (
            change("train", ("gender,", "end,"), ("male", "soon")),
            ("--label=x: {age} and {emotion}",),
            "in column 'end' with no time, as '0 days 00:00:01.5' or 1.5: 'soon' "
            "(db_train.csv row 2, 3, 4, 5, 6, …)\n  - 24 cells in column 'age' with",
        ),
        *[
            (
                change("train", ("gender,", "end,"), ("male", f'"{comma}"')),
                (LABEL,),
                f"with no time, as '0 days 00:00:01.5' or 1.5: '{comma}' (db_train.csv",
            )
            for comma in ("0,5", "0 days 00:00:01,5", "1 000")
        ],
        (
            change("train", ("gender,", "end,"), ("male", "2024-05-01")),
            (LABEL,),
            "'2024-05-01' (db_train.csv row 2, 3, 4, 5, 6, …); spreadsheet programs",
        ),
        (
            change("train", ("gender,age", "start,end"), ("male,30", "2,1")),
            (LABEL,),
            "'end_s' that is not after start_s: '1' (db_train.csv row 2, 3",
        ),
        (None, ("--label=x: {emotoin} = y",), "did you mean 'emotion'"),
        (None, (LABEL, "--subject={person}"), "no column 'person'"),
        (None, (LABEL, "--audio_folder=/nowhere"), "such as /nowhere/wav/a0.wav, and"),
        (
            change("train", ("wav/a0.wav", "/etc/passwd")),
            (LABEL,),
            "no folder in common but /",
        ),
        (
            change("train", ("gender,", "start,"), ("male", "-1")),
            (LABEL,),
            "in column 'start_s' with no number from 0 on: '-1' (db_train.csv row 2",
        ),
        (None, (), "there is none: give --label"),
    ],
)
def test_bad_input(corpus, capsys, spoil, options, told):
    if spoil:
        spoil(corpus)
    status, _, message = run(capsys, corpus, *options)
    assert status == 2 and told in message, message
    assert not (corpus.parent / "corpus").exists()


@pytest.fixture
def database(corpus):
    """The same as a database of audformat: each table says something else."""
    rows = {split: rows_of_split(split) for split in SPEAKERS}
    for split in ("train", "test"):
        emotions = [(row[0], row[4], 0.9) for row in rows[split]]
        header = ("file", "emotion", "emotion.confidence")
        name = f"db.emotion.{split}.csv"
        write_csv_rows(corpus / name, [header, *emotions])
    files = [(row[0], row[1], "0 days 00:00:01") for s in rows for row in rows[s]]
    write_csv_rows(corpus / "db.files.csv", [("file", "speaker", "duration"), *files])
    people = [(s, "female", 40) for s in "abcdefgh"]
    write_csv_rows(corpus / "db.speaker.csv", [("speaker", "gender", "age"), *people])
    return [f"--csv={path}" for path in sorted(corpus.glob("db.*.csv"))]


def test_a_database_of_audformat_has_speakers_in_tables_of_their_own(
    database, tmp_path, capsys
):
    made = f"--corpus_folder={tmp_path / 'corpus'}"
    assert main([*database, LABEL, made]) == 0, capsys.readouterr().err
    splits = read_splits(tmp_path / "corpus")
    assert {name: len(rows) for name, rows in splits.items()} == {
        **{"train": 12, "test": 6},
    }
    assert rows_of(tmp_path / "corpus")["g1"] == {
        **{"uid": "g1", "subject": "g", "file": "g1.wav", "happy": "0"},
        **{"sex": "female", "age": "40"},
    }
    old = "--label=old: {age} >= 40"  # which only the table of speakers has
    csvs = [csv for csv in database if "emotion" not in csv]
    assert main([*csvs, old, f"{made}1"]) == 0
    assert {row["old"] for row in rows_of(tmp_path / "corpus1").values()} == {"1"}
    files = tmp_path / "db" / "db.files.csv"
    files.write_text(files.read_text() + "wav/a0.wav,b,0 days\n")  # whose is it?
    assert main([*database, LABEL, f"{made}2"]) == 2
    told = "1 file in several rows of a CSV that no label asks for: 'a0.wav' (db.files"
    assert told in capsys.readouterr().err
    files.write_text("file,speaker\nwav/a0.wav,a\n")
    assert main([*database, LABEL, f"{made}2"]) == 2
    assert "17 rows of which --subject='{speaker}' gives" in capsys.readouterr().err


def test_files_without_a_label_are_recordings_still(corpus, capsys):
    change("dev", ("emotion,", "mood,"))(corpus)
    status, said, message = run(capsys, corpus, LABEL)
    assert status == 0 and "happy: 12 are 1, 6 are 0, 6 not rated" in said, message
    assert len(read_splits(corpus.parent / "corpus")["val"]) == 6


@pytest.mark.parametrize("named", [("db.speaker",), ("db.files",), ()])
def test_tables_of_others_need_one_with_the_labels(database, tmp_path, capsys, named):
    csvs = [csv for csv in database if any(name in csv for name in named)]
    assert main([*csvs, LABEL, f"--corpus_folder={tmp_path / 'corpus'}"]) == 2
    message = capsys.readouterr().err
    told = {
        ("db.speaker",): "A CSV with the labels and a column 'file' is missing",
        ("db.files",): "there is no column 'emotion'",
        (): "Give --csv=FILE",
    }
    assert told[named] in message


@pytest.mark.parametrize("with_times", [False, True])
def test_a_csv_that_is_there_twice(corpus, capsys, with_times):
    if with_times:
        change("train", ("gender,", "end,"), ("male", "0.1"))(corpus)
    (corpus / "db_test.csv").write_text((corpus / "db_train.csv").read_text())
    status, _, message = run(capsys, corpus, LABEL, names=("train", "test"))
    assert status == 2 and "4 subjects in several splits: 'a', 'b'" in message


def test_rows_that_name_one_segment(corpus, capsys):
    change("train", ("gender,", "end,"), ("male", "45123"))(corpus)
    status, said, message = run(capsys, corpus, LABEL, names=("train",))
    assert status == 0, message
    told = "12 cells in column 'end_s' beyond the recording's end: '45123' (db_train"
    assert told in said
    change("train", ("wav/a0.wav", "wav/a1.wav"))(corpus)
    status, _, message = run(capsys, corpus, LABEL, names=("train",))
    assert status == 2
    told = "1 file that two rows name: 'a1.wav' (db_train.csv row 2, 4); remove one row"
    assert told in message


def test_paths_may_all_lead_out_of_the_csvs_folder(corpus, capsys):
    csv = corpus / "lists" / "all.csv"
    csv.parent.mkdir()
    csv.write_text((corpus / "db_train.csv").read_text().replace("wav/", "../wav/"))
    made = corpus.parent / "corpus"
    assert main([f"--csv={csv}", LABEL, f"--corpus_folder={made}"]) == 0
    assert (made / "audio").resolve() == (corpus / "wav").resolve()


def test_without_speakers_somebody_must_say_who_it_is(corpus, capsys):
    for split in SPEAKERS:
        change(split, ("speaker,", "person,"))(corpus)
    change("test", ("gender,", "end,"), ("male", ""))(corpus)
    status, _, message = run(capsys, corpus, LABEL)
    assert status == 2 and "no column 'speaker'" in message
    assert "are file, person, gender, age, emotion, arousal, end." in message
    assert run(capsys, corpus, LABEL, "--subject={person}")[0] == 0


def test_no_csv(tmp_path, capsys):
    assert main([f"--corpus_folder={tmp_path / 'c'}", LABEL]) == 2
    assert "Give --csv=FILE" in capsys.readouterr().err
