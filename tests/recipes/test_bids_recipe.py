"""recipes/bids/prepare.py on folders as b2aiprep writes them, made by the test."""

import json
import shutil
from pathlib import Path

import pytest
from preparing import values_of

from local.data.prepare import prepare_training
from recipes.bids.prepare import main
from tests.recipes.tables import read_splits, rows_of, write_audio

N_PEOPLE = 8


def write_tsv(path, rows):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join("\t".join(map(str, row)) for row in rows) + "\n")


@pytest.fixture
def bids(tmp_path):
    """Eight people; the first has two visits with other answers at the second."""
    folder = tmp_path / "bids"
    people = [f"p{i}" for i in range(N_PEOPLE)]
    visits = [(person, "s1") for person in people] + [("p0", "s2")]
    names = [
        f"sub-{person}/ses-{visit}/audio/sub-{person}_ses-{visit}_task-{task}.wav"
        for person, visit in visits
        for task in ("Rainbow-Passage", "Prolonged-vowel-(v2)")
    ]
    write_audio(folder, names)
    for name in names:
        items = [("recording_name", "valueString", "x"), ("snr", "valueDecimal", 21.5)]
        items = [{"linkId": key, "answer": [{kind: v}]} for key, kind, v in items]
        unanswered = [{"linkId": "size", "answer": []}, {"linkId": "site"}]
        sidecar = {"item": [*unanswered, *items]}
        path = folder / name.replace(".wav", "_recording-metadata.json")
        path.write_text(json.dumps(sidecar))
    write_tsv(
        folder / "participants.tsv",
        [
            ("record_id", "sex"),
            *((person, "FM"[i % 2]) for i, person in enumerate(people)),
        ],
    )
    write_tsv(
        folder / "phenotype/diagnosis/parkinsons.tsv",
        [("participant_id", "session_id", "gold_standard_diagnosis", "duration")]
        + [
            (f"sub-{p}", f"ses-{v}", ["no", "yes"][i % 2], i)
            for i, (p, v) in enumerate(visits)
        ],
    )
    write_tsv(
        folder / "phenotype/questionnaire/gad7.tsv",
        [("participant_id", "gad_7_session_id", "total", "duration")]
        + [(p, v, 15 if v == "s2" else i, 60) for i, (p, v) in enumerate(visits[:-1])]
        + [("p0", "s2", 15, 61)],
    )
    write_tsv(folder / "phenotype/empty.tsv", [("participant_id", "nothing")])
    return folder


def run(capsys, folder, *options):
    """Its status, what it said and its message; the corpus is beside the folder."""
    capsys.readouterr()
    corpus = folder.parent / "corpus"
    status = main([f"--bids_folder={folder}", f"--corpus_folder={corpus}", *options])
    told = capsys.readouterr()
    return status, told.out, told.err


LABEL = "--label=pd: {gold_standard_diagnosis} = yes"


def test_what_it_makes(bids, capsys):
    options = (LABEL, "--label=anxious: {total} >= 10", "--keep=sex,snr")
    status, said, message = run(capsys, bids, *options)
    assert status == 0, message
    assert "left out" in said and "empty.tsv has a header and no rows" in said
    corpus = bids.parent / "corpus"
    rows = rows_of(corpus)
    assert len(rows) == 18
    stem = "sub-p1_ses-s1_task-Rainbow-Passage"
    assert rows[stem] == {
        "uid": stem,
        "subject": "p1",
        "file": f"sub-p1/ses-s1/audio/{stem}.wav",
        **{"task": "Rainbow-Passage", "session": "s1"},
        **{"pd": "1", "anxious": "0", "sex": "M", "snr": "21.5"},
    }
    assert (
        rows["sub-p0_ses-s2_task-Prolonged-vowel-(v2)"]["task"]
        == "Prolonged-vowel-(v2)"
    )
    # each visit has its own answers
    visits = [rows[f"sub-p0_ses-{v}_task-Rainbow-Passage"] for v in ("s1", "s2")]
    assert [row["anxious"] for row in visits] == ["0", "1"]
    types = {"val_size": 2}
    assert prepare_training(values_of(corpus, **types)).failed == []
    before = {path: path.read_bytes() for path in (corpus / "splits").iterdir()}
    assert main([str(corpus / "corpus.yaml")]) == 0  # and once more as it was
    assert {path: path.read_bytes() for path in before} == before


def test_what_is_known_of_a_visit_is_not_known_of_another(bids, capsys):
    path = bids / "phenotype/questionnaire/gad7.tsv"
    path.write_text("\n".join(path.read_text().splitlines()[:-1]) + "\n")
    assert run(capsys, bids, "--label=anxious: {total} >= 10", LABEL)[0] == 0
    rows = rows_of(bids.parent / "corpus")
    assert rows["sub-p0_ses-s1_task-Rainbow-Passage"]["anxious"] == "0"
    assert rows["sub-p0_ses-s2_task-Rainbow-Passage"]["anxious"] == ""


@pytest.mark.parametrize("visit", ["", "s1"])
def test_folders_and_tables_of_which_one_has_visits(bids, capsys, visit):
    """A table that leaves the visit out is about the person, as are folders."""
    rows = [(f"p{i}", visit, ["no", "yes"][i % 2]) for i in range(N_PEOPLE)]
    header = ("participant_id", "session_id", "gold_standard_diagnosis")
    write_tsv(bids / "phenotype/diagnosis/parkinsons.tsv", [header, *rows])
    if visit:
        shutil.rmtree(bids / "sub-p0/ses-s2")
        for path in [*bids.glob("sub-*/ses-s1/audio/*")]:
            folder = path.parents[2] / "audio"
            folder.mkdir(exist_ok=True)
            path.rename(folder / path.name.replace("_ses-s1", ""))
    status, said, message = run(capsys, bids, LABEL)
    assert status == 0 and ", 0 not rated" in said, message


def test_columns_of_one_name(bids, capsys):
    status, said, message = run(capsys, bids, LABEL, "--score=d: {duration}")
    assert status == 2
    assert "2 tables: take {parkinsons.duration} or {gad7.duration}" in message
    status, said, message = run(capsys, bids, LABEL, "--keep=duration")
    assert status == 2
    assert "2 tables: take {parkinsons.duration} or {gad7.duration}" in said
    assert (
        "with several values of 'duration' in rows without a file: "
        "'p0' (parkinsons.tsv row 2, 10, gad7.tsv row 2, 10), 'p1'" in message
    )
    status, _, message = run(capsys, bids, LABEL, "--score=d: {gad7.duration}")
    assert status == 0, message
    rows = rows_of(bids.parent / "corpus").values()
    assert {row["d"] for row in rows} == {"60", "61"}


@pytest.mark.parametrize(
    ("end", "sidecar"), [("", ".json"), ("_audio", "_metadata.json")]
)
def test_without_visits_and_tables(tmp_path, capsys, end, sidecar):
    """BIDS needs neither; the sidecar may say everything, as b2aiprep's once did."""
    names = [
        f"sub-{i:02}/voice/sub-{i:02}_task-a_run-{r}{end}.flac"
        for i in range(4)
        for r in (1, 2)
    ]
    write_audio(tmp_path / "bids", names)
    for name in names:
        path = tmp_path / "bids" / name.replace(f"{end}.flac", sidecar)
        path.write_text(json.dumps({"strained": int("sub-01" in name), "sub": "?"}))
    status, _, message = run(capsys, tmp_path / "bids", "--label=strained: {strained}")
    assert status == 0, message
    rows = rows_of(tmp_path / "corpus")
    assert rows[f"sub-01_task-a_run-2{end}"] == {
        "uid": f"sub-01_task-a_run-2{end}",
        "subject": "01",
        "file": f"sub-01/voice/sub-01_task-a_run-2{end}.flac",
        "task": "a",
        "strained": "1",
    }
    splits = read_splits(tmp_path / "corpus")
    assert {len(split) for split in splits.values()} == {2, 6}


def spoil_name(bids):
    path = next(bids.rglob("sub-p3*Rainbow-Passage.wav"))
    path.rename(path.with_name(path.name.replace("sub-p3", "sub-p4")))


def add_to(name, content):
    """Bytes at the end of a file."""

    def spoil(bids):
        with (bids / name).open("ab") as file:
            file.write(content)

    return spoil


def spoil_sidecar(content):
    """Another content of one."""
    return lambda bids: next(bids.rglob("*.json")).write_text(content)


@pytest.mark.parametrize(
    ("spoil", "options", "told"),
    [
        (spoil_name, (LABEL,), "names another person or visit than its folders"),
        (
            spoil_sidecar("[1"),
            ("--label=x: {snr} > 3",),
            "can't be read as a sidecar: Expecting ',' delimiter: line 1 column 3",
        ),
        *[
            (
                spoil_sidecar(content),
                ("--label=x: {snr} > 3",),
                "expected keys with a value each, or FHIR's items with answers",
            )
            for content in ("[]", "null", '{"item": 3}', '{"item": [{"answer": [3]}]}')
        ],
        (None, ("--label=x: {Totl}",), "no column 'Totl'"),
        (None, (), "there is none: give --label"),
        (
            None,  # a row of recordings has no number that somebody could look up
            ("--score=x: {sex}", "--keep=sex"),
            "/bids/sub-*), 'M' (",
        ),
        (
            lambda bids: [path.unlink() for path in bids.rglob("*.wav")],
            (LABEL,),
            "holds no recording: expected files such as sub-01/",
        ),
        (
            lambda bids: (bids / "participants.tsv").write_text(
                "participant_id\tsex\nP-1\tF\n"
            ),
            (LABEL, "--keep=sex"),
            "participants.tsv is about sub-P-1, which are no folders with recordings; "
            "these are sub-p0/ses-s1, sub-p0/ses-s2, sub-p1/ses-s1, sub-p2/ses-s1,",
        ),
        (
            lambda bids: write_tsv(
                bids / "phenotype/diagnosis/parkinsons.tsv",
                [
                    ("participant_id", "session_id", "gold_standard_diagnosis"),
                    *(("p0", "01", "yes"), ("p1", "ses-1", "no")),
                ],
            ),
            (LABEL,),
            "parkinsons.tsv is about sub-p0/ses-01, sub-p1/ses-1, which are no folders",
        ),
        (
            add_to("participants.tsv", b"p0\tM\n"),
            (LABEL, "--keep=sex"),
            "1 subject with several values of 'sex' in rows without a file: "
            "'p0' (participants.tsv row 2, 10)",
        ),
        (
            add_to("participants.tsv", "p9\tmännlich\n".encode("latin-1")),
            (LABEL,),
            "participants.tsv can't be read: it is not UTF-8 text (line 10)",
        ),
        (
            add_to("phenotype/diagnosis/parkinsons.tsv", b"\0"),
            (LABEL, "--dry_run"),
            "parkinsons.tsv can't be read: it holds NUL characters",
        ),
        (
            add_to("participants.tsv", b'p9\t"M\n'),
            (LABEL,),
            "row 10: a quote that is opened there is never closed",
        ),
        (
            add_to("phenotype/none.tsv", b""),
            (LABEL,),
            "none.tsv can't be read as a CSV file: it is empty",
        ),
    ],
)
def test_bad_input(bids, capsys, spoil, options, told):
    if spoil:
        spoil(bids)
    status, _, message = run(capsys, bids, *options)
    assert status == 2 and told in message
    assert not (bids.parent / "corpus").exists()


def test_a_table_without_rows_is_told_before_its_column_is_missed(bids, capsys):
    write_tsv(bids / "participants.tsv", [("record_id", "sex")])
    status, said, message = run(capsys, bids, LABEL, "--keep=sex")
    assert status == 2 and "there is no column 'sex'" in message
    assert "left out: participants.tsv has a header and no rows below it" in said


def test_no_folder(tmp_path, capsys):
    assert main([f"--corpus_folder={tmp_path / 'c'}", LABEL]) == 2
    assert "Give --bids_folder=DIR" in capsys.readouterr().err
    assert run(capsys, Path(tmp_path / "none"), LABEL)[0] == 2


def test_what_bids_writes_where_nothing_is_known(bids, capsys):
    """`n/a`, as spreadsheet programs save files, and people who are not there."""
    rows = [("participant_id", "sex", "updrs")]
    rows += [(f"sub-p{i}", ["F", "n/a"][i % 2], [i, "n/a"][i == 3]) for i in range(6)]
    text = "\r\n".join("\t".join(map(str, row)) for row in rows)
    (bids / "participants.tsv").write_bytes(b"\xef\xbb\xbf" + text.encode())
    asked = ("--label=ill: {updrs} >= 2", "--keep=sex")
    status, _, message = run(capsys, bids, *asked)
    assert status == 0, message
    rows = rows_of(bids.parent / "corpus")
    found = [rows[f"sub-p{i}_ses-s1_task-Rainbow-Passage"] for i in range(8)]
    assert [row["ill"] for row in found] == ["0", "0", "1", "", "1", "1", "", ""]
    assert [row["sex"] for row in found] == ["F", "", "F", "", "F", "", "", ""]


def test_what_is_derived_or_hidden_is_no_recording(bids, capsys):
    """Nor are files in other folders of BIDS; suffixes may be in capitals."""
    first, second = sorted(bids.rglob("*.wav"))[:2]
    first.rename(first.with_suffix(".WAV"))
    (bids / "phenotype/._empty.tsv").write_bytes(b"\0\5\26\7Mac OS X")
    for name in ("derivatives/denoised", "code", "sourcedata", ".cache"):
        copy = bids / name / second.relative_to(bids)
        copy.parent.mkdir(parents=True)
        copy.write_bytes(second.read_bytes())
    status, said, message = run(capsys, bids, LABEL)
    assert status == 0, message
    assert "3 files without a row, left out: 'code/sub-p0" in said
    assert len(rows_of(bids.parent / "corpus")) == 18


@pytest.fixture
def b2ai(bids):
    """Names and columns of release 3; the first person comes to a second visit."""
    (bids / "participants.tsv").unlink()
    shutil.rmtree(bids / "phenotype")
    people = [f"p{i}" for i in range(N_PEOPLE)]
    tables = {
        "demographics/demographics": [
            ("participant_id", "demographics_session_id", "age", "sex_at_birth"),
            *((p, "s1", 60 + i, "Female") for i, p in enumerate(people)),
        ],
        "enrollment/participant": [("participant_id", "age"), ("p0", "59")],
        "diagnosis/parkinsons_disease": [
            ("participant_id", "diagnosis_parkinsons_gold_standard_diagnosis"),
            *zip(people, ("Yes", "No", "Not certain", "Yes"), strict=False),
        ],
        "diagnosis/control": [
            ("participant_id", "diagnosis_c_ac"),
            *zip(people[4:], ("No", "No", "Yes", "0"), strict=True),
        ],
        "questionnaire/vhi10": [
            ("participant_id", "vhi_session_id", "vhi_10_calc_score", "vhi_duration"),
            *((p, "s1", 5 + i, 30) for i, p in enumerate(people)),
            ("p0", "s2", 12, 40),
        ],
    }
    for name, rows in tables.items():
        write_tsv(bids / "phenotype" / f"{name}.tsv", rows)
    return bids


def test_bridge2ai_voice(b2ai):
    recipe = Path(__file__).parents[2] / "recipes/Bridge2AI-Voice"
    made = b2ai.parent / "corpus"
    options = [f"--source={b2ai}", f"--corpus_folder={made}"]
    assert main([str(recipe / "corpus.yaml"), *options]) == 0
    assert (made / "labels.txt").read_text() == (recipe / "labels.txt").read_text()
    found = rows_of(made)
    rows = [found[f"sub-p{i}_ses-s1_task-Rainbow-Passage"] for i in range(N_PEOPLE)]
    assert [row["parkinsons"] for row in rows] == ["1", "0", "", "1", "0", "0", "", "0"]
    assert [row["voice handicap"] for row in rows] == [*"0000000", "1"]
    assert (rows[2]["age"], rows[2]["sex"]) == ("62", "Female")
    again = found["sub-p0_ses-s2_task-Rainbow-Passage"]
    assert (again["voice handicap"], again["parkinsons"]) == ("1", "1")
