"""recipes/VOICED/prepare.py on records that the test writes, and on the real ones.

The environment variable VOICED names the folder of the real ones.
"""

import os
from pathlib import Path

import numpy as np
import pytest
import soundfile

from recipes.VOICED.prepare import main, read_infos
from tests.recipes.tables import prepare, read_splits, rows_of, write_xlsx

RECIPE = Path(__file__).parents[2] / "recipes/VOICED"
VHI = "Voice Handicap Index (VHI) Score"
RSI = "Reflux Symptom Index (RSI) Score"
COLUMNS = ["ID", "Age", "Gender", "Diagnosis", VHI, RSI, "Smoker"]
KEPT = ("sex: {Gender}", "age: {Age}", "smoker: {Smoker}")
PEOPLE = [
    ("voice001", "32", "m", "hyperkinetic dysphonia", "15", "5", "no"),
    ("voice002", "55", "f", "healthy", "0", "NU", "No"),
    ("voice002", "41", "f", " hypokinetic dysphonia (nodule)", "12", "14", "yes"),
    ("voice004", "60", "m", "reflux laryngitis", "11", "13", "yes "),
]


def write_record(folder, name, samples, gain=65536.5, baseline=-1000):
    """A WFDB record of one signal in format 32.

    samples: Whole numbers, each 1/32768 of full scale.
    """
    numbers = np.rint(samples / 32768 * gain + baseline).astype("<i4")
    (folder / f"{name}.dat").write_bytes(numbers.tobytes())
    (folder / f"{name}.hea").write_text(
        f"{name} 1 8000 {len(samples)}\n"
        f"{name}.dat 32 {gain}({baseline})/NU 0 0 {numbers[0]} 0 0 voice\n"
        "#<age>: 32  <sex>: M <diagnoses>: x <medications>: none\n"
    )


@pytest.fixture
def source(tmp_path):
    """Four people as VOICED 1.0.0 has them, the third with the second's ID."""
    folder = tmp_path / "voiced"
    folder.mkdir()
    noise = np.random.default_rng(0).integers(-32000, 32000, (4, 900))
    for i, person in enumerate(PEOPLE):
        name = f"voice00{i + 1}"
        write_record(folder, name, noise[i])
        pairs = [("ID", "Age:", "Gender:", "Diagnosis:"), (f"{VHI}:", f"{RSI}:")]
        keys = [*pairs[0], *pairs[1], "Smoker:"]
        lines = [f"{key}\t{value}" for key, value in zip(keys, person, strict=True)]
        lines.insert(1, "\t")
        text = "\r\n".join(lines) + "\r\n"
        (folder / f"{name}-info.txt").write_bytes(text.encode())
    return folder


def options_of(source, corpus):
    return [f"--source={source}", f"--corpus_folder={corpus}"]


def test_what_it_makes(source, tmp_path, capsys):
    assert main(options_of(source, tmp_path / "corpus")) == 0
    said = capsys.readouterr().out
    assert "1 ID other than its file's name" in said
    assert "'voice002' (voice003-info.txt)" in said
    rows = rows_of(tmp_path / "corpus")
    assert rows["voice003"] == {
        **{"uid": "voice003", "subject": "voice003", "file": "voice003.wav"},
        **{"pathological": "1", "hyperkinetic": "0", "hypokinetic": "1"},
        **{"reflux": "0", "VHI12": "1", "RSI14": "1", "VHI": "12", "RSI": "14"},
        **{"sex": "f", "age": "41", "smoker": "yes"},
    }
    assert [rows[f"voice00{i}"]["RSI14"] for i in (1, 2, 4)] == ["0", "", "0"]
    labels = (tmp_path / "corpus" / "labels.txt").read_text()
    assert labels == (RECIPE / "labels.txt").read_text()
    audio, rate = soundfile.read(
        tmp_path / "corpus" / "audio" / "voice002.wav", dtype="int16"
    )
    noise = np.random.default_rng(0).integers(-32000, 32000, (4, 900))
    assert rate == 8000 and np.array_equal(audio, noise[1])
    assert not (tmp_path / "corpus" / "audio").is_symlink()
    # the corpus says how it was made
    kept = tmp_path / "corpus" / "corpus.yaml"
    assert main([f"--source={source}", str(kept)]) == 0


def same_by_the_table_recipe(source, folder, capsys):
    """Lays a source out twice, as VOICED and by a spreadsheet; both corpora.

    Returns: by the recipe, by the spreadsheet.
    """
    assert main(options_of(source, folder / "own")) == 0
    frame = read_infos(source)[0].rows
    columns = ["record", *COLUMNS]
    write_xlsx(folder / "people.xlsx", [columns, *frame[columns].to_numpy()])
    status, _, message = prepare(
        capsys,
        table=folder / "people.xlsx",
        audio_folder=folder / "own" / "audio",
        corpus_folder=folder / "table",
        file="{record}.wav",
        subject="{record}",
        label=[
            "pathological: {Diagnosis} != healthy",
            *(
                f"{name}: {{Diagnosis}} contains {name}"
                for name in ("hyperkinetic", "hypokinetic", "reflux")
            ),
            f"VHI12: {{{VHI}}} >= 12",
            f"RSI14: {{{RSI}}} >= 14",
        ],
        heads="pathological,hyperkinetic,hypokinetic,reflux;VHI12,RSI14",
        keep=[f"VHI: {{{VHI}}}", f"RSI: {{{RSI}}}", *KEPT],
        missing_values="[NU]",
    )
    assert status == 0, message
    return folder / "own", folder / "table"


def test_the_table_recipe_makes_the_same(source, tmp_path, capsys):
    own, table = same_by_the_table_recipe(source, tmp_path, capsys)
    assert read_splits(own) == read_splits(table)
    assert set(read_splits(own)) == {"train", "test"}
    assert (own / "labels.txt").read_text() == (table / "labels.txt").read_text()


def test_the_table_recipe_notices_the_wrong_id(source, tmp_path, capsys):
    frame = read_infos(source)[0].rows
    write_xlsx(tmp_path / "people.xlsx", [COLUMNS, *frame[COLUMNS].to_numpy()])
    for i in range(1, 5):
        soundfile.write(tmp_path / f"wav{i}.wav", np.zeros(800), 8000)
    folder = tmp_path / "wav"
    folder.mkdir()
    for i in range(1, 5):
        (tmp_path / f"wav{i}.wav").rename(folder / f"voice00{i}.wav")
    status, _, message = prepare(
        capsys,
        table=tmp_path / "people.xlsx",
        audio_folder=folder,
        corpus_folder=tmp_path / "corpus",
        file="{ID}.wav",
        subject="{ID}",
        label="ill: {Diagnosis} != healthy",
    )
    assert status == 2 and not (tmp_path / "corpus").exists()
    assert "matched by two rows: 'voice002.wav'" in message


@pytest.mark.parametrize(
    ("spoil", "told"),
    [
        (lambda source: (source / "voice001.dat").write_bytes(b"12"), "900 samples"),
        (lambda source: (source / "voice001.dat").unlink(), "voice001.dat"),
        (lambda source: (source / "voice001.hea").write_text("x"), "voice001.hea"),
        (
            lambda source: [path.unlink() for path in source.glob("*.txt")],
            "voice*-info.txt were expected",
        ),
    ],
)
def test_a_spoilt_source(source, tmp_path, capsys, spoil, told):
    spoil(source)
    assert main(options_of(source, tmp_path / "corpus")) == 2
    message = capsys.readouterr().err
    assert told in message and not (tmp_path / "corpus").exists()


def test_no_source(tmp_path, capsys):
    assert main([f"--corpus_folder={tmp_path / 'corpus'}"]) == 2
    assert "Give --source=DIR" in capsys.readouterr().err
    assert main(options_of(tmp_path / "nowhere", tmp_path / "corpus")) == 2
    assert "there is no folder" in capsys.readouterr().err


@pytest.mark.skipif("VOICED" not in os.environ, reason="VOICED names no folder")
def test_the_real_ones(tmp_path, capsys):
    source = Path(os.environ["VOICED"])
    assert main([*options_of(source, tmp_path / "corpus"), "--test_share=0"]) == 0
    said = capsys.readouterr().out
    assert "'voice005' (voice006-info.txt), 'voice055' (voice054-info.txt)" in said
    rows = read_splits(tmp_path / "corpus")["train"]
    counts = {
        label: sum(row[label] == "1" for row in rows)
        for label in ("pathological", "hyperkinetic", "hypokinetic", "reflux")
    }
    assert len(rows) == 208
    assert list(counts.values()) == [151, 72, 41, 38]  # as its article counts them
    own, table = same_by_the_table_recipe(source, tmp_path, capsys)
    assert read_splits(own) == read_splits(table)
