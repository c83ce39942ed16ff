"""Public corpora: each laid out from files of its names and columns, made here."""

import importlib
import json
from pathlib import Path

import openpyxl
import pytest
from preparing import values_of

from local.data.prepare import prepare_training
from recipes.table.prepare import main as table_main
from tests.recipes.tables import (
    read_splits,
    rows_of,
    write_audio,
    write_csv_rows,
    write_xlsx,
)

RECIPES = Path(__file__).parents[2] / "recipes"


def main_of(name):
    """The command line of a recipe; that of the table recipe if it has no own."""
    if not (RECIPES / name / "prepare.py").exists():
        return lambda arguments: table_main(
            [str(RECIPES / name / "corpus.yaml"), *arguments]
            if not any(one.endswith(".yaml") for one in arguments)
            else arguments
        )
    return importlib.import_module(f"recipes.{name}.prepare").main


def lay_out(name, source, *options):
    """Lays a corpus out from tmp/source to tmp/corpus; the exit status."""
    corpus = f"--corpus_folder={source.parent / 'corpus'}"
    return main_of(name)([f"--source={source}", corpus, *options])


def check(name, source, n_recordings, types=None):
    """Its rows by uid; training takes it, and labels.txt is the recipe's."""
    corpus = source.parent / "corpus"
    rows = rows_of(corpus)
    assert len(rows) == n_recordings
    assert (corpus / "labels.txt").read_text() == (
        RECIPES / name / "labels.txt"
    ).read_text()
    assert (corpus / "audio").is_symlink()
    values = values_of(corpus, label_types=types, val_size=1)
    assert prepare_training(values).failed == []
    arguments = [f"--source={source}", str(corpus / "corpus.yaml")]
    again = main_of(name)(arguments)
    assert again == 0 and rows_of(corpus) == rows
    return rows


def test_mdvr_kcl(tmp_path, capsys):
    source = tmp_path / "source"
    names = [f"ID{i:02}_hc_0_0_0.wav" for i in range(3)] + ["ID22hc_0_0_0.wav"]
    names = [
        f"26-29_09_2017_KCL/{task}/HC/{n}"
        for task in ("ReadText", "SpontaneousDialogue")
        for n in names
    ]
    names += [
        f"26-29_09_2017_KCL/ReadText/PD/ID{i}_pd_{i % 5}_1_2.wav" for i in range(32, 36)
    ]
    write_audio(source, names)
    last = source / names[-1]
    last.rename(last.with_suffix(".WAV"))
    assert lay_out("MDVR-KCL", source) == 0
    rows = check("MDVR-KCL", source, 12)
    row = rows["26-29_09_2017_KCL-ReadText-PD-ID33_pd_3_1_2"]
    assert row["subject"] == "ID33" and row["parkinson"] == "1"
    assert (row["task"], row["hoehn_yahr"], row["updrs_ii_5"]) == ("ReadText", "3", "1")
    assert "of another group" not in capsys.readouterr().out
    odd = rows["26-29_09_2017_KCL-SpontaneousDialogue-HC-ID22hc_0_0_0"]
    assert (odd["subject"], odd["parkinson"]) == ("ID22", "0")
    moved = source / names[-2]
    moved.rename(moved.parents[1] / "HC" / moved.name)
    assert lay_out("MDVR-KCL", source, f"--corpus_folder={tmp_path / 'new'}") == 0
    told = "1 file of another group than its folder's, which is taken: '26-29_09_2017"
    assert told in capsys.readouterr().out


def test_torgo(tmp_path):
    source = tmp_path / "source"
    speakers = ("F/F01", "F/F03", "M/M01", "FC/FC01", "MC/MC01", "MC/MC02")
    write_audio(
        source,
        [
            f"{s}/Session1/wav_{mic}/000{i}.wav"
            for s in speakers
            for mic in ("headMic", "arrayMic")
            for i in (1, 2)
        ],
    )
    prompts = source / "F/F01/Session1/prompts"
    prompts.mkdir()
    (prompts / "0001.txt").write_bytes(b"stick\0\n")
    assert lay_out("TORGO", source, "--keep=prompt,device,sex") == 0
    rows = rows_of(tmp_path / "corpus")
    assert rows["F-F01-Session1-wav_headMic-0001"]["prompt"] == "stick"
    (tmp_path / "corpus").rename(tmp_path / "other")
    assert lay_out("TORGO", source) == 0
    rows = check("TORGO", source, 24)
    row = rows["MC-MC02-Session1-wav_arrayMic-0002"]
    assert {**row, "file": ""} == {
        **{"uid": "MC-MC02-Session1-wav_arrayMic-0002", "subject": "MC02", "file": ""},
        **{"dysarthria": "0", "session": "Session1", "device": "arrayMic"},
        **{"sex": "M", "item": "0002"},
    }
    assert rows["F-F03-Session1-wav_headMic-0001"]["dysarthria"] == "1"


KEYS = ["Show", "EpId", "ClipId", "Start", "Stop"]
COUNTS = ["Unsure", "PoorAudioQuality", "Prolongation", "Block", "SoundRep", "WordRep"]
COUNTS += ["DifficultToUnderstand", "Interjection", "NoStutteredWords"]
COUNTS += ["NaturalPause", "Music", "NoSpeech"]

#: What SEP-28k-E has between the two.
MORE = ["is_probably_host", "speaker", "clip_silhouette_score"]
MORE += ["SEP12k", "SEP28k-E", "SEP28k-T", "SEP28k-D"]


def write_sep(source, is_cut=False, is_extended=False):
    """Two shows of three episodes of two clips each, half a second long.

    The first clip of each episode of SEP-28k-E is the host's.
    """
    rows = []
    for i, (show, episode, clip) in enumerate(
        (show, f"{episode:03}", clip)
        for show in ("HeStutters", "MyStutteringLife")
        for episode in range(3)
        for clip in range(2)
    ):
        row = [show, episode, clip, 8000 * clip, 8000 * clip + 8000]
        if is_extended:
            row[4] = float(row[4])  # as pandas writes a column with holes
            split = "train" if not clip else ["dev", "test"][int(episode) % 2]
            speaker = f"{show}_{episode}_1" if clip else f"Host of {show}"
            row += [not clip, speaker, 0.5, "", split, "test", "test"]
        rows.append([*row, 0, 0, i % 4, (i + 1) % 4, 1, 2, 0, 3, 0, 0, 0, 0])
    source.mkdir()
    if is_extended:
        write_csv_rows(
            source / "SEP-28k-Extended_clips.csv", [KEYS + MORE + COUNTS, *rows]
        )
    else:  # with spaces behind commas, but not in the header
        lines = [",".join(KEYS + COUNTS), *(", ".join(map(str, row)) for row in rows)]
        (source / "SEP-28k_labels.csv").write_text("\n".join(lines) + "\n")
    if is_cut:
        names = [f"clips/{s}/{e}/{s}_{e}_{c}.wav" for s, e, c, *_ in rows]
    else:
        names = [f"wavs/{s}/{e}.wav" for s, e, *_ in rows]
    write_audio(source, sorted(set(names)), seconds=1.0)


def test_sep_28k(tmp_path):
    source = tmp_path / "source"
    write_sep(source, is_cut=True)
    assert lay_out("SEP-28k", source) == 0
    rows = check("SEP-28k", source, 12)
    row = rows["clips-HeStutters-001-HeStutters_001_0"]  # the third: counts 2 and 3
    assert row["subject"] == "HeStutters-001" and row["show"] == "HeStutters"
    assert [row[f"prolongation@{i}"] for i in (1, 2, 3)] == ["1", "1", "0"]
    assert [row[f"block@{i}"] for i in (1, 2, 3)] == ["1", "1", "1"]
    assert [row[f"sound repetition@{i}"] for i in (1, 2, 3)] == ["1", "0", "0"]
    assert row["start_s"] == row["end_s"] == ""


def test_sep_28k_uncut_with_the_splits_and_speakers_of_sep_28k_e(tmp_path):
    source = tmp_path / "source"
    write_sep(source, is_cut=False, is_extended=True)
    assert lay_out("SEP-28k", source, "--splits=SEP28k-E") == 0
    rows = check("SEP-28k", source, 12)
    row = rows["wavs-HeStutters-001-0.5-1"]
    assert (row["file"], row["start_s"], row["end_s"], row["subject"]) == (
        *("wavs/HeStutters/001.wav", "0.5", "1", "HeStutters_001_1"),
    )
    splits = read_splits(tmp_path / "corpus")
    assert {name: len(rows) for name, rows in splits.items()} == {
        **{"train": 6, "val": 4, "test": 2},
    }
    assert {row["subject"] for row in splits["train"]} == {
        *("Host of HeStutters", "Host of MyStutteringLife"),
    }


def write_sap(source):
    """Four speakers to train and two of Dev, two recordings each, one of them rated.

    Their JSONs are there twice, as there is an archive of these alone.
    """
    for i in range(6):
        part, speaker = ("Train", "Dev")[i > 3], f"s{i}"
        folder = source / "Downsampled" / part / speaker
        names = [f"{speaker}_{n}_16kHz.wav" for n in (1, 2)]
        write_audio(folder, names)
        levels = {
            "Slow rate": i,
            "Short rushes of speech": 1,
            "Strained-strangled voice ": i % 3 + 1,
            "Irregular articulatory breakdowns": 1,
            "Imprecise consonants": "",
            "Distorted vowels": 7,
            ("Intelligbility ", "Intelligibility")[i % 2]: 3,
        }
        files = [
            {
                "Filename": name,
                "Prompt": {
                    "Prompt Text": "go",
                    "Transcript": "go\n",
                    "Category Description": "Novel Sentences",
                    "Sub Category Description": "",
                },
                "Ratings": [],
            }
            for name in names
        ]
        files[0]["Ratings"] = [
            {"Dimension Description": key, "Level": str(level)}
            for key, level in levels.items()
        ]
        content = {"Contributor ID": speaker, "Etiology": "ALS", "Files": files}
        text = json.dumps(content).replace("\\n", "\n")
        (folder / f"{speaker}.json").write_text(text)
        (folder.parent / f"{speaker}.json").write_text(text)
    (source / "release.json").write_text(json.dumps(["of another kind"]))
    (source / "._release.json").write_bytes(b"\0\5\26\7Mac OS X")


def test_sap(tmp_path, capsys):
    source = tmp_path / "source"
    write_sap(source)
    assert lay_out("SAP", source) == 0
    assert "12 recordings of 12 of 12 rows" in capsys.readouterr().out
    rows = check("SAP", source, 12)
    row = rows["Downsampled-Train-s2-s2_1_16kHz"]
    assert {**row, "uid": "", "file": ""} == {
        **{"uid": "", "subject": "s2", "file": "", "slow rate": "1"},
        **{"irregular artic breakdowns": "0", "short rushes": "0"},
        **{"distortions": "1", "strained": "1"},
        **{"etiology": "ALS", "task": "Novel Sentences"},
    }
    assert rows["Downsampled-Train-s2-s2_2_16kHz"]["strained"] == ""
    splits = read_splits(tmp_path / "corpus")
    assert {row["subject"] for row in splits["test"]} == {"s4", "s5"}
    new = f"--corpus_folder={tmp_path / 'new'}"
    assert lay_out("SAP", source, new, "--label=clear: {intelligibility} <= 3") == 0
    assert len([row for row in rows_of(tmp_path / "new").values() if row["clear"]]) == 6
    path = next((source / "Downsampled/Dev").rglob("*.json"))
    path.write_text(path.read_text().replace('"Level"', '"Score"'))
    assert lay_out("SAP", source, f"--corpus_folder={tmp_path / 'newer'}") == 2
    message = capsys.readouterr().err
    assert "is no JSON of a speaker as it is known (it has no 'Level'): exp" in message


def test_sap_with_one_name_for_two_speakers_recordings(tmp_path, capsys):
    source = tmp_path / "source"
    write_sap(source)
    for path in source.rglob("s1.json"):
        path.write_text(path.read_text().replace("s1_1_16kHz", "s2_1_16kHz"))
    assert lay_out("SAP", source) == 2
    assert "1 file matched by two rows: 'Downsampled/Tr" in capsys.readouterr().err


def write_pvqd(source):
    """Five people; one of them is spelt otherwise in each of the places."""
    codes = ["BL01", "BL02", "LA9004", "PT001", "pt002"]
    endings = ["_ENSS", " ENSS", "_ENSS", "._ENSS", "_ENSS"]
    names = [f"{code}{end}.wav" for code, end in zip(codes, endings, strict=True)]
    write_audio(source / "Audio Files", [*names, "SJ1001_ENSS.wav"])
    sheets = source / "Ratings Spreadsheets"
    people = [
        [f"{code.upper()} ", "MF"[i % 2], 40 + i, "Healthy"]
        for i, code in enumerate(codes)
    ]
    write_xlsx(
        sheets / "Demographics.xlsx",
        [["Participant ID ", "Gender", "Age", "Diagnosis "], *people],
    )
    header = ["File", "Characteristics", "Mean", "SD", "Min", "Max"]
    header += [f"Rater {r} {t}" for r in (1, 2, 3) for t in ("Time 1", "time 2")]
    path = sheets / "Ratings_both_scales.xlsx"
    workbook = openpyxl.Workbook()
    for scale, dimensions, top in (
        ("CAPE-V", "Severity Roughness Breathiness Pitch Loudness", 100),
        ("GRBAS", "Grade Roughness Breathiness Asthenia Strain", 3),
    ):
        sheet = workbook.create_sheet(scale)
        sheet.append(header)
        for i, code in enumerate(codes):
            for name in dimensions.split():
                # the last is far up; the second rater was there once only
                numbers = [0, top if i == 4 else 1, i / 10, None, 1, 2]
                sheet.append([f" {code}", f"{scale} {name}", *[None] * 4, *numbers])
            sheet.append(["ST1001", f"{scale} {name}", *[None] * 4, *numbers])
    del workbook["Sheet"]
    workbook.save(path)
    return codes


def test_pvqd(tmp_path, capsys):
    source = tmp_path / "source"
    write_pvqd(source)
    assert lay_out("PVQD", source) == 0
    said = capsys.readouterr().out
    lines = (RECIPES / "PVQD" / "labels.txt").read_text().split()
    types = {
        label: {"type": "score", "range": [0, top]}
        for line, top in zip(lines, (50, 3), strict=True)
        for label in line.split(",")
    }
    rows = check("PVQD", source, 6, types)
    assert "1 code of recordings that no sheet of ratings has: 'SJ1001'" in said
    assert "1 code of the sheets of ratings without a recording: 'ST1001'" in said
    row = rows["Audio Files-pt002_ENSS"]
    assert (row["sex"], row["age"], row["diagnosis"]) == ("M", "44", "Healthy")
    raters = [row[f"severity@CAPE-V severity R{i}"] for i in (1, 2, 3, 4)]
    assert raters == ["50", "0.4", "1.5", ""]
    assert row["grade@GRBAS grade R1"] == "1.5"
    assert "severity: 5 rated by 4 raters, from 0 to 50" in said
    path = source / "Ratings Spreadsheets/Demographics.xlsx"
    write_xlsx(path, [["Participant", "Gender"], ["BL01", "M"]])
    assert lay_out("PVQD", source, f"--corpus_folder={tmp_path / 'new'}") == 2
    assert "has no column Participant ID: there are Part" in capsys.readouterr().err


def test_hupa(tmp_path):
    source = tmp_path / "HUPA_db"
    header = ["File name", "Original file name", "Sampling frequency"]
    header += ["Sampling frequency2", "Type", "EGG", "Age", "Sex", *"GRASB", "Total"]
    header += ["Patient code", "Pathology", "F0", "Comments"]
    workbook = openpyxl.Workbook()
    workbook.active.title = "Intro"
    workbook.active.append(["HUPA corpus"])
    for kind, code, grade in (("healthy", 0, 0), ("pathological", 113, 2)):
        sheet = workbook.create_sheet(kind.capitalize())
        sheet.append(header)
        for i in range(1, 5):
            name, old = f"{i:03}_{code}_F_{20 + i}_{kind}.wav", f"a{i}{kind[0]}.wav"
            grbas = [grade, 0, None, 1, grade, grade + 1]
            row = [name, old, 50000, 25000, kind, "no", 20 + i, "F", *grbas]
            sheet.append([*row, code, kind, 200, None])
            write_audio(source, [f"{kind}/50 kHz/{name}", f"{kind}/25 kHz/{old}"])
    workbook.save(source / "HUPA_db.xlsx")
    assert lay_out("HUPA", source) == 0
    rows = check("HUPA", source, 8)
    row = rows["pathological-50 kHz-002_113_F_22_pathological"]
    assert {**row, "uid": "", "file": ""} == {
        **{"uid": "", "file": "", "subject": "002_113_F_22_pathological.wav"},
        **{"pathological": "1", "grade": "1", "roughness": "0", "breathiness": "1"},
        **{"asthenia": "", "strain": "1", "sex": "F", "age": "22"},
        **{"diagnosis": "pathological", **dict(zip("GRBAS", "202 1", strict=True))},
        "A": "",
    }


def spoil_sheet(source):
    path = source / "Ratings Spreadsheets/Ratings_both_scales.xlsx"
    workbook = openpyxl.load_workbook(path)
    workbook["GRBAS"].title = "GRBAS scale"
    workbook.save(path)


def replace(name, old, new):
    """Text in a file of a source is another."""

    def replaced(source):
        path = next(source.rglob(name))
        text = path.read_text()
        assert old in text
        path.write_text(text.replace(old, new, 1))

    return replaced


@pytest.mark.parametrize(
    ("name", "write", "spoil", "told"),
    [
        ("PVQD", write_pvqd, spoil_sheet, "Expected the sheets CAPE-V and GRBAS: "),
        ("SAP", write_sap, replace("s4.json", "{", "{{"), "(Expecting property name"),
        (
            "SAP",
            write_sap,
            replace("s4.json", '"Files"', '"Files": null, "F"'),
            "is no JSON of a speaker as it is known (it holds something else)",
        ),
        (
            "SEP-28k",
            write_sep,
            replace("*.csv", " 8000, 16000", " soon, 16000"),
            "1 cell in column 'start_s' with no number from 0 on: 'soon' (SEP-28k",
        ),
        (
            "SEP-28k",
            write_sep,
            replace("*.csv", "ClipId", "Clip"),
            "SEP-28k_labels.csv has no column ClipId",
        ),
    ],
)
def test_a_spoilt_source(name, write, spoil, told, tmp_path, capsys):
    source = tmp_path / "source"
    write(source)
    spoil(source)
    assert lay_out(name, source) == 2
    message = capsys.readouterr().err
    assert told in message and not (tmp_path / "corpus").exists()


def test_a_source_in_a_bucket(tmp_path, capsys):
    made = f"--corpus_folder={tmp_path / 'corpus'}"
    assert main_of("TORGO")(["--source=gs://bucket/TORGO", made]) == 2
    assert "source is gs://bucket/TORGO, and must be on" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["MDVR-KCL", "TORGO", "SEP-28k", "SAP", "PVQD"])
def test_another_folder(name, tmp_path, capsys):
    source = tmp_path / "source"
    write_audio(source, ["a.wav", "b/c.wav"])
    assert lay_out(name, source) == 2
    message = capsys.readouterr().err
    assert str(source) in message and "Traceback" not in message
    assert not (tmp_path / "corpus").exists()


def test_every_public_corpus_says_what_it_is():
    """Access, licence, citation, command and what was measured; its labels."""
    for name in (
        "VOICED",
        "PVQD",
        "HUPA",
        "SEP-28k",
        "SAP",
        "MDVR-KCL",
        "TORGO",
        "Bridge2AI-Voice",
    ):
        text = (RECIPES / name / "README.md").read_text()
        for part in ("## Data", "Licence", "## Command", "prepare.py", "easured"):
            assert part in text, f"{name}: {part}"
        assert (RECIPES / name / "labels.txt").read_text().strip()
