"""Bad input of the table recipe: one message with status 2, and nothing is written.

Each case changes a sheet of ten people, or an option.
"""

import datetime
import os
import unicodedata

import numpy as np
import openpyxl
import pytest

from recipes.table.prepare import main
from tests.recipes.tables import prepare, rows_of, write_audio, write_csv_rows

HEADER = ["Code", "Sex", "Strained", "VHI"]
CASES = {}


@pytest.fixture
def ward(tmp_path):
    """Ten people in a workbook, one recording each."""
    rows = [[f"P{i:02}", "FM"[i % 2], i % 2, 10 * i] for i in range(10)]
    workbook = openpyxl.Workbook()
    for row in (HEADER, *rows):
        workbook.active.append(row)
    workbook.save(tmp_path / "ward.xlsx")
    write_audio(tmp_path / "wav", [f"P{i:02}_a.wav" for i in range(10)])
    return tmp_path


def options_of(folder, **changed):
    """Options for the ward."""
    options = {
        "table": folder / "ward.xlsx",
        "audio_folder": folder / "wav",
        "corpus_folder": folder / "corpus",
        "file": "{Code}_*.wav",
        "subject": "{Code}",
        "label": "strained: {Strained}",
        **changed,
    }
    return {key: value for key, value in options.items() if value is not None}


def case(name, *expected, **options):
    """Note a function that changes the sheet, and what is said of it."""

    def note(change):
        CASES[name] = (change, expected, options)
        return change

    return note


def with_option(name, *expected, **options):
    """A case of other options only."""
    case(name, *expected, **options)(lambda sheet: None)


@case("merged cells", "has merged cells (A2:A3)", "unmerge them")
def _(sheet):
    sheet.merge_cells("A2:A3")


@case("dates for codes", "1 row with a date and without a file: '2024-03-01_*.wav'")
def _(sheet):
    sheet["A3"] = datetime.datetime(2024, 3, 1)


@case(
    "dates for numbers",
    "1 cell in column 'VHI' with a date in place of a number: '2024-05-01' (ward.xlsx, "
    "sheet 'Sheet' row 3); spreadsheet programs turn",
    "1 cell in column 'VHI' with something else than a number: 'mild'",
    score="vhi: {VHI}",
)
def _(sheet):
    sheet["D3"], sheet["D4"] = datetime.datetime(2024, 5, 1), "mild"


@case("formulas without values", "1 cell with a formula and no value: '=B1'", "row 3)")
def _(sheet):
    sheet["A3"] = "=B1"


@case("formulas of a label", "1 cell with a formula and no value: '=1+0'")
def _(sheet):
    sheet["C3"] = "=1+0"


@case("two columns of one name", "1 column given twice: 'Sex'", "rename one of the two")
def _(sheet):
    sheet["D1"] = "Sex "


@case("a name in another case", "'p02_*.wav' is nearly P02_a.wav", "=near_names")
def _(sheet):
    sheet["A4"] = "p02"


@case("a name with a space", "'P0 2_*.wav' is nearly P02_a.wav")
def _(sheet):
    sheet["A4"] = "P0 2"


@case("a row that is there twice", "1 file matched by two rows: 'P02_a.wav'")
def _(sheet):
    sheet["A4"] = sheet["A5"].value = "P02"


@case("no code", "1 row of which --subject='{Sex}' gives no subject", subject="{Sex}")
def _(sheet):
    sheet["B4"] = None


@case(
    "words in a label",
    "1 cell in column 'Strained' with something else than 0 and 1: 'mild' (ward.xlsx, "
    "sheet 'Sheet' row 4)",
    "what is 1, as --label='NAME: {Strained} = value'",
)
def _(sheet):
    sheet["C4"] = "mild"


@case(
    "a code in a score",
    "1 cell in column 'VHI' far from all others: '-99'",
    "--missing_values='[-99]'",
    score="vhi: {VHI}",
)
def _(sheet):
    sheet["D4"] = -99


@case("words in a score", "else than a number: 'severe'", score="vhi: {VHI}")
def _(sheet):
    sheet["D4"] = "severe"


@case(
    "words compared with a number",
    "'mild' (ward.xlsx, sheet 'Sheet' row 4)",
    label="x: {VHI} >= 12",
)
def _(sheet):
    sheet["D4"] = "mild"


@case("an error of the spreadsheet", "'#REF!'", label="x: {Sex} = F")
def _(sheet):
    sheet["B4"] = "#REF!"


@case(
    "words for unknown",
    "that may mean that nothing is known: '?' (ward.xlsx, sheet 'Sheet' row 4)",
    """--missing_values='["?"]'""",
    label="x: {Sex} = F",
)
def _(sheet):
    sheet["B4"] = "?"


@case("nothing that is rated", "no label of any recording is rated")
def _(sheet):
    for row in range(2, 12):
        sheet.cell(row, 3).value = "NA"


@case("one person only", "All recordings are of 1 subject", subject="{Sex}")
def _(sheet):
    for row in range(2, 12):
        sheet.cell(row, 2).value = "F"


with_option(
    "no match",
    "no file matches --file='x/{Code}.wav': looked for x/P00.wav, x/P01.wav",
    "holds P00_a.wav",
    file="x/{Code}.wav",
)
with_option(
    "a pattern of an absent column",
    "--file='{cod}_*.wav': there is no column 'cod', did you mean 'Code'?",
    file="{cod}_*.wav",
)
with_option(
    "a condition of an absent column",
    "--label='x: …': there is no column 'Diagnosis'",
    label="x: {Diagnosis} = PD",
)
with_option("two stars", "at most one *", file="{Code}_*_*.wav")
with_option("a way out", "below the audio folder", file="../{Code}.wav")
with_option("no column in a pattern", "is no pattern", file="*.wav")
with_option("a brace without a partner", "is no pattern", subject="{Code")
with_option(
    "another condition",
    "'x like {y}' is no condition",
    "expected {COLUMN}, {COLUMN} = value",
    label="a: x like {y}",
)
with_option("two signs", "is no condition", label="a: {Sex} == F")
with_option("no value", "compares with nothing", label="a: {Sex} = ''")
with_option("no number", "compares with 'F', which is no number", label="a: {VHI} > F")
with_option("no name", "expected 'NAME: …'", label="{Sex} = F")
with_option("a reserved name", "'file' can't be a label's name", label="file: {Sex}")
with_option("no label", "give --label, --score or --rater", label=None)
with_option("a head with another label", "name each label once", heads="a;strained")
with_option("a kept column that is taken", "'uid' has a meaning of its own", keep="uid")
with_option("no such sheet", "has no sheet Data: there are 'Sheet'", sheet="Data")
with_option("another kind", "--accept takes near_names", accept="all")
with_option("no share", "--test_share must lie between 0 and 1", test_share=1)
with_option("a seed below 0", "--seed must be 0 or more", seed=-1)
with_option("no yaml", "is no yaml value", label_values="{a")
with_option("a list for a dict", "wrong: label_values", label_values="[1]")
with_option("a table in a bucket", "must be on disk", table="gs://ward/t.csv")
with_option("a copy of nothing", "lacks a name", keep="")
with_option("no such table", "No such file", table="/none/x.xlsx")
with_option("no such folder", "there is no folder /none", audio_folder="/none")
with_option("a score of two columns", "expected one column", score="v: {VHI} > 3")
with_option(
    "one name for two",
    "'strained' is a score and a label",
    score="strained: {VHI}",
)


@pytest.mark.parametrize("name", CASES)
def test_bad_input_is_one_message_and_nothing_is_written(ward, name, capsys):
    change, expected, options = CASES[name]
    workbook = openpyxl.load_workbook(ward / "ward.xlsx")
    change(workbook.active)
    workbook.save(ward / "ward.xlsx")
    before = sorted(ward.rglob("*"))
    status, _, message = prepare(capsys, **options_of(ward, **options))
    assert status == 2
    for text in expected:
        assert text in message, message
    assert "Traceback" not in message
    assert sorted(ward.rglob("*")) == before


# Files that are no workbook


def test_a_workbook_with_a_password(ward, capsys):
    """Which is an OLE file with the encrypted one in it."""
    ole = bytes.fromhex("d0cf11e0a1b11ae1") + bytes(1000)
    ole += "EncryptedPackage".encode("utf-16-le") + bytes(1000)
    (ward / "ward.xlsx").write_bytes(ole)
    status, _, message = prepare(capsys, **options_of(ward))
    assert status == 2 and "ward.xlsx is protected by a password" in message
    (ward / "ward.xlsx").write_bytes(ole[:900])
    assert "is an old Excel file" in prepare(capsys, **options_of(ward))[2]


@pytest.mark.parametrize("content", [b"", b"PK\3\4" + bytes(99), b"Code,Sex\nP01,F\n"])
def test_what_is_no_workbook(ward, content, capsys):
    (ward / "ward.xlsx").write_bytes(content)
    status, _, message = prepare(capsys, **options_of(ward))
    assert status == 2 and "ward.xlsx is no xlsx file" in message


def test_a_workbook_that_was_cut(ward, capsys):
    content = (ward / "ward.xlsx").read_bytes()
    (ward / "ward.xlsx").write_bytes(content[: len(content) // 2])
    status, _, message = prepare(capsys, **options_of(ward))
    assert status == 2 and "ward.xlsx" in message and "Traceback" not in message


def test_several_sheets_are_a_guess(ward, capsys):
    workbook = openpyxl.load_workbook(ward / "ward.xlsx")
    workbook.create_sheet("Empty")
    workbook.save(ward / "ward.xlsx")
    assert prepare(capsys, **options_of(ward), dry_run=True)[0] == 0
    workbook.create_sheet("Old").append(HEADER)
    workbook["Old"].append(["P77", "F", 1, 1])
    workbook.save(ward / "ward.xlsx")
    status, _, message = prepare(capsys, **options_of(ward))
    assert status == 2 and "--sheet=NAME, one of 'Sheet', 'Old'" in message
    for sheet in ("Sheet", "ward=Sheet"):
        assert prepare(capsys, **options_of(ward), sheet=sheet, dry_run=True)[0] == 0


def test_a_million_empty_rows_at_the_end(ward, capsys, monkeypatch):
    """They are left out; what looks like them in the file is not even parsed."""
    workbook = openpyxl.load_workbook(ward / "ward.xlsx")
    workbook.active.cell(1_048_576, 1).number_format = "000"
    for row in range(13, 3000):
        workbook.active.cell(row, 1).number_format = "000"
    workbook.save(ward / "ward.xlsx")
    from recipes.table import workbooks

    rows = workbooks.read_workbook(ward / "ward.xlsx", [])["Sheet"]
    assert [number for number, _ in rows] == list(range(1, 12))
    assert prepare(capsys, **options_of(ward))[0] == 0
    assert len(rows_of(ward / "corpus")) == 10


def test_names_that_differ_may_be_left_out(ward, capsys):
    workbook = openpyxl.load_workbook(ward / "ward.xlsx")
    workbook.active["A4"] = "p2"
    workbook.save(ward / "ward.xlsx")
    options = options_of(ward, accept="near_names")
    status, said, _ = prepare(capsys, **options)
    assert status == 0 and "'p2_*.wav' is nearly P02_a.wav" in said
    assert len(rows_of(ward / "corpus")) == 9


@pytest.mark.parametrize(
    ("setting", "expected"),
    [
        ({"missing_values": "['?']"}, "5 are 1, 4 are 0, 1 not rated"),
        ({"label_values": "{Sex: {'?': 0}}"}, "5 are 1, 5 are 0, 0 not rated"),
    ],
)
def test_words_for_unknown_that_are_explained(ward, setting, expected, capsys):
    workbook = openpyxl.load_workbook(ward / "ward.xlsx")
    workbook.active["B4"] = "?"
    workbook.save(ward / "ward.xlsx")
    options = options_of(ward, label="x: {Sex} = M", **setting)
    status, said, _ = prepare(capsys, **options)
    assert status == 0 and f"x: {expected}" in said


def numbered(folder, names, **changed):
    """Options for rows numbered 0 to 11, and recordings of these names."""
    write_csv_rows(folder / "t.csv", [["Nr", "x"], *([i, i % 2] for i in range(12))])
    write_audio(folder / "wav", names)
    options = {"table": folder / "t.csv", "label": "x: {x}", "subject": "{Nr}"}
    return options_of(folder, **options, **changed)


@pytest.mark.parametrize("file", ["P{Nr}.wav", "P{Nr:03}.wav"])
def test_zeros_that_a_spreadsheet_has_taken(file, tmp_path, capsys):
    options = numbered(tmp_path, [f"P{i:03}.wav" for i in range(12)], file=file)
    status, said, _ = prepare(capsys, **options | {"subject": "p{Nr:02}"})
    assert status == 0
    assert "--file='P{Nr:03}.wav': 12 recordings of 12 of 12 rows" in said
    assert rows_of(tmp_path / "corpus")["P007"]["subject"] == "p07"


@pytest.mark.parametrize(
    "names",
    [
        ["P3.wav", *(f"P{i:03}.wav" for i in range(12) if i != 3)],
        [f"P{i:0{2 + i % 2}}.wav" for i in range(12)],
    ],
    ids=["a name without", "names of two lengths"],
)
def test_zeros_that_would_be_a_guess(names, tmp_path, capsys):
    options = numbered(tmp_path, names, file="P{Nr}.wav")
    status, _, message = prepare(capsys, **options)
    assert status == 2 and "{Code:03}" in message and "P0" in message
    assert not (tmp_path / "corpus").exists()


def test_rows_and_files_without_each_other_are_told(ward, capsys):
    workbook = openpyxl.load_workbook(ward / "ward.xlsx")
    for code in ("/etc/passwd", "../wav/P02"):
        workbook.active.append([code, "F", 1, 1])
    workbook.save(ward / "ward.xlsx")
    (ward / "wav" / "P03_a.wav").unlink()
    (ward / "wav" / "notes.txt").write_text("no audio")
    write_audio(ward / "wav", ["Q1_a.wav"])
    status, said, _ = prepare(capsys, **options_of(ward))
    assert status == 0
    assert "3 rows without a file, left out: 'P03_*.wav' (ward.xlsx, sheet" in said
    assert "'/etc/passwd_*.wav' leads out of the folder (ward" in said
    assert "'../wav/P02_*.wav' leads out of the folder (ward" in said
    assert "1 file without a row, left out: 'Q1_a.wav'" in said


@pytest.mark.parametrize(
    "there",
    ["ä1_a.WAV", "Ä1_a.wav", "ä 01_a.wav"],
)
def test_the_nearest_name_is_told(tmp_path, there, capsys):
    rows = [["Code", "x"], ["ä1", 1], ["b", 0], ["c", 1]]
    write_csv_rows(tmp_path / "t.csv", rows)
    write_audio(tmp_path / "wav", [there, "b_a.wav", "c_a.wav"])
    options = options_of(tmp_path, table=tmp_path / "t.csv", label="x: {x}")
    status, _, message = prepare(capsys, **options)
    assert status == 2 and f"is nearly {there}" in message


def test_names_in_the_other_unicode_form_are_the_same(tmp_path, capsys):
    there = unicodedata.normalize("NFD", "ä1_ü.wav")
    write_csv_rows(tmp_path / "t.csv", [["Code", "x"], ["ä1", 1], ["b", 0], ["c", 1]])
    write_audio(tmp_path / "wav", [there, "b_a.wav", "c_a.wav"])
    options = options_of(tmp_path, table=tmp_path / "t.csv", label="x: {x}")
    status, _, message = prepare(capsys, **options)
    assert status == 0, message
    told = {row["file"]: row["task"] for row in rows_of(tmp_path / "corpus").values()}
    assert told == {there: "ü", "b_a.wav": "a", "c_a.wav": "a"}


def test_a_corpus_in_its_own_audio(ward, capsys):
    options = options_of(ward, corpus_folder=ward / "wav" / "corpus")
    status, _, message = prepare(capsys, **options)
    assert status == 2 and "should not be in the audio folder" in message
    assert not (ward / "wav" / "corpus").exists()


def test_a_value_that_no_cell_has(ward, capsys):
    label = "x: {Sex} = M or {Sex} = Male"
    status, said, _ = prepare(capsys, **options_of(ward, label=label))
    assert status == 0 and "no cell of 'Sex' = Male\n" in said
    assert "= M\n" not in said


def test_a_file_right_in_a_folder_of_another_table_is_no_near_name(tmp_path, capsys):
    write_csv_rows(tmp_path / "t.csv", [["Code", "x"], ["a", 1], ["b", 0], ["c", 1]])
    write_audio(tmp_path / "wav", ["a_a.wav", "b_a.wav", "x/c_a.wav"])
    options = options_of(tmp_path, table=tmp_path / "t.csv", label="x: {x}")
    status, said, _ = prepare(capsys, **options)
    assert status == 0 and "1 row without a file, left out: 'c_*.wav'" in said


def test_tables_in_other_encodings_and_with_other_signs(tmp_path, capsys):
    write_audio(tmp_path / "wav", [f"{i}_a.wav" for i in range(4)])
    text = "Stimmen 2024\nNr;gespannt\n" + "".join(f"{i};{i % 2}\n" for i in range(4))
    (tmp_path / "t.csv").write_text(text, "utf-8-sig")
    options = options_of(
        tmp_path,
        table=tmp_path / "t.csv",
        file="{Nr}_*.wav",
        subject="p{Nr}",
        label="gespannt: {gespannt}",
    )
    assert prepare(capsys, **options, dry_run=True)[0] == 0
    (tmp_path / "t.csv").write_text(text.replace(";", "\t"), "utf-16")
    assert prepare(capsys, **options, dry_run=True)[0] == 0
    (tmp_path / "t.csv").write_bytes("Nr,Größe\n0,1\n".encode("latin-1"))
    assert "is not UTF-8 text" in prepare(capsys, **options)[2]
    (tmp_path / "t.csv").write_text("Nr;gespannt\n")
    assert "no rows below it" in prepare(capsys, **options)[2]


def test_names_that_are_not_utf8(ward, capsys):
    path = bytes(ward / "wav") + b"/\xff.wav"
    os.close(os.open(path, os.O_CREAT | os.O_WRONLY))
    message = prepare(capsys, **options_of(ward))[2]
    assert "whose names are not UTF-8; rename them" in message


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("- a", "should hold options"),
        ("a: [", "can't be read as a corpus.yaml"),
        ("seed: x", "seed: expected a number, found 'x'"),
        ("table: null", "table: expected text, found None"),
        ("copy: maybe", "copy: expected true or false"),
        ("keep: {a: b}", "keep: expected text"),
        ("dry_run: true", "dry_run"),
    ],
)
def test_a_corpus_yaml_that_is_none(tmp_path, text, expected, capsys):
    (tmp_path / "corpus.yaml").write_text(text)
    assert main([str(tmp_path / "corpus.yaml"), f"--corpus_folder={tmp_path}/x"]) == 2
    assert expected in capsys.readouterr().err


# Conditions


@pytest.mark.parametrize(
    ("condition", "expected"),
    [
        ("{a} = yes", [1, 0, np.nan, 0]),
        ("{a} = YES", [1, 0, np.nan, 0]),
        ("{a} = 'yes'", [1, 0, np.nan, 0]),
        ("{a} != no", [1, 0, np.nan, 1]),
        ("{a} contains AY", [0, 0, np.nan, 1]),
        ("{n} = 2.0", [0, 1, 0, np.nan]),
        ("{n} >= 2", [0, 1, 1, np.nan]),
        ("{n} > 2", [0, 0, 1, np.nan]),
        ("{n} <= 1", [1, 0, 0, np.nan]),
        ("{n} < 1", [0, 0, 0, np.nan]),
        # true or unknown is true, false and unknown is false
        ("{a} = yes or {n} > 2", [1, 0, 1, np.nan]),
        ("{a} = yes and {n} > 2", [0, 0, np.nan, 0]),
        ("{a} = no or {a} = yes and {n} < 2", [1, 1, np.nan, 0]),
        ("{text} = this and that", [1, 0, 0, 0]),
        ("{text} contains or", [0, 1, 0, 0]),
        ("{b}", [1, 0, np.nan, 1]),
        ("{missing} = 1", [np.nan] * 4),
    ],
)
def test_conditions(condition, expected):
    import pandas as pd

    from local.data.label_cells import CellCodes
    from recipes.table.conditions import Condition
    from recipes.table.source import Source

    rows = pd.DataFrame(
        {
            "a": ["Yes", "no", "", "maybe"],
            "b": ["1", "f", "NA", "TRUE"],
            "n": ["1", "2", "3.5", "."],
            "text": ["this and that", "that or this", "x", "y"],
        }
    )
    own = pd.DataFrame({"place": "t.csv", "row": range(2, 6)})
    problems = []
    held = Condition.parse(condition, "--label").holds(
        Source(rows, own, "audio"), CellCodes(), problems
    )
    np.testing.assert_array_equal(held, expected)
    assert problems == []
