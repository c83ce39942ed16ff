"""recipes/table/prepare.py on what labs have: nothing is called the same twice."""

import contextlib
import shlex
import unicodedata

import pytest

from local.storage import gcs
from local.storage.gcs import RemoteObject
from recipes.table.prepare import main
from tests.recipes.tables import (
    prepare,
    rows_of,
    write_audio,
    write_csv_rows,
    write_xlsx,
)


@pytest.fixture
def lab(tmp_path):
    """Patients and controls in workbooks whose columns differ; codes collide."""
    patients = [[i, "MF"[i % 2], 50 + i, 40 - i, "bulbar"] for i in range(1, 7)]
    controls = [[i, "FM"[i % 2], 30 + i] for i in range(1, 7)]
    header = ["Subject code", "Sex", "Age", "ALSFRS", "Onset"]
    write_xlsx(tmp_path / "ALS.xlsx", [header, *patients])
    write_xlsx(tmp_path / "HC.xlsx", [["subject  Code", "SEX", "Age (y)"], *controls])
    write_audio(
        tmp_path / "wav",
        [
            f"{t}/{i:03}_{v}.wav"
            for t in ("ALS", "HC")
            for i in range(1, 7)
            for v in "ai"
        ],
    )
    return tmp_path


def options_of(folder, **changed):
    """Options for the lab."""
    return {
        "table": [folder / "ALS.xlsx", folder / "HC.xlsx"],
        "audio_folder": folder / "wav",
        "corpus_folder": folder / "corpus",
        "file": "{table}/{Subject code:03}_*.wav",
        "subject": "{table}-{Subject code}",
        "label": ["als: {table} = als", "bulbar: {Onset} = bulbar"],
        "score": "frs: {ALSFRS}",
        "keep": ["sex: {Sex}", "age: {Age}", "age: {Age (y)}"],
        **changed,
    }


def test_one_command_for_two_tables(lab, capsys):
    status, said, message = prepare(capsys, **options_of(lab))
    assert status == 0, message
    assert "HC.xlsx, sheet 'Sheet1': column 'SEX' is taken for 'Sex'" in said
    assert "column 'subject Code' is taken for 'Subject code'" in said
    assert "bulbar: 12 are 1, 0 are 0, 12 not rated; no model learns it" in said
    rows = rows_of(lab / "corpus")
    assert len(rows) == 24 and len({row["subject"] for row in rows.values()}) == 12
    named = ("subject", "task", "als", "bulbar", "frs", "sex", "age")
    patient, control = (rows[uid] for uid in ("ALS-001_a", "HC-002_i"))
    assert [patient[k] for k in named] == ["ALS-1", "a", "1", "1", "39", "F", "51"]
    assert [control[k] for k in named] == ["HC-2", "i", "0", "", "", "F", "32"]


def test_a_column_in_two_cases_is_not_mixed_up(tmp_path, capsys):
    """One of the very name counts; of two that are nearly it, none."""
    header = ["Code", "dx", "Dx", "A", "a"]
    rows = [[i, i % 2, 1 - i % 2, 1, 0] for i in range(6)]
    write_csv_rows(tmp_path / "t.csv", [header, *rows])
    write_audio(tmp_path / "wav", [f"{i}.wav" for i in range(6)])
    options = {
        "table": tmp_path / "t.csv",
        "audio_folder": tmp_path / "wav",
        "corpus_folder": tmp_path / "corpus",
        "file": "{code}.wav",
        "subject": "{Code}",
    }
    # {code} and {Code} are asked for: one of them has no column
    assert "there is no column 'code'" in prepare(capsys, **options, label="x: {Dx}")[2]
    options |= {"file": "{Code}.wav"}
    assert prepare(capsys, **options, label="x: {DX}")[0] == 2
    assert prepare(capsys, **options, label="x: {dx}")[0] == 0
    assert [rows_of(tmp_path / "corpus")[str(i)]["x"] for i in range(2)] == ["0", "1"]


def test_a_score_of_two_columns(tmp_path, capsys):
    write_csv_rows(
        tmp_path / "A.csv", [["Code", "VHI"], *([i, 10 * i] for i in range(4))]
    )
    write_csv_rows(
        tmp_path / "B.csv", [["Code", "VHI total"], *([i, 5 * i] for i in range(4, 8))]
    )
    write_audio(tmp_path / "wav", [f"{i}.wav" for i in range(8)])
    options = options_of(
        tmp_path,
        table=[tmp_path / "A.csv", tmp_path / "B.csv"],
        file="{Code}.wav",
        subject="{Code}",
        label=[],
        keep=[],
        score=["vhi: {VHI}", "vhi: {VHI total}"],
    )
    assert prepare(capsys, **options)[0] == 0
    rows = rows_of(tmp_path / "corpus")
    assert [rows[str(i)]["vhi"] for i in (1, 3, 4, 7)] == ["10", "30", "20", "35"]
    # both of one row: the one or the other would be a guess
    both = [["Code", "VHI", "VHI total"], *([i, 10 * i, 5 * i] for i in range(4))]
    write_csv_rows(tmp_path / "A.csv", both)
    options["corpus_folder"] = tmp_path / "other"
    status, _, message = prepare(capsys, **options)
    assert status == 2
    assert "3 recordings of which what is given for 'vhi' says different" in message


@pytest.mark.parametrize("pattern", ["{Code}_*", "{Code}*", "{Code}*{T}.wav"])
def test_a_star_at_the_end_and_between_columns(tmp_path, pattern, capsys):
    """Beside audio, annotations are no recordings."""
    rows = [[f"S{i}", "a", i % 2] for i in range(6)]
    write_csv_rows(tmp_path / "t.csv", [["Code", "T", "x"], *rows])
    write_audio(tmp_path / "wav", [f"S{i}_a.wav" for i in range(6)])
    for i in range(6):
        (tmp_path / "wav" / f"S{i}_a.TextGrid").write_text("tiers")
    options = options_of(
        tmp_path,
        table=tmp_path / "t.csv",
        file=pattern,
        subject="{Code}",
        label="x: {x}",
        score=[],
        keep=[],
    )
    status, said, message = prepare(capsys, **options)
    assert status == 0, message
    assert "6 recordings of 6 of 6 rows" in said
    assert rows_of(tmp_path / "corpus")["S3_a"]["file"] == "S3_a.wav"


@pytest.mark.parametrize(
    "there", ["HNO_01_a.wav", "HNO-1-a.wav", "hno1_a.WAV", "'HNO 1_a.wav"]
)
def test_names_with_other_signs_are_near(tmp_path, there, capsys):
    rows = [["Code", "x"], ["HNO 1", 1], ["b", 0], ["c", 1]]
    write_csv_rows(tmp_path / "t.csv", rows)
    write_audio(tmp_path / "wav", [there, "b_a.wav", "c_a.wav"])
    options = options_of(
        tmp_path, table=tmp_path / "t.csv", file="{Code}_*.wav", subject="{Code}"
    )
    options |= {"label": "x: {x}", "score": [], "keep": []}
    status, _, message = prepare(capsys, **options)
    assert status == 2 and f"'HNO 1_*.wav' is nearly {there}" in message


def test_a_second_file_that_is_nearly_a_row_s(lab, capsys):
    """A row that has one file already misses another; an MP3 beside it is none."""
    for name in ("ALS/002_i.wav", "HC/003_i.wav"):
        path = lab / "wav" / name
        path.rename(path.with_name(path.name.replace("_i", "_I")))
    (lab / "wav" / "ALS" / "001_a.mp3").write_bytes(b"x")
    files = ["{table}/{Subject code:03}_a.wav", "{table}/{Subject code:03}_i.wav"]
    status, _, message = prepare(capsys, **options_of(lab, file=files))
    assert status == 2 and "2 names of a row's file that differs in case" in message
    assert "'ALS/002_i.wav' is nearly ALS/002_I.wav" in message
    assert "mp3" not in message


def test_numbers_in_codes(tmp_path, capsys):
    """`{Code:01}` takes zeros away, and what other programs made of numbers."""
    rows = [["Code", "x"], ["001", 1], ["2.0", 0], ["3", 1], ["A04", 0]]
    write_csv_rows(tmp_path / "t.csv", rows)
    write_audio(tmp_path / "wav", ["1.wav", "2.wav", "3.wav", "A04.wav"])
    options = options_of(tmp_path, table=tmp_path / "t.csv", score=[], keep=[])
    options |= {"file": "{Code:01}.wav", "subject": "{Code:02}", "label": "x: {x}"}
    assert prepare(capsys, **options)[0] == 0
    rows = rows_of(tmp_path / "corpus").values()
    assert {row["subject"] for row in rows} == {"01", "02", "03", "A04"}


@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        ({"subject": "{Subject code}_*"}, "a * stands in --file only"),
        (
            {"label": "task: {Sex} = F"},
            "--label='task: …' would hide the column of that name",
        ),
        (
            {"keep": "task: {Sex}"},
            "--keep='task: …' would hide the column of that name",
        ),
        ({"label": "x: {Sex} = F and"}, "nothing follows '{Sex} = F and'"),
        ({"keep": "als: {Sex}"}, "'als' is a label, too"),
        ({"label": ["x: {Sex} = F", "x: {Sex} = M"]}, "for 'x' says different things"),
    ],
)
def test_what_is_refused(lab, changed, expected, capsys):
    status, _, message = prepare(capsys, **options_of(lab, **changed))
    assert status == 2 and expected in message
    assert not (lab / "corpus").exists()


def test_where_no_corpus_can_be(lab, capsys):
    """It is said at once, of a dry run, too."""
    (lab / "file").write_text("")
    options = options_of(lab, dry_run=True)
    status, _, message = prepare(capsys, **options | {"corpus_folder": lab / "file/x"})
    assert status == 2 and f"should be a folder: {lab / 'file'} is a file" in message
    status, said, message = prepare(capsys, **options | {"corpus_folder": lab})
    assert status == 2 and "holds other content" in message and not said


def test_what_is_told(lab, capsys):
    """Codes spelt nearly alike, and kept columns with empty cells."""
    rows = [["Code", "Sex", "Dx"]]
    rows += [[f"{'pP'[i % 2]}{i // 2}", "F" if i else "", "Möbius"] for i in range(8)]
    write_csv_rows(lab / "t.csv", rows)
    write_audio(lab / "flat wav", [f"{row[0]}.wav" for row in rows[1:]])
    options = options_of(lab, table=lab / "t.csv", audio_folder=lab / "flat wav")
    options |= {"corpus_folder": lab / "my corpus", "file": "{Code}.wav"}
    options |= {"subject": "{Code}", "score": [], "keep": "sex: {Sex}"}
    value = unicodedata.normalize("NFD", "MÖBIUS")
    options["label"] = [f"x: {{Dx}} = {value}", f"y: {{Dx}} contains {value[:-1]}"]
    status, said, _ = prepare(capsys, **options)
    assert status == 0
    assert "4 codes spelt nearly as another" in said and "P0 = p0, P1 = p1" in said
    assert "sex: 1 of 8 empty" in said
    assert "x: 8 are 1, 0 are 0" in said and "y: 8 are 1, 0 are 0" in said
    # the last line can be given to a shell
    command = shlex.split(said.splitlines()[-1].partition("next: ")[2])
    assert f"--corpus_folder={lab / 'my corpus'}" in command


@pytest.mark.parametrize(
    ("cells", "expected"),
    [
        (["0,5", "2,25", "3", "NA"], [0.5, 2.25, 3, None]),
        (["1,000", "2,5", "3", ""], "write numbers with a point"),
        (["1,5", "2.5", "3", ""], "write numbers with a point"),
    ],
)
def test_decimal_commas(tmp_path, cells, expected, capsys):
    """Where a comma may stand between thousands, it stays an error."""
    text = "Nr;VHI\n" + "".join(f"{i};{cell}\n" for i, cell in enumerate(cells))
    (tmp_path / "t.csv").write_text(text)
    write_audio(tmp_path / "wav", [f"{i}.wav" for i in range(4)])
    options = options_of(tmp_path, table=tmp_path / "t.csv", file="{Nr}.wav")
    options |= {"subject": "{Nr}", "label": "x: {VHI} > 1", "score": "vhi: {VHI}"}
    status, said, message = prepare(capsys, **options | {"keep": []})
    if isinstance(expected, str):
        assert status == 2 and expected in message
        return
    assert status == 0 and said.count("VHI: numbers with a decimal comma") == 1
    rows = rows_of(tmp_path / "corpus")
    told = [rows[str(i)]["vhi"] for i in range(4)]
    assert [float(cell) if cell else None for cell in told] == expected
    assert [rows[str(i)]["x"] for i in range(4)] == ["0", "1", "1", ""]


@pytest.mark.parametrize(
    ("more", "expected"),
    [
        (["B.xlsx"], "B.xlsx is no corpus.yaml; as a value, it needs its option, too"),
        (["B.xlsx", "x: {X}"], "unknown: x: {X}; each value needs its option"),
    ],
)
def test_a_value_without_its_option(more, expected, capsys):
    with pytest.raises(SystemExit) if len(more) > 1 else contextlib.nullcontext():
        assert main(["--table=A.xlsx", *more]) == 2
    assert expected in capsys.readouterr().err


def test_a_quote_that_is_never_closed(lab, capsys):
    (lab / "t.csv").write_text('Code,Dx\n1,"PD\n2,HC\n')
    options = options_of(lab, table=lab / "t.csv", file="{Code}.wav", subject="{Code}")
    status, _, message = prepare(capsys, **options)
    assert status == 2
    assert "row 2: a quote that is opened there is never closed" in message


def test_fifty_thousand_rows_and_files(tmp_path, monkeypatch, capsys):
    """None is lost, and the bucket they are in is listed once."""
    n, listings = 50_000, []

    def list_objects(address, **_):
        listings.append(address)
        names = [f"{i // 1000}/P{i // 5}_{i % 5}.wav" for i in range(n)]
        return [
            RemoteObject("ward", f"in/{name}", 1, 10, f"{i:08}")
            for i, name in enumerate(names)
        ]

    monkeypatch.setattr(gcs, "client", lambda *_: None)
    monkeypatch.setattr(gcs, "list_objects", list_objects)
    rows = [[i // 1000, f"P{i // 5}", i % 5, i // 10 % 2] for i in range(n)]
    write_csv_rows(tmp_path / "t.csv", [["Folder", "Code", "No", "x"], *rows])
    options = options_of(tmp_path, table=tmp_path / "t.csv", score="no: {No}", keep=[])
    options |= {"file": "{Folder}/{Code}_{No}.wav", "subject": "{Code}"}
    options |= {"audio_folder": "gs://ward/in", "label": "x: {x}"}
    status, said, _ = prepare(capsys, **options)
    assert status == 0
    assert "50,000 recordings of 50,000 of 50,000 rows" in said
    assert len(listings) == 1


@pytest.mark.parametrize("seed", range(5))
def test_the_draw_is_balanced_and_values_are_told(tmp_path, seed, capsys):
    """Four of twenty people are ill: one of the five who are for the test."""
    rows = [[f"P{i}", "ill" if i % 5 == 0 else "well"] for i in range(20)]
    write_csv_rows(tmp_path / "t.csv", [["Code", "Dx"], *rows])
    write_audio(tmp_path / "wav", [f"P{i}.wav" for i in range(20)])
    options = options_of(tmp_path, table=tmp_path / "t.csv", file="{Code}.wav")
    options |= {
        "subject": "{Code}",
        "label": "ill: {Dx} = ill",
        "score": [],
        "keep": [],
    }
    status, said, _ = prepare(capsys, **options, seed=seed, test_share=0.25)
    assert status == 0
    assert "    1: 'ill' 4\n    0: 'well' 16\n" in said
    assert "test: 5 recordings of 5 subjects; ill 1 of 5\n" in said


def test_numbers_in_one_table_and_text_in_the_other(lab, capsys):
    """7 here and 007 there: both find 007.wav."""
    rows = [[f"{i:03}", "F", 30 + i] for i in range(1, 7)]
    write_xlsx(lab / "HC.xlsx", [["Subject code", "Sex", "Age (y)"], *rows])
    options = options_of(lab, file="{table}/{Subject code}_*.wav")
    status, said, message = prepare(capsys, **options)
    assert status == 0, message
    assert "{Subject code:03}_*.wav': 24 recordings of 12 of 12 rows" in said
