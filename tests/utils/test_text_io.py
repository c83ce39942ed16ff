"""utils.text_io: what editors and spreadsheet programs save, and what is none."""

import os

import pytest

from local.utils import text_io
from local.utils.errors import UserError
from local.utils.text_io import read_cells, read_rows, read_text

ROWS = [["uid", "subject", "note"], ["r1", "s1", "é, ü"], ["r2", "s2", "a\nb; c"]]
TEXT = 'uid,subject,note\nr1,s1,"é, ü"\nr2,s2,"a\nb; c"\n'


@pytest.fixture
def file(tmp_path):
    """Writes train.csv, gives its path."""

    def write(content):
        path = tmp_path / "train.csv"
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    return write


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_encodings(file, encoding):
    path = file(TEXT.encode(encoding))
    assert read_text(path) == TEXT
    assert read_cells(path, "uid") == ROWS


@pytest.mark.parametrize("mark", [b"\xff\xfe", b"\xfe\xff"])
def test_both_byte_orders_of_utf_16(file, mark):
    order = "le" if mark == b"\xff\xfe" else "be"
    assert read_text(file(mark + TEXT.encode(f"utf-16-{order}"))) == TEXT


@pytest.mark.parametrize(
    "text",
    [
        'uid;subject;note\r\nr1;s1;é, ü\r\nr2;s2;"a\nb; c"\r\n',
        'uid\tsubject\tnote\nr1\ts1\té, ü\nr2\ts2\t"a\nb; c"\n',
        '"uid";"subject";"note"\n"r1";"s1";"é, ü"\n"r2";"s2";"a\nb; c"',
        '\n\nuid , subject,note\n,,\nr1,s1 ,"é, ü"\n\n r2,s2,"a\nb; c"\n,,\n',
    ],
    ids=["semicolons", "tabs", "quoted semicolons", "blank rows and spaces"],
)
def test_forms_of_a_table(file, text):
    assert read_cells(file(text), "uid") == ROWS


def test_a_column_of_the_name_decides_not_how_many_there_are(file):
    text = "uid;a,b;c,d;e,f\nr1;1,5;2,5;3,5\n"
    assert read_cells(file(text), "uid")[1] == ["r1", "1,5", "2,5", "3,5"]
    assert read_cells(file("name;x\na;b\n"), "uid") == [["name;x"], ["a;b"]]


@pytest.mark.parametrize(
    "first", ["sep=;\n", "SEP=;\r\n", '"sep=;"\n', "\ufeffsep=;\n", "sep=; \n"]
)
def test_a_first_line_may_tell_the_delimiter(file, first):
    """Excel hides it and doesn't count it; rows that are blank count."""
    path = file(f"{first}uid;a,b,c\n\nr1;1,5\n")
    assert read_rows(path, "uid") == [(1, ["uid", "a,b,c"]), (3, ["r1", "1,5"])]
    assert read_cells(file("sep=|\nuid|x\nr1|2\n"), "uid") == [
        ["uid", "x"],
        ["r1", "2"],
    ]
    assert read_cells(file("sep=x\nuid\n"), "uid") == [["sep=x"], ["uid"]]


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"", "it is empty"),
        (b"\n , ,\n", "it is empty"),
        (b'uid,subject\nr1,s1\nr2,"s2\nr3,s3\n', "row 3: a quote that is opened there"),
        (b'uid,subject\nr1,"s1"2\n', "row 2: ',' expected after '\"'"),
        (b"uid,subject\nr1,s\0\n", r"NUL characters \(line 2\)"),
        ("uid,subject\nr1,s1\n".encode("utf-16-le"), r"NUL characters \(line 1\)"),
        ("uid,subject\nr1,s1\n".encode("utf-32"), "NUL characters|not UTF-8"),
        ("uid,subject\n\nr1,é\n".encode("latin-1"), r"not UTF-8 text \(line 3\)"),
        (b"\xff\xfeu", "not UTF-8 text"),
        (b"uid\n" + b"a" * 200_000, "row 2: field larger than field limit"),
    ],
)
def test_files_that_are_no_table(file, content, expected):
    with pytest.raises(UserError, match=expected):
        read_cells(file(content), "uid")


def test_what_is_no_file_is_never_opened(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "folder").mkdir()
    for name, kind in [("pipe", "a pipe"), ("folder", "a folder")]:
        with pytest.raises(UserError, match=f"it is {kind}, not a file"):
            read_text(tmp_path / name)
    with pytest.raises(FileNotFoundError):
        read_text(tmp_path / "nothing")


def test_the_size_is_bounded(file, monkeypatch):
    monkeypatch.setattr(text_io, "MAX_BYTES", len(TEXT.encode()))
    assert read_text(file(TEXT)) == TEXT
    with pytest.raises(UserError, match="MB, and more than"):
        read_text(file(TEXT + "x"))
