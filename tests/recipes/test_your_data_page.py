"""docs/your_data.md: its examples, run as they stand there."""

import csv
import re
import shlex
from pathlib import Path

import pytest
from preparing import values_of

from local.data.prepare import prepare_training
from recipes.audformat.prepare import main as audformat
from recipes.bids.prepare import main as bids
from recipes.table.prepare import main
from tests.recipes.tables import (
    read_splits,
    rows_of,
    write_audio,
    write_csv_rows,
    write_xlsx,
)

PAGE = Path(__file__).parents[2] / "docs" / "your_data.md"
TEXT = PAGE.read_text(encoding="utf-8")


def command_with(text):
    """The arguments of the page's command that has this text in it."""
    blocks = re.findall(r"(?m)^    python (recipes/\S+) ((?:.*\\\n)*.*)", TEXT)
    (arguments,) = [rest for _, rest in blocks if text in rest]
    return shlex.split(arguments.replace("\\\n", " "))


def table_with(column):
    """The rows of the page's table that has this column, the header first."""
    rows = []
    for line in TEXT.splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if line.startswith("|") and (rows or column in cells):
            rows.append(cells)
        elif rows:
            return [rows[0], *rows[2:]]
    raise AssertionError(column)


def block_after(text):
    """The indented lines after the one with this text."""
    rest = TEXT.split(text, 1)[1].partition("\n\n")[2]
    return [line.strip() for line in rest.partition("\n\n")[0].splitlines()]


def test_folders(tmp_path):
    """Three more people, as two are too few for validation and test."""
    header, *rows = csv.reader(block_after("has one row per recording"))
    more = [[f"r{i}", f"p{i:02}", str(i % 2), "male"] for i in range(3, 9)]
    (tmp_path / "splits").mkdir()
    write_csv_rows(tmp_path / "splits/train.csv", [header, *rows, *more[:4]])
    write_csv_rows(tmp_path / "splits/test.csv", [header, *more[4:]])
    (tmp_path / "labels.txt").write_text("strained\n")
    names = [f"audio/{row[0]}/waveform.wav" for row in rows + more]
    write_audio(tmp_path, names)
    found = prepare_training(values_of(tmp_path, val_size=1))
    assert found.failed == [] and found.labels == ["strained"]
    # and with a column file
    header, row = csv.reader(block_after("paths below `--data_folder`"))
    more = [
        [f"p{i:02}_a", f"p{i:02}", f"ward A/p{i:02}_a.wav", i % 2] for i in range(2, 9)
    ]
    write_csv_rows(tmp_path / "splits/train.csv", [header, row, *more[:5]])
    write_csv_rows(tmp_path / "splits/test.csv", [header, *more[5:]])
    write_audio(tmp_path / "audio", [row[2] for row in [row, *more]])
    assert prepare_training(values_of(tmp_path, val_size=1)).failed == []


def test_a_spreadsheet(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    header, *rows = table_with("Subject code")
    rows += [[f"S{i:02}", "F", "50", "healthy", str(i)] for i in range(3, 9)]
    rows = [[*row[:2], int(row[2]), row[3], int(row[4])] for row in rows]
    write_xlsx(tmp_path / "ward.xlsx", [header, *rows])
    write_audio(tmp_path / "wav", [f"{row[0]}_{t}.wav" for row in rows for t in "ai"])
    assert main(command_with("ward.xlsx")) == 0
    found = rows_of("my_corpus")
    assert len(found) == 16
    assert list(found["S01_a"].values()) == [
        *("S01_a", "S01", "S01_a.wav", "a", "1", "44", "F", "61"),
    ]
    option = re.search(r"--label_types='(.*?)'", capsys.readouterr().out)[1]
    assert option == "{vhi: {type: score, range: [0, 50]}}"


@pytest.fixture
def redcap(tmp_path, monkeypatch):
    """An export of twelve people: the page's one, and more like her."""
    monkeypatch.chdir(tmp_path)
    header, *rows = table_with("redcap_repeat_instrument")
    for i in range(2, 13):
        for row in rows[:4]:
            own = [str(i), *row[1:]]
            own[8] = own[8].replace("1_", f"{i}_")
            if not own[1]:
                own[3:7] = [str(1 + i % 2), str(50 + i), str(i % 3 % 2), str(i % 4)]
            if own[1] == "vhi":
                own[7] = "-99" if i == 2 else str(10 * i)
            rows.append(own)
    write_csv_rows(tmp_path / "redcap.csv", [header, *rows])
    write_audio(tmp_path / "audio_files", [row[8] for row in rows if row[8]])
    return header, rows


def test_redcap(redcap, capsys):
    assert main(command_with("redcap.csv")) == 0
    said = capsys.readouterr().out
    rows = rows_of("redcap_corpus")
    assert len(rows) == 24
    first = rows["1_vowel"]
    assert (first["parkinson"], first["tremor"], first["vhi"]) == ("1", "1", "")
    assert (first["sex"], first["age"], first["subject"]) == ("2", "66", "1")
    seventh = rows["7_reading"]  # 7 % 3 % 2, 7 % 4, 10 * 7
    assert (seventh["parkinson"], seventh["tremor"], seventh["vhi"]) == ("1", "1", "70")
    assert rows["8_reading"]["tremor"] == "0"
    assert "redcap.csv: 24 rows without a file's name; 24 of them are about" in said
    assert "vhi: 20 rated, from 30 to 120, 4 not rated" in said
    people = {
        n: {r["subject"] for r in of} for n, of in read_splits("redcap_corpus").items()
    }
    assert not people["train"] & people["test"]


def test_redcap_with_two_questionnaires_is_a_guess(redcap, capsys):
    header, rows = redcap
    again = [*rows[1][:2], "2", *rows[1][3:7], "55", ""]
    rows[1][7] = "44"
    write_csv_rows(Path("redcap.csv"), [header, *rows, again])
    assert main(command_with("redcap.csv")) == 2
    message = capsys.readouterr().err
    assert (
        "1 subject with several values of 'vhi_total' in rows without a file" in message
    )
    assert not Path("redcap_corpus").exists()


def test_redcap_tells_where_a_recordings_row_says_something_else(redcap, capsys):
    """Some exports have 0 for checkboxes of other instruments."""
    header, rows = redcap
    for row in rows:
        row[5] = row[5] or "0" * (row[1] == "recording")
    write_csv_rows(Path("redcap.csv"), [header, *rows])
    assert main([*command_with("redcap.csv"), "--dry_run"]) == 2
    message = capsys.readouterr().err
    # persons 1, 4, 7 and 10 are 1
    assert "8 cells in column 'diagnosis___1' that a row about the same" in message
    accepted = [*command_with("redcap.csv"), "--accept=own_row"]
    assert main(accepted) == 0
    assert {row["parkinson"] for row in rows_of("redcap_corpus").values()} == {"0"}


def test_bids(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names = block_after("this is the manner of Bridge2AI-Voice")
    people, diagnoses, recording, sidecar = map(Path, names)
    diagnoses.parent.mkdir(parents=True)
    codes = [f"{i:02}" for i in range(1, 7)]
    rows = [f"sub-{code}\t{'FM'[i % 2]}" for i, code in enumerate(codes)]
    people.write_text("\n".join(["participant_id\tsex", *rows]) + "\n")
    rows = [f"{code}\t1\t{['no', 'yes'][i % 2]}" for i, code in enumerate(codes)]
    header = "participant_id\tsession_id\tgold_standard_diagnosis"
    diagnoses.write_text("\n".join([header, *rows]) + "\n")
    write_audio("", [str(recording).replace("sub-01", f"sub-{code}") for code in codes])
    sidecar.write_text("{}")
    assert bids(command_with("my_study")) == 0
    assert rows_of("bids_corpus")["sub-02_ses-1_task-vowel"] == {
        **{"uid": "sub-02_ses-1_task-vowel", "subject": "02"},
        "file": "sub-02/ses-1/audio/sub-02_ses-1_task-vowel.wav",
        **{"task": "vowel", "session": "1", "pd": "1", "sex": "M"},
    }


def test_audformat(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    header, *rows = table_with("speaker")
    for i, split in enumerate(("train", "dev", "test")):
        renamed = [[cell.replace("03", f"{i + 3:02}") for cell in row] for row in rows]
        write_csv_rows(Path(f"{split}.csv"), [header, *renamed])
        write_audio("", [row[0] for row in renamed])
    assert audformat(command_with("emotion")) == 0
    splits = read_splits("audformat_corpus")
    assert {name: len(rows) for name, rows in splits.items()} == {
        **{"train": 2, "val": 2, "test": 2}
    }
    first = rows_of("audformat_corpus")["03a-0-0.1"]
    assert (first["start_s"], first["end_s"], first["happy"]) == ("0", "0.1", "1")
    assert (first["sex"], first["age"], first["subject"]) == ("male", "31", "03")
