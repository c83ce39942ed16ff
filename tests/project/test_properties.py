"""What readers of users' text do with any text: what went in, or an error of ours."""

import contextlib
import csv
import io
import json
import math

import pytest
from hypothesis import HealthCheck, assume, example, given, settings
from hypothesis import strategies as st

from local.audio import loading
from local.data import labels, manifests, splits
from local.data.label_cells import CellCodes, targets_from_table
from local.storage import addresses
from local.storage.gcs.addresses import Address, check_name
from local.utils import cli
from local.utils.errors import BadRecording, UserError
from local.utils.problems import lines
from local.utils.text_io import read_cells

FAST = settings(
    max_examples=100,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)

# Tables

#: Any text in one spelling: a table's cells are stripped, and hold no NUL.
CELL = st.text(st.characters(exclude_characters="\0", codec="utf-8")).map(str.strip)


@st.composite
def tables(draw):
    """A header with `uid`, and rows of as many cells, none blank."""
    header = ["uid", *draw(st.lists(CELL, max_size=3))]
    row = st.lists(CELL, min_size=len(header), max_size=len(header)).filter(any)
    return [header, *draw(st.lists(row, max_size=4))]


@FAST
@given(
    table=tables(),
    delimiter=st.sampled_from(",;\t"),
    # Python's writer quotes only those line ends in cells that are its own
    form=st.sampled_from(
        [
            ("\r\n", csv.QUOTE_MINIMAL),
            *((line_end, csv.QUOTE_ALL) for line_end in ("\r\n", "\n", "\r")),
        ]
    ),
    encoding=st.sampled_from(["utf-8", "utf-8-sig", "utf-16"]),
)
def test_a_table_is_read_as_it_was_written(tmp_path, table, delimiter, form, encoding):
    stream = io.StringIO()
    writer = csv.writer(
        stream, delimiter=delimiter, lineterminator=form[0], quoting=form[1]
    )
    writer.writerows(table)
    (tmp_path / "t.csv").write_bytes(stream.getvalue().encode(encoding))
    # a cell of the header may itself read as another header with a column uid
    assume(not any("uid" in cell for cell in table[0][1:]))
    assume(len(table[0]) > 1 or delimiter == ",")  # nothing else tells of it
    assert read_cells(tmp_path / "t.csv", "uid") == table


TABLE_BYTES = st.one_of(
    st.binary(max_size=60),
    st.text("uid,;\t\"\r\n\0 sbject1é'", max_size=60).map(str.encode),
    st.text(max_size=30).map(lambda text: f"uid,subject\n{text}".encode("utf-16")),
    st.text('a1,"\r\n./\\ ', max_size=40).map(
        lambda text: f"uid,subject,start_s,end_s,channel\n{text}".encode()
    ),
)


@FAST
@given(content=TABLE_BYTES)
def test_any_bytes_are_a_split_or_an_error_of_ours(tmp_path, content):
    (tmp_path / "train.csv").write_bytes(content)
    try:
        table, problems = splits.read_split(tmp_path / "train.csv")
    except UserError:
        return
    assert problems or (len(table) and table["uid"].is_unique)


@FAST
@given(content=st.one_of(st.binary(max_size=40), st.text(max_size=40).map(str.encode)))
def test_any_bytes_are_labels_or_an_error_of_ours(tmp_path, content):
    (tmp_path / "labels.txt").write_bytes(content)
    try:
        names = labels.flatten(labels.read_label_groups(tmp_path / "labels.txt"))
    except UserError:
        return
    assert names and all(name == name.strip() != "" for name in names)
    assert len(set(names)) == len(names)


NUMBER_LIKE = st.one_of(
    st.floats().map(str),
    st.integers().map(str),
    st.text("0123456789.eE+-_ infa", max_size=8),
    st.text(max_size=4),
)


@FAST
@given(start=NUMBER_LIKE, end=NUMBER_LIKE, channel=NUMBER_LIKE)
def test_a_segment_that_is_accepted_is_one(tmp_path, start, end, channel):
    header = ["uid", "subject", "start_s", "end_s", "channel"]
    with (tmp_path / "train.csv").open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([header, ["a", "s", start, end, channel]])
    try:
        table, problems = splits.read_split(tmp_path / "train.csv")
    except UserError:
        return
    if problems:
        return
    part = manifests.segment(table.iloc[0])
    assert part["start_s"] is None or 0 <= part["start_s"] < math.inf
    assert part["end_s"] is None or (part["start_s"] or 0) < part["end_s"] < math.inf
    assert part["channel"] is None or part["channel"] >= 0


# Labels


def expected_target(cell):
    """A binary label's target by the contract; "wrong" if it is none."""
    cell = cell.strip()
    if cell in ("", "NA", "N/A", "nan", "."):
        return None
    words = {"yes": 1, "y": 1, "true": 1, "t": 1, "no": 0, "n": 0, "false": 0, "f": 0}
    if cell.lower() in words:
        return words[cell.lower()]
    if cell.isascii():
        # -0, 1.0, 10e-1, …: a number is digits with a point, an exponent, a sign
        try:
            value = json.loads(cell.lstrip("+"))
        except ValueError:
            return "unclear" if any(c.isdigit() for c in cell) else "wrong"
        if type(value) in (int, float):
            return float(value) if value in (0, 1) else "wrong"
    return "wrong"


@FAST
@given(
    cell=st.one_of(
        NUMBER_LIKE,
        st.sampled_from(["0", "1", "0.0", "1.0", "yes", "no", "true", "False", "NA"]),
        st.sampled_from(
            ["", " ", ".", "nan", "NaN", "1e0", "10e-1", "１", "1_0", "inf"]
        ),
    )
)
def test_a_label_is_0_or_1_or_not_rated_or_told(cell):
    table = splits.pd.DataFrame({"low": [cell]}, dtype=str)
    types = labels.parse_label_types(None, ["low"])
    found, problems = targets_from_table(table, types, None, CellCodes(), "t")
    expected = expected_target(cell)
    target = found["low"][0]
    if expected == "unclear":  # such as "1." or ".5": a number all the same, or none
        assert problems or target in (0, 1)
    elif expected == "wrong":
        (problem,) = lines(problems)
        assert problem.startswith("1 cell in column 'low' with something else than 0")
    else:
        assert problems == []
        assert math.isnan(target) if expected is None else target == expected


YAML_VALUE = st.recursive(
    st.one_of(
        st.none(),
        st.booleans(),
        st.integers(-5, 5),
        st.floats(),
        st.sampled_from(["binary", "ordinal", "score", "x"]),
    ),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(
            st.sampled_from(["type", "range", "positive_from", "a", 3]), inner
        ),
    ),
    max_leaves=6,
)


@FAST
@given(entry=YAML_VALUE, loss=st.sampled_from(["bce", "mse"]))
def test_label_types_are_types_or_an_error_of_ours(entry, loss):
    try:
        kind = labels.parse_label_types({"a": entry}, ["a"], loss)["a"]
    except UserError:
        return
    low, high = kind.range
    assert low < high
    for value in (low, high):
        if math.isfinite(value):
            assert math.isfinite(kind.target(value))
    with pytest.raises(ValueError):
        kind.target(math.nan)


# metadata.json

JSON = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text()),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(
            st.one_of(st.sampled_from(["encoding", "sample_rate_hz"]), st.text()),
            inner,
            max_size=3,
        ),
    ),
    max_leaves=8,
)


@FAST
@given(value=JSON)
def test_any_json_is_metadata_or_a_bad_recording(tmp_path, value):
    path = tmp_path / "metadata.json"
    path.write_text(json.dumps(value), encoding="utf-8")
    is_metadata = (
        isinstance(value, dict)
        and isinstance(value.get("encoding"), str)
        and value["encoding"].strip() != ""
    )
    if not is_metadata:
        with pytest.raises(BadRecording):
            loading.read_metadata({"metadata.json": path})
        return
    found = loading.read_metadata({"metadata.json": path})
    assert json.dumps(found) == json.dumps(value)
    with pytest.raises(BadRecording, match="is missing"):
        loading.find_waveform({"metadata.json": path}, found)


@FAST
@given(content=st.binary(max_size=50))
def test_any_bytes_are_metadata_or_a_bad_recording(tmp_path, content):
    path = tmp_path / "metadata.json"
    path.write_bytes(content)
    with contextlib.suppress(BadRecording):
        assert isinstance(loading.read_metadata({"metadata.json": path}), dict)


# Addresses

PART = st.text("ab1._- é", min_size=1, max_size=6).filter(
    lambda part: part not in (".", "..")
)
PARTS = st.lists(PART, max_size=4)
BUCKET = st.from_regex("[a-z0-9][a-z0-9._-]{1,20}[a-z0-9]", fullmatch=True)


@FAST
@given(bucket=BUCKET, parts=PARTS, name=PART, slashes=st.integers(0, 3))
def test_laws_of_addresses_in_buckets(bucket, parts, name, slashes):
    folder = "/".join([f"gs://{bucket}", *parts])
    assert addresses.absolute(folder + "/" * slashes, "key") == folder
    inside = addresses.joined(folder, name)
    assert inside == f"{folder}/{name}"
    assert addresses.joined(folder + "/", name) == inside
    assert addresses.parent(inside) == folder
    assert addresses.last_name(inside) == name
    assert Address.parse(inside).name == "/".join([*parts, name])


@FAST
@given(parts=st.lists(PART, min_size=1, max_size=4), name=PART)
def test_laws_of_addresses_on_disk(parts, name):
    folder = "/" + "/".join(parts)
    assert addresses.absolute(folder + "/", "key") == folder
    inside = addresses.joined(folder, name)
    assert addresses.parent(inside) == folder
    assert addresses.last_name(inside) == name


@FAST
@given(text=st.one_of(st.text(), st.text().map("gs://".__add__)))
@example(text="~nobody_of_this_name")
def test_any_text_is_an_address_or_an_error_of_ours(text):
    try:
        found = addresses.absolute(text, "key")
    except UserError:
        return
    assert addresses.absolute(found, "key") == found


@FAST
@given(name=st.text(st.characters(), max_size=20))
def test_a_name_that_is_trusted_leads_nowhere_else(name):
    try:
        check_name(name)
    except UserError:
        return
    assert not name.startswith("/")
    assert not {"", ".", ".."} & set(name.split("/"))
    assert "\\" not in name and "\0" not in name


# The command line


@pytest.fixture(scope="module")
def hparams_file(tmp_path_factory):
    path = tmp_path_factory.mktemp("hparams") / "train.yaml"
    path.write_text("corpus_folder: null\nseed: 1\nlabel_types: null\n")
    return str(path)


TEXT = st.text(st.characters(exclude_categories=["Cs"]), min_size=1)


@FAST
@given(value=TEXT.filter(lambda text: text != "null"), equals=st.booleans())
def test_a_folders_name_comes_through_whole(hparams_file, value, equals):
    assume(equals or not value.startswith("--"))
    given_as = [f"--corpus_folder={value}"] if equals else ["--corpus_folder", value]
    found = cli.parse_arguments([hparams_file, *given_as]).overrides
    assert found == {"corpus_folder": value}


PLAIN = st.one_of(
    st.integers(), st.booleans(), st.floats(allow_nan=False, allow_infinity=False)
)


@FAST
@given(value=st.one_of(PLAIN, st.lists(PLAIN), st.dictionaries(st.text("ab"), PLAIN)))
def test_values_come_through_whole(hparams_file, value):
    found = cli.parse_arguments([hparams_file, f"--seed={json.dumps(value)}"])
    assert found.overrides == {"seed": value}


@FAST
@given(arguments=st.lists(st.one_of(TEXT, TEXT.map("--".__add__)), max_size=3))
def test_any_command_line_is_read_or_an_error_of_ours(hparams_file, arguments):
    with contextlib.suppress(UserError):
        cli.parse_arguments([hparams_file, *arguments])


@FAST
@given(text=TEXT)
def test_any_value_is_read_or_an_error_of_ours(hparams_file, text):
    try:
        found = cli.parse_arguments([hparams_file, f"--label_types={text}"])
    except UserError:
        return
    assert list(found.overrides) == ["label_types"]
