"""CSVs and labels.txt of every kind in docs/bad_input.md, a case for each line."""

import os
import re
import shutil

import pytest

from local.data import prepare
from tests.conftest import make_corpus, user_error
from tests.preparing import change_csv, lines_of_page, values_of

# Tables: each function changes the corpus; a str is the message, None: what is read is
# what the undamaged corpus gives, a function: what is to be looked at.

TABLES = {}


def table(name, expected=None):
    """Note a function as the case of this name."""

    def note(change):
        TABLES[name] = (change, expected)
        return change

    return note


def with_text(change):
    """A function that rewrites train.csv: `change` makes bytes of its text."""

    def rewrite(corpus):
        path = corpus / "splits" / "train.csv"
        path.write_bytes(change(path.read_bytes().decode()))

    return rewrite


def with_row(**cells):
    """A function that changes cells of the second row of train.csv."""
    return lambda corpus: change_csv(
        corpus, "train", lambda rows: rows[1].update(cells)
    )


def with_row_of_file(file, audio=""):
    """A function that names a file, and maybe a folder, in the second row."""

    def change(rows):
        rows = [{**row, "file": "", "audio": ""} for row in rows]
        rows[1].update(file=file, audio=audio)
        return rows

    return lambda corpus: change_csv(corpus, "train", change)


def with_uid(uid):
    """A function that gives the first recording of the test split another name."""

    def rename(corpus):
        (corpus / "audio" / "s11_0").rename(corpus / "audio" / uid)
        change_csv(corpus, "test", lambda rows: rows[0].update(uid=uid))

    return rename


def is_first(uid):
    """A check that the first recording of the test split has this name."""

    def check(found):
        assert found.failed == []
        assert found.manifests["test"]["ID"].iloc[0] == uid

    return check


def with_labels(*values):
    """A function that writes these for 0 and 1 of `low` in all CSVs."""

    def rewrite(corpus):
        for split in ("train", "val", "test"):
            change_csv(
                corpus,
                split,
                lambda rows: [{**r, "low": values[int(r["low"])]} for r in rows],
            )

    return rewrite


def without_s00(found):
    """Recordings of s00 are nowhere."""
    assert "s00" not in set(found.manifests["train"]["subject"])
    assert len(found.manifests["train"]) == 14


def is_not_rated(found):
    """The second row of train.csv has no rating of `low`."""
    assert (
        found.manifests["train"]["low"].isna().tolist() == [False, True] + [False] * 14
    )


def is_missing(found):
    """The file of the second row of train.csv."""
    (bad,) = found.failed
    assert bad["uid"] == "s00_1"
    assert bad["reason"].startswith("there is no file ")
    assert bad["reason"].endswith("/audio/ward/none.wav")


def is_doubted(found):
    """s00, who is female in the first row."""
    (doubt,) = found.contradictions
    assert doubt.subjects == ["s00"]
    assert f"{doubt.counted} (--check_only=True names them)" in found.notes


def is_noted(found):
    """There is a note on spellings."""
    assert sum("spelt" in note for note in found.notes) == 1
    assert "S00" not in set(found.manifests["train"]["subject"])


table("byte order mark")(with_text(lambda text: text.encode("utf-8-sig")))
table("UTF-16")(with_text(lambda text: text.encode("utf-16")))
table("Latin-1", "not UTF-8 text (line 3)")(
    with_text(lambda text: text.replace("s00_1", "é").encode("latin-1"))
)
table("NUL characters", "NUL characters (line 3)")(
    with_text(lambda text: text.replace("s00_1", "s\0").encode())
)
table("CRLF")(with_text(lambda text: text.replace("\n", "\r\n").encode()))
table("semicolons")(with_text(lambda text: text.replace(",", ";").encode()))
table("tabs")(with_text(lambda text: text.replace(",", "\t").encode()))
table("quoted newlines and semicolons")(
    with_text(
        lambda text: "".join(
            line + (",note\n" if i == 0 else ',"a\nb; ""c"", d"\n')
            for i, line in enumerate(text.splitlines())
        ).encode()
    )
)
table("quote never closed", "row 3: a quote that is opened there is never closed")(
    with_text(lambda text: text.replace("s00_1", '"s00_1').encode())
)
table("too few cells", "1 row of 5 cells, where the header has 6: train.csv row 3")(
    with_text(lambda text: re.sub("(s00_1,[^\r]*),[^\r]*", r"\1", text).encode())
)
table("too many cells", "1 row of 7 cells, where the header has 6: train.csv row 3")(
    with_text(lambda text: re.sub("(s00_1,[^\r]*)", r"\1,", text).encode())
)
table("first line sep=;")(
    with_text(lambda text: f"sep=;\n{text.replace(',', ';')}".encode())
)
table("blank rows")(
    with_text(
        lambda text: text.replace("\ns01", "\n\n,,,,,\ns01").encode() + b",,,,,\n"
    )
)
table("comma at the end of every line")(
    with_text(lambda text: text.replace("\r", "").replace("\n", ",\n").encode())
)
table("duplicate column", "1 column given twice: 'low'")(
    with_text(lambda text: text.replace("loud", "low", 1).encode())
)
table("duplicate row", "1 uid in several rows: 's00_0' (train.csv row 2, 3)")(
    with_row(uid="s00_0")
)
for uid in ("a b", "Łódź 語", "-rf", "007", "1e5", "NA"):
    names = {
        "a b": "with spaces",
        "Łódź 語": "in Unicode",
        "-rf": "with a leading dash",
    }
    table(f"uid {names.get(uid, uid)}", is_first(uid))(with_uid(uid))
NO_NAME = "in column 'uid' with no name of a folder:"
table("uid with a slash", f"{NO_NAME} '../s01_0' (train.csv row 3)")(
    with_row(uid="../s01_0")
)
table("uid ..", f"{NO_NAME} '..' (train.csv row 3)")(with_row(uid=".."))
table("uid of 300 characters", f"{NO_NAME} '{'a' * 60}…' (train.csv row 3)")(
    with_row(uid="a" * 300)
)
table("uid with a newline", rf"{NO_NAME} 'a\nb' (train.csv row 3)")(
    with_row(uid="a\nb")
)
table("empty uid", "1 empty cell in column 'uid': train.csv row 3")(with_row(uid=" "))
table("empty subject", "1 empty cell in column 'subject': train.csv row 3")(
    with_row(subject="")
)
table("labels 0.0 and 1.0")(with_labels("0.0", "1.0"))
table("labels yes and no")(with_labels("no", "yes"))
table("labels true and false")(with_labels("False", "TRUE"))
table("labels present and absent", "--label_values='{low: {absent: 0, present: 1}}'")(
    with_labels("absent", "present")
)
table("label 2", "--label_types='{low: {type: ordinal, range: [0, 2],")(
    with_row(low="2")
)
table("label 9", "--missing_values='[9]'")(with_row(low="9"))
table("label #NULL!", """--missing_values='["#NULL!"]'""")(with_row(low="#NULL!"))
table("blank label", is_not_rated)(with_row(low=" "))
table(
    "subject of test in training", "1 subject both in test.csv and in train.csv: 's11'"
)(with_row(subject="s11"))
table(
    "subject of test in training, spelt otherwise",
    "in test.csv that train.csv spells otherwise: 's11' as 'S011'",
)(with_row(subject="S011"))
table("one subject in two spellings", is_noted)(with_row(subject="S00"))
table("one subject with two sexes", is_doubted)(with_row(sex="m"))


@table(
    "times that are no numbers",
    "'start_s' with no number from 0 on: '1_0' (train.csv row 2",
)
def _(corpus):
    change_csv(
        corpus, "train", lambda rows: [{**row, "start_s": "1_0"} for row in rows]
    )


for name, cell in {
    "that leads out of data_folder": "../s00_1.wav",
    "with an absolute path": "/audio/s00_1.wav",
    "with backslashes": r"ward\s00_1.wav",
    "with a line feed": "a\nb.wav",
}.items():
    told = f"in column 'file' that are no path below data_folder: {cell!r} (train.csv"
    table(f"file {name}", told)(with_row_of_file(cell))
table("file and audio in one row", "leave one of the two empty")(
    with_row_of_file("s00_1.wav", "s00_1")
)


@table("file that is not there", is_missing)
def _(corpus):
    with_row_of_file("ward/none.wav")(corpus)


@table("excluded subject in another spelling", without_s00)
def _(corpus):
    (corpus / "excluded_subjects.txt").write_text("S00\n", "utf-16")


@table("labels.txt or a yaml in UTF-16")
def _(corpus):
    text = (corpus / "labels.txt").read_text()
    (corpus / "labels.txt").write_text(f"{text}\n\n", "utf-16")


@table("labels.txt with a comma at the end", "a name is empty")
def _(corpus):
    (corpus / "labels.txt").write_text("low,loud,\nnoisy\n")


@table("label named twice", "'low' is named twice")
def _(corpus):
    (corpus / "labels.txt").write_text("low,loud\nlow\n")


@table(
    "several subjects in a line of excluded_subjects.txt", "one subject per line, found"
)
def _(corpus):
    (corpus / "excluded_subjects.txt").write_text("s00;s01\n")


@table("split file is a pipe", "it is a pipe, not a file")
def _(corpus):
    (corpus / "splits" / "val.csv").unlink()
    os.mkfifo(corpus / "splits" / "val.csv")


def test_every_line_of_the_page_has_a_case():
    heading = "CSVs, labels.txt, excluded_subjects.txt"
    assert sorted(lines_of_page(heading)) == sorted(TABLES)


@pytest.fixture(scope="module")
def undamaged(shared_corpus):
    return prepare.prepare_training(values_of(shared_corpus))


@pytest.mark.parametrize("name", TABLES)
def test_a_table_is_read_or_reported(corpus, undamaged, name):
    change, expected = TABLES[name]
    change(corpus)
    if isinstance(expected, str):
        message = user_error(prepare.prepare_training, values_of(corpus))
        assert expected in message
        return
    found = prepare.prepare_training(values_of(corpus))
    if expected:
        expected(found)
        return
    for split, manifest in undamaged.manifests.items():
        own = found.manifests[split]
        assert own[manifest.columns].equals(manifest)


def test_problems_of_several_tables_are_one_message(corpus):
    """Also if one can't be read at all."""
    for split, name in [("train", "Latin-1"), ("val", "duplicate row")]:
        TABLES[name][0](corpus)
        if split != "train":
            break
        shutil.move(corpus / "splits/train.csv", corpus / "splits/val.csv")
        make_corpus(corpus.parent / "other")
        shutil.copy(corpus.parent / "other/splits/train.csv", corpus / "splits")
    message = user_error(prepare.prepare_training, values_of(corpus))
    assert f"{corpus / 'splits' / 'val.csv'} can't be read: it is not UTF-8" in message
    assert "1 uid in several rows: 's00_0' (train.csv row 2, 3)" in message
