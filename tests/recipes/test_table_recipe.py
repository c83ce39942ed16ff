"""recipes/table/prepare.py: what it makes of tables and audio, from end to end."""

import numpy as np
import pytest
import soundfile
from preparing import values_of

from local.data.prepare import prepare_training
from recipes.table.prepare import main
from tests.recipes.tables import (
    prepare,
    read_splits,
    rows_of,
    write_audio,
    write_csv_rows,
    write_xlsx,
)

pytest_plugins = ["gcs_server"]

HEADER = ("Code", "Sex", "Age", "Strained", "VHI")
PEOPLE = [
    (f"P{i:02}", "FM"[i % 2], 40 + i, ["no", "yes", None][i % 3], 10 * i)
    for i in range(10)
]


@pytest.fixture
def ward(tmp_path):
    """Ten people in a CSV, two recordings each."""
    write_csv_rows(tmp_path / "ward.csv", [HEADER, *PEOPLE])
    write_audio(
        tmp_path / "wav", [f"{row[0]}_{task}.wav" for row in PEOPLE for task in "ai"]
    )
    return tmp_path


def options_of(folder, **changed):
    """Options for the ward."""
    return {
        "table": folder / "ward.csv",
        "audio_folder": folder / "wav",
        "corpus_folder": folder / "corpus",
        "file": "{Code}_*.wav",
        "subject": "{Code}",
        "label": ["strained: {Strained}"],
        **changed,
    }


def test_what_it_makes(ward, capsys):
    status, said, _ = prepare(
        capsys, **options_of(ward, score="vhi: {VHI}", keep=["sex: {Sex}", "Age"])
    )
    assert status == 0
    rows = rows_of(ward / "corpus")
    assert len(rows) == 20
    assert rows["P04_i"] == {
        "uid": "P04_i",
        "subject": "P04",
        "file": "P04_i.wav",
        "task": "i",
        "strained": "1",
        "vhi": "40",
        "sex": "F",
        "Age": "44",
    }
    # P00, P03, P06 and P09 say no, three yes, three nothing
    assert [rows[f"P0{i}_a"]["strained"] for i in range(3)] == ["0", "1", ""]
    assert "strained: 6 are 1, 8 are 0, 6 not rated" in said
    assert "--file='{Code}_*.wav': 20 recordings of 10 of 10 rows" in said
    splits = read_splits(ward / "corpus")
    people = {name: {row["subject"] for row in of} for name, of in splits.items()}
    assert {name: len(of) for name, of in people.items()} == {"train": 7, "test": 3}
    assert not people["train"] & people["test"]
    assert (ward / "corpus" / "labels.txt").read_text() == "strained,vhi\n"
    assert (ward / "corpus" / "audio").is_symlink()  # nothing is copied
    assert "--label_types='{vhi: {type: score, range: [0, 90]}}'" in said


def test_training_takes_it(ward, capsys):
    options = options_of(ward, score="vhi: {VHI}", heads="vhi;strained")
    assert prepare(capsys, **options)[0] == 0
    types = {"vhi": {"type": "score", "range": [0, 90]}}
    values = values_of(ward / "corpus", label_types=types, val_size=2)
    found = prepare_training(values)
    assert found.failed == []
    assert found.label_groups == [["vhi"], ["strained"]]
    assert sum(map(len, found.manifests.values())) == 20


def test_two_workbooks_with_codes_that_collide(tmp_path, capsys):
    write_xlsx(
        tmp_path / "A.xlsx",
        [["Subject code", "Sex", "Age", "Diagnosis"]]
        + [
            [f"S{i}", "M", 30 + i, ["healthy", "ataxic dysarthria"][i % 2]]
            for i in range(6)
        ],
    )
    write_xlsx(
        tmp_path / "B.xlsx",
        [["Subject code", "Gender", "Age (years)", "Dx"]]
        + [[f"S{i}", "F", 70 + i, ["HC", "PD"][i % 2]] for i in range(4)],
    )
    names = [f"A/S{i}_{t}.wav" for i in range(6) for t in "ai"]
    names += [f"B/S{i}_{t}.wav" for i in range(4) for t in "ai"]
    write_audio(tmp_path / "wav", names)
    options = {
        "table": [tmp_path / "A.xlsx", tmp_path / "B.xlsx"],
        "audio_folder": tmp_path / "wav",
        "corpus_folder": tmp_path / "corpus",
        "file": "{table}/{Subject code}_*.wav",
        "label": ["ill: {Diagnosis} contains dysarthria", "ill: {Dx} = pd"],
        "keep": "site: {table}",
    }
    status, _, message = prepare(capsys, **options, subject="{Subject code}")
    assert status == 2
    assert "4 codes in several tables with several values of 'sex'" in message
    assert "--subject='{table}-{Subject code}'" in message
    assert not (tmp_path / "corpus").exists()

    assert prepare(capsys, **options, subject="{table}-{Subject code}")[0] == 0
    rows = rows_of(tmp_path / "corpus")
    assert len(rows) == 20 and len({row["subject"] for row in rows.values()}) == 10
    assert rows["A-S1_a"]["subject"] == "A-S1"
    assert (rows["A-S1_a"]["ill"], rows["A-S0_a"]["ill"]) == ("1", "0")
    assert (rows["B-S1_i"]["ill"], rows["B-S0_i"]["ill"]) == ("1", "0")
    assert {row["site"] for row in rows.values()} == {"A", "B"}


def test_one_code_in_two_tables_may_be_one_person(tmp_path, capsys):
    """Of the same sex and nearly the same age, it is taken for one and told."""
    for name, age in (("A", 40), ("B", 41)):
        rows = [[f"S{i}", "M", age, i % 2] for i in range(4)]
        write_csv_rows(tmp_path / f"{name}.csv", [["Code", "Sex", "Age", "x"], *rows])
    write_audio(tmp_path / "wav", [f"{t}/S{i}.wav" for t in "AB" for i in range(4)])
    status, said, _ = prepare(
        capsys,
        table=[tmp_path / "A.csv", tmp_path / "B.csv"],
        audio_folder=tmp_path / "wav",
        corpus_folder=tmp_path / "corpus",
        file="{table}/{Code}.wav",
        subject="{Code}",
        label="x: {x}",
    )
    assert status == 0
    assert (
        "4 codes in several tables, taken for one person each: S0, S1, S2, S3" in said
    )
    assert "task" not in next(iter(rows_of(tmp_path / "corpus").values()))


def test_the_same_code_in_two_folders(tmp_path, capsys):
    """Of one table; the folder is named by a column."""
    rows = [
        [site, f"S{i}", "FM"[site == "Bonn"], i % 2]
        for site in ("Köln", "Bonn")
        for i in range(3)
    ]
    write_csv_rows(tmp_path / "t.csv", [["Site", "Code", "gender", "x"], *rows])
    write_audio(tmp_path / "wav", [f"{row[0]}/{row[1]}.wav" for row in rows])
    options = {
        "table": tmp_path / "t.csv",
        "audio_folder": tmp_path / "wav",
        "corpus_folder": tmp_path / "corpus",
        "file": "{Site}/{Code}.wav",
        "label": "x: {x}",
    }
    status, _, message = prepare(capsys, **options, subject="{Code}")
    assert status == 2
    assert "3 codes in several folders with several values of 'sex'" in message
    assert "S0, S1, S2" in message
    assert prepare(capsys, **options, subject="{Site}-{Code}")[0] == 0
    assert rows_of(tmp_path / "corpus")["Köln-S1"]["subject"] == "Köln-S1"


def test_rows_are_added_and_people_stay(ward, capsys):
    options = options_of(ward)
    assert prepare(capsys, **options)[0] == 0
    before = rows_of(ward / "corpus")
    split_of = {
        row["subject"]: name
        for name, rows in read_splits(ward / "corpus").items()
        for row in rows
    }
    (ward / "corpus" / "excluded_subjects.txt").write_text("P00\n")
    more = [(f"N{i:02}", "F", 50, ["no", "yes"][i % 2], 5) for i in range(10)]
    write_csv_rows(ward / "ward.csv", [HEADER, *more, *PEOPLE])
    write_audio(ward / "wav", [f"{row[0]}_a.wav" for row in more])
    assert main([str(ward / "corpus" / "corpus.yaml")]) == 0
    after = read_splits(ward / "corpus")
    now = {row["subject"]: name for name, rows in after.items() for row in rows}
    assert len(rows_of(ward / "corpus")) == 30
    assert {subject: now[subject] for subject in split_of} == split_of
    # 30 % of 20 people are for the test, of whom 3 were
    assert sum(name == "test" for name in now.values()) == 6
    assert {uid: rows_of(ward / "corpus")[uid] for uid in before} == before
    assert (ward / "corpus" / "excluded_subjects.txt").read_text() == "P00\n"
    # the same command as at first is the same; another one is refused
    assert prepare(capsys, **options)[0] == 0
    status, _, message = prepare(capsys, **options, seed=7)
    assert status == 2 and "was made with other options (seed)" in message


def test_people_who_are_gone_are_not_drawn_anew(ward, capsys):
    assert prepare(capsys, **options_of(ward))[0] == 0
    before, command = read_splits(ward / "corpus"), str(ward / "corpus/corpus.yaml")
    files = list((ward / "wav").glob("P02*"))
    for file in files:
        file.unlink()
    assert main([command]) == 2
    assert "without a recording now: 'P02'; if they" in capsys.readouterr().err
    assert read_splits(ward / "corpus") == before
    (ward / "corpus" / "excluded_subjects.txt").write_text("P02\n")
    assert main([command]) == 0
    assert f"({len(files)} gone)" in capsys.readouterr().out


def test_what_is_new_and_changed_is_counted(ward, capsys):
    assert prepare(capsys, **options_of(ward))[0] == 0
    train = ward / "corpus" / "splits" / "train.csv"
    text = train.read_text().splitlines()
    text[1] += "x"  # by hand
    train.write_text("\n".join([*text[:-1], ""]))
    assert main([str(ward / "corpus" / "corpus.yaml")]) == 0
    assert "(1 new, 1 changed)" in capsys.readouterr().out


def test_a_dry_run_writes_nothing(ward, capsys):
    status, said, _ = prepare(capsys, **options_of(ward), dry_run=True)
    assert status == 0 and "test: 6 recordings of 3 subjects" in said
    assert sorted(path.name for path in ward.iterdir()) == ["ward.csv", "wav"]


def test_options_may_take_several_values(ward):
    """As `--keep Sex Age`, and as `--keep=Sex --keep=Age` or `--keep=Sex,Age`."""
    options = options_of(ward)
    options["label"] = options["label"][0]
    arguments = [f"--{key}={value}" for key, value in options.items()]
    assert main([*arguments, "--keep", "Sex", "Age", "--score", "vhi: {VHI}"]) == 0
    row = rows_of(ward / "corpus")["P01_a"]
    assert (row["Sex"], row["Age"], row["vhi"]) == ("M", "41", "10")


def test_copies_only_where_told(ward, capsys):
    write_audio(ward / "wav", ["other.wav"])
    assert prepare(capsys, **options_of(ward), copy=True)[0] == 0
    copied = sorted((ward / "corpus" / "audio").iterdir())
    assert len(copied) == 20 and not (ward / "corpus" / "audio").is_symlink()
    assert copied[0].read_bytes() == (ward / "wav" / copied[0].name).read_bytes()


def test_raters(ward, capsys):
    header = ["Code", "R1", "R2", "R3", "S1", "S2"]
    rows = [[f"P{i:02}", 1, i % 2, "", i % 4, (i + 1) % 4] for i in range(10)]
    write_csv_rows(ward / "ward.csv", [header, *rows])
    rater = ["strained: {R1}, {R2}, {R3}", "breathy: {S1}, {S2}"]
    status, said, _ = prepare(
        capsys, **options_of(ward, label=[], rater=[*rater, "bad: {S1} >= 2,{S2} >= 2"])
    )
    assert status == 0
    row = rows_of(ward / "corpus")["P02_a"]
    assert [row[f"strained@R{i}"] for i in (1, 2, 3)] == ["1", "0", ""]
    assert (row["breathy@S1"], row["breathy@S2"]) == ("2", "3")
    assert (row["bad@S1"], row["bad@S2"]) == ("1", "1")
    assert "strained: 10 are 1, 0 are 0, 10 not rated by 3 raters" in said
    assert "breathy: 20 rated by 2 raters, from 0 to 3" in said
    types = {"breathy": {"type": "score", "range": [0, 3]}}
    values = values_of(ward / "corpus", label_types=types, val_size=0)
    assert prepare_training(values).labels == ["strained", "breathy", "bad"]


def test_splits_of_a_column(ward, capsys):
    header = ["Code", "x", "Part"]
    parts = ["Train", "train", "DEV", "test"]
    rows = [[f"P{i:02}", i % 2, parts[i % 4]] for i in range(10)]
    write_csv_rows(ward / "ward.csv", [header, *rows])
    options = options_of(ward, label=["x: {x}"], splits="Part")
    assert prepare(capsys, **options)[0] == 0
    splits = read_splits(ward / "corpus")
    assert {name: len(rows) for name, rows in splits.items()} == {
        "train": 12,
        "val": 4,
        "test": 4,
    }
    rows[0][2] = "holdout"
    write_csv_rows(ward / "ward.csv", [header, *rows])
    message = prepare(capsys, **options)[2]
    assert "no split: train, test and val (dev) are some: 'holdout'" in message


def test_segments_of_a_file(tmp_path, capsys):
    write_audio(tmp_path / "wav", [f"ep{i}.wav" for i in range(4)])
    rows = [
        [f"ep{i}", s, round(s + 0.05, 2), s > 0] for i in range(4) for s in (0, 0.1)
    ]
    write_csv_rows(tmp_path / "clips.csv", [["Ep", "Start", "Stop", "Block"], *rows])
    options = {
        "table": tmp_path / "clips.csv",
        "audio_folder": tmp_path / "wav",
        "corpus_folder": tmp_path / "corpus",
        "file": "{Ep}.wav",
        "subject": "{Ep}",
        "label": "block: {Block}",
    }
    status, _, message = prepare(capsys, **options)
    assert status == 2 and "4 files matched by two rows: 'ep0.wav'" in message
    keep = ["start_s: {Start}", "end_s: {Stop}"]
    assert prepare(capsys, **options, keep=keep)[0] == 0
    found = rows_of(tmp_path / "corpus")
    assert len(found) == 8
    assert (found["ep0-0.1-0.15"]["start_s"], found["ep0-0.1-0.15"]["block"]) == (
        "0.1",
        "1",
    )


def test_people_in_a_table_of_their_own(ward, capsys):
    """Files are in one table, what is known of people in another."""
    names = [[f"P{i:02}_{t}", f"P{i:02}", t == "i"] for i in range(10) for t in "ai"]
    write_csv_rows(ward / "files.csv", [["File", "Code", "bad"], *names])
    options = options_of(
        ward,
        table=[ward / "files.csv", ward / "ward.csv"],
        file="{File}.wav",
        label=["strained: {Strained}", "bad: {bad}"],
        keep="Sex",
    )
    status, said, _ = prepare(capsys, **options)
    assert status == 0
    assert "ward.csv: 10 rows without a file's name; 10 of them are about" in said
    row = rows_of(ward / "corpus")["P01_i"]
    assert (row["strained"], row["bad"], row["Sex"]) == ("1", "1", "M")
    # of other people it is of no use, and a column may be misspelt
    others = [(f"X{i}", "F", 40, "no", 1) for i in range(3)]
    write_csv_rows(ward / "ward.csv", [HEADER, *others])
    options["corpus_folder"] = ward / "other"
    status, _, message = prepare(capsys, **options)
    assert status == 2
    assert "ward.csv: no row fills --file='{File}.wav', and no subject of it" in message


def test_a_messy_sheet(tmp_path, capsys):
    """A title, blank rows, columns without a name, zeros, spaces and a sum."""
    rows = [
        ["Voice study 2024"],
        [],
        [None, "Subject\n code ", "Sex", "strained", None],
    ]
    rows += [[i, i + 1, "f", "Yes " if i % 2 else "NO", "note"] for i in range(6)]
    path = write_xlsx(tmp_path / "data.xlsx", [*rows, [], ["sum", 6]])
    write_audio(tmp_path / "wav", [f"{i + 1:03}.wav" for i in range(6)])
    import openpyxl

    workbook = openpyxl.load_workbook(path)
    for row in range(4, 10):
        workbook.active.cell(row, 2).number_format = "000"
    workbook.active.delete_rows(11)
    workbook.save(path)
    status, said, message = prepare(
        capsys,
        table=path,
        audio_folder=tmp_path / "wav",
        corpus_folder=tmp_path / "corpus",
        file="{Subject code}.wav",
        subject="{Subject code}",
        label="strained: {strained}",
    )
    assert status == 0, message
    assert "the header is row 3" in said and "2 columns without a name" in said
    assert "strained: 3 are 1, 3 are 0, 0 not rated" in said
    assert rows_of(tmp_path / "corpus")["002"]["subject"] == "002"


def test_one_recording_under_two_names(ward, capsys):
    """As WAV and FLAC; of one person it is told, of two it is a problem."""
    samples, rate = soundfile.read(ward / "wav" / "P00_a.wav", dtype="int16")
    soundfile.write(ward / "wav" / "P00_b.flac", samples, rate)
    options = options_of(ward, file=["{Code}_*.wav", "{Code}_b.flac"])
    status, said, _ = prepare(capsys, **options)
    assert status == 0
    assert "1 recording under several names, of one person: 'P00_a.wav (P00)" in said
    (ward / "wav" / "P01_a.wav").write_bytes((ward / "wav" / "P00_a.wav").read_bytes())
    options["corpus_folder"] = ward / "other"
    status, _, message = prepare(capsys, **options)
    assert status == 2
    assert "P00_a.wav (P00) = P00_b.flac (P00) = P01_a.wav (P01)" in message
    assert "--accept=same_audio" in message and not (ward / "other").exists()
    assert prepare(capsys, **options, accept="same_audio")[0] == 0


def test_of_one_length_only_what_sounds_the_same_is_the_same(tmp_path):
    from recipes.table.audio_folder import AudioFolder

    noise = np.random.default_rng(0).integers(-999, 999, 9000).astype("int16")
    late = noise.copy()
    late[8000] += 1  # after the beginning that is looked at first
    for name, samples in (("a", noise), ("b", late), ("c", noise), ("d", noise[1:])):
        soundfile.write(tmp_path / f"{name}.wav", samples, RATE := 8000)
    (tmp_path / "e.m4a").write_bytes(b"no audio")
    (tmp_path / "f.m4a").write_bytes(b"no audio")
    folder = AudioFolder.listed(tmp_path)
    assert RATE and folder.same_audio(folder.checksums) == [
        ["a.wav", "c.wav"],
        ["e.m4a", "f.m4a"],
    ]


def test_a_bucket(ward, gcs, capsys, tmp_path):
    """It is listed once and nothing is downloaded; what is twice there is noticed."""
    (ward / "wav" / "P01_i.wav").write_bytes((ward / "wav" / "P01_a.wav").read_bytes())
    gcs.put("hospital", ward / "wav", "in/audio")
    options = options_of(ward, audio_folder="gs://hospital/in/audio/")
    status, said, _ = prepare(capsys, **options)
    assert status == 0
    assert gcs.proxy.requests["list"] == 1 and not gcs.proxy.requests["download"]
    assert "--data_folder=gs://hospital/in/audio" in said
    assert "'P01_a.wav (P01) = P01_i.wav (P01)'" in said
    assert not (ward / "corpus" / "audio").exists()
    assert len(rows_of(ward / "corpus")) == 20
    values = values_of(ward / "corpus", audio_cache=str(tmp_path / "cache"), val_size=0)
    found = prepare_training({**values, "data_folder": "gs://hospital/in/audio"})
    assert found.failed == []


def test_paths_of_a_corpus_yaml_begin_at_the_source(ward, capsys):
    recipe = ward / "recipe"
    recipe.mkdir()
    (recipe / "corpus.yaml").write_text(
        "table: people=ward.csv\naudio_folder: wav\nfile: '{Code}_*.wav'\n"
        "subject: '{Code}'\nlabel: 'strained: {Strained}'\nlabel_values: {}\n"
    )
    arguments = [str(recipe / "corpus.yaml"), f"--corpus_folder={ward / 'corpus'}"]
    assert main(arguments) == 2
    assert str(recipe / "wav") in capsys.readouterr().err
    assert main([*arguments, f"--source={ward}"]) == 0
    assert len(rows_of(ward / "corpus")) == 20
    assert main([str(ward / "corpus" / "corpus.yaml")]) == 0
    (recipe / "corpus.yaml").write_text("tabel: x\n")
    capsys.readouterr()
    assert main(arguments) == 2
    assert "tabel, did you mean table?" in capsys.readouterr().err
