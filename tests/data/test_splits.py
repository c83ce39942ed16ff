"""data.splits: what a split's CSV may hold, overlaps, and the validation draw."""

import numpy as np
import pandas as pd
import pytest

from local.data import splits
from local.utils.errors import UserError
from local.utils.problems import lines
from local.utils.spelling import alike

NO_NAME = "with no name of a folder"


@pytest.fixture
def read(tmp_path):
    """Reads a split given as text: (table, problems)."""

    def read_text(text, **kwargs):
        (tmp_path / "train.csv").write_bytes(text.encode())
        table, problems = splits.read_split(tmp_path / "train.csv", **kwargs)
        return table, lines(problems)

    return read_text


# Reading


def test_uids_stay_the_text_that_they_are(read):
    uids = ["007", "1e5", "NA", "null", "1.0", "True"]
    table, problems = read("uid,subject\n" + "".join(f"{u},{u}\n" for u in uids))
    assert problems == []
    assert table["uid"].tolist() == uids
    assert table["subject"].tolist() == uids


@pytest.mark.parametrize(
    "text",
    [
        "\ufeffuid,subject,low\na,s1,1\n",
        "uid,subject,low\r\na,s1,1\r\n",
        "uid , subject, low\n a,s1 , 1\n",
        'uid,subject,low\n"a","s1","1"',
        "uid,subject,low,\na,s1,1,\n",
    ],
    ids=["byte order mark", "CRLF", "spaces", "quotes", "comma at the end"],
)
def test_forms_of_a_csv(read, text):
    table, problems = read(text)
    assert problems == []
    first = table.iloc[0].to_dict()
    assert (first["uid"], first["subject"], first["low"]) == ("a", "s1", "1")
    assert "" not in table.columns


def test_optional_columns_are_added(read):
    table, _ = read("uid,subject,audio\na,s1,shared\nb,s2,\n")
    assert table["audio"].tolist() == ["shared", "b"]
    for column in ("start_s", "end_s", "channel", "session"):
        assert table[column].tolist() == ["", ""]


def test_extraction_needs_no_subject(read):
    table, problems = read("uid\na\n", required=("uid",))
    assert problems == []
    assert table["subject"].tolist() == [""]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            "uid,sex\na,f\n",
            [
                "1 needed column missing: 'subject' (train.csv); the columns are uid, "
                "sex"
            ],
        ),
        (
            "name\na\n",
            ["2 needed columns missing: 'uid' (train.csv), 'subject' (train.csv)"],
        ),
        ("uid,subject\n", ["train.csv holds no recordings"]),
        (
            "uid,subject\na,s1\nb,s2\na,s3\n",
            ["1 uid in several rows: 'a' (train.csv row 2, 4)"],
        ),
        (
            "uid,subject\na,s1\nb,\n\nc, \n",
            ["2 empty cells in column 'subject': train.csv row 3, 5"],
        ),
        ("uid,subject\n,s1\n", ["1 empty cell in column 'uid': train.csv row 2"]),
        ("uid,subject\na/b,s1\n", [f"'uid' {NO_NAME}: 'a/b' (train.csv row 2)"]),
        ("uid,subject\na\\b,s1\n", [rf"'uid' {NO_NAME}: 'a\\b' (train.csv row 2)"]),
        (
            "uid,subject\n..,s1\na/b,s2\n",
            [f"2 cells in column 'uid' {NO_NAME}: '..' (train.csv row 2), 'a/b' ("],
        ),
        ("uid,subject\na\x1bb,s1\n", [rf"'uid' {NO_NAME}: 'a\x1bb' (train.csv"]),
        ("uid,subject,audio\na,s1,../b\n", [f"'audio' {NO_NAME}: '../b' (train.csv"]),
        ("uid,subject,low,low\na,s1,1,0\n", ["1 column given twice: 'low' (train.csv"]),
        ("uid, uid,subject\na,b,s1\n", ["1 column given twice: 'uid' (train.csv"]),
        (
            "uid,subject,low\na,s1\nb,s2,1\nc\n",
            [
                "1 row of 2 cells, where the header has 3: train.csv row 2",
                "1 row of 1 cells, where the header has 3: train.csv row 4",
                "1 empty cell in column 'subject': train.csv row 4",
            ],
        ),
        (
            "uid,subject\ne\u0301,s1\né,s2\n",
            ["uid in several rows: 'é' (train.csv row 2, 3)"],
        ),
        (f"uid,subject\n{'a' * 256},s1\n", [NO_NAME]),
        ("uid,subject\na\u2028b,s1\n", [rf"{NO_NAME}: 'a\u2028b'"]),
    ],
)
def test_problems_of_a_csv(read, text, expected):
    _, problems = read(text)
    assert len(problems) >= len(expected)
    for part in expected:
        assert any(part in problem for problem in problems), problems


@pytest.mark.parametrize("row", ["a,s1,1,", "a,s1,1,0"])
def test_more_cells_than_columns_never_shift_the_columns(read, row):
    _, problems = read(f"uid,subject,low\n{row}\n")
    assert problems == ["1 row of 4 cells, where the header has 3: train.csv row 2"]


def test_files_that_are_no_csv(tmp_path):
    with pytest.raises(UserError, match="no split file"):
        splits.read_split(tmp_path / "train.csv")
    for content in (b"", b"uid,subject\n\xe9,s1\n"):
        (tmp_path / "train.csv").write_bytes(content)
        with pytest.raises(UserError, match="can't be read"):
            splits.read_split(tmp_path / "train.csv")


# Segments


def test_segments_may_be_given(read):
    _, problems = read(
        "uid,subject,start_s,end_s,channel\n"
        "a,s1,,,\nb,s1,0,1.5,0\nc,s1,1e0,,1\nd,s1,,2,1.0\n"
    )
    assert problems == []


@pytest.mark.parametrize(
    ("start_s", "end_s", "channel", "expected"),
    [
        ("-1", "", "", "start_s with no number from 0 on"),
        ("soon", "", "", "start_s with no number from 0 on"),
        ("nan", "", "", "start_s with no number from 0 on"),
        ("", "-1", "", "end_s with no number from 0 on"),
        ("2", "1", "", "end_s that is not after start_s"),
        ("1", "1", "", "end_s that is not after start_s"),
        ("", "0", "", "end_s that is not after start_s"),
        ("", "", "left", "channel with no whole number from 0 on"),
        ("", "", "0.5", "channel with no whole number from 0 on"),
        ("", "", "inf", "channel with no whole number from 0 on"),
    ],
)
def test_segments_that_are_none(read, start_s, end_s, channel, expected):
    _, problems = read(
        f"uid,subject,start_s,end_s,channel\na,s1,{start_s},{end_s},{channel}\n"
    )
    (problem,) = problems
    column, kind = expected.split(" ", 1)
    assert problem.startswith(f"1 cell in column {column!r} {kind}: ")


# Overlaps


def overlaps(tables, columns):
    return lines(splits.overlaps(tables, columns))


def split_table(**columns):
    return pd.DataFrame(columns, dtype=str)


def test_subjects_of_the_test_split_are_nowhere_else():
    tables = {
        "train.csv": split_table(uid=list("abc"), subject=["s1", "s1", "s2"]),
        "val.csv": split_table(uid=["d"], subject=["s3"]),
        "test.csv": split_table(uid=list("ef"), subject=["s1", "s3"]),
    }
    assert overlaps(tables, ["subject"]) == [
        "1 subject both in test.csv and in train.csv: 's1'",
        "1 subject both in test.csv and in val.csv: 's3'",
    ]
    tables["test.csv"]["subject"] = ["s4", "s5"]
    assert overlaps(tables, ["subject"]) == []


@pytest.mark.parametrize(
    ("of_test", "other"),
    [
        ("S01", "s01"),
        ("José", "Jose\u0301"),
        ("s01", "s01\u200b"),
        ("anna b", "Anna  B"),
        ("007", "7"),  # a spreadsheet took it for a number
        ("7.0", "007"),  # pandas for one that may be missing
        ("p1", "p01"),
    ],
)
def test_another_spelling_keeps_nobody_apart(of_test, other):
    tables = {
        "train.csv": split_table(uid=["a", "b"], subject=[other, "else"]),
        "test.csv": split_table(uid=["c"], subject=[of_test]),
    }
    assert overlaps(tables, ["subject"]) == [
        f"1 subject in test.csv that train.csv spells otherwise: {of_test!r} as "
        f"{other!r}; spell one alike, or tell two better apart"
    ]


@pytest.mark.parametrize(
    "pair", [("p1", "p10"), ("p01", "p010"), ("a1", "a1b"), ("70", "7.0"), ("é", "e")]
)
def test_names_that_are_different(pair):
    assert alike(pair[0]) != alike(pair[1])


def test_subjects_are_spelt_as_they_were_first(read):
    tables = [
        split_table(subject=["s01", "S1", "s2"]),
        split_table(subject=["s3", "s 01", "S2"]),
        split_table(subject=["", "s03"]),
    ]
    (note,) = splits.unify_subjects(tables)
    assert [table["subject"].tolist() for table in tables] == [
        ["s01", "s01", "s2"],
        ["s3", "s01", "s2"],
        ["", "s3"],
    ]
    assert note.startswith("3 subjects spelt in several ways") and "s0" not in note
    assert splits.unify_subjects(tables) == []


def test_other_columns_may_be_kept_apart_as_well():
    tables = {
        "train.csv": split_table(uid=["a"], subject=["s1"], site=["north"], age=[""]),
        "test.csv": split_table(uid=["b"], subject=["s2"], site=["north"], age=[""]),
    }
    assert overlaps(tables, ["subject", "site"]) == [
        "1 site both in test.csv and in train.csv: 'north'"
    ]
    assert overlaps(tables, ["age"]) == []  # empty is not a value
    assert overlaps(tables, ["clinic"]) == [
        "disjoint_by names 'clinic', which is no column of test.csv and train.csv"
    ]


def test_a_uid_stands_in_one_split():
    tables = {
        "train.csv": split_table(uid=["a"], subject=["s1"]),
        "val.csv": split_table(uid=["a"], subject=["s1"]),
        "test.csv": split_table(uid=["b"], subject=["s2"]),
    }
    assert lines(splits.shared_uids(tables)) == [
        "1 uid in several files: 'a' (train.csv, val.csv); keep each recording in one "
        "of them"
    ]


# Drawing validation subjects


def drawn(n_subjects, val_size=50, seed=1, values=None):
    subjects = pd.Series([f"s{i:03d}" for i in range(n_subjects)])
    values = np.arange(n_subjects) % 2 if values is None else values
    targets = pd.DataFrame({"low": np.asarray(values, dtype=float)})
    return splits.draw_validation(subjects, targets, val_size, seed)


@pytest.mark.parametrize(
    ("n_subjects", "val_size", "expected"),
    [(2, 50, 1), (7, 50, 1), (8, 50, 2), (40, 50, 10), (40, 3, 3), (240, 50, 50)],
)
def test_size_of_the_draw(n_subjects, val_size, expected):
    found = drawn(n_subjects, val_size)
    assert len(found) == len(set(found)) == expected


def test_the_draw_repeats_with_its_seed():
    assert drawn(40, seed=1) == drawn(40, seed=1)
    assert len({tuple(drawn(40, seed=seed)) for seed in range(5)}) > 1


def test_the_draw_does_not_depend_on_the_order_of_the_rows():
    subjects = pd.Series([f"s{i:03d}" for i in range(20)])
    targets = pd.DataFrame({"low": np.arange(20) % 2.0})
    backwards = splits.draw_validation(
        subjects[::-1].reset_index(drop=True),
        targets[::-1].reset_index(drop=True),
        val_size=50,
        seed=1,
    )
    assert backwards == drawn(20)


def test_the_draw_is_balanced_where_a_random_one_seldom_is():
    """Two rare labels: 4 of 40 subjects each. Balanced is 1 of 10; a random draw of
    10 has that for both with probability (0.4443)² (hypergeometric) or so."""
    n, rare = 40, np.arange(4)
    targets = pd.DataFrame(np.zeros((n, 2)), columns=["a", "b"])
    targets.loc[rare, "a"] = 1
    targets.loc[rare + 10, "b"] = 1
    subjects = pd.Series([f"s{i:02d}" for i in range(n)])
    generator = np.random.default_rng(0)
    balanced = 0
    for seed in range(10):
        chosen = splits.draw_validation(subjects, targets, val_size=50, seed=seed)
        inside = subjects.isin(chosen)
        assert targets[inside].sum().tolist() == [1, 1]
        at_random = generator.choice(n, 10, replace=False)
        balanced += targets.loc[at_random].sum().tolist() == [1, 1]
    assert balanced < 6


def test_unrated_recordings_do_not_count_in_the_balance():
    """Of 4 rated subjects, 2 are positive: both parts need one of each."""
    values = np.full(16, np.nan)
    values[:4] = [1, 1, 0, 0]
    found = drawn(16, values=values)
    inside = [values[int(name[1:])] for name in found]
    assert np.nansum(inside) == 1
    assert np.count_nonzero(~np.isnan(inside)) == 2


def test_scores_are_balanced_by_their_mean():
    """Scaled scores 0, 1/39, …, 1: of 10 of 40 the mean is within 0.01 of the rest's
    in the best of 1000 draws, while random ones differ by 0.1 (0.3 / sqrt(7.5))."""
    values = np.arange(40) / 39
    for seed in range(5):
        inside = np.zeros(40, dtype=bool)
        inside[[int(name[1:]) for name in drawn(40, seed=seed, values=values)]] = True
        assert abs(values[inside].mean() - values[~inside].mean()) < 0.01


def test_scores_at_the_end_of_their_range_do_not_all_stay_in_training():
    """Of 12 subjects one alone is above 0 and below 1: nothing is lost by a draw of
    three without it, unless these are all at one end."""
    values = np.array([0.0] * 6 + [0.5] + [1.0] * 5)
    for seed in range(5):
        inside = {values[int(name[1:])] for name in drawn(12, seed=seed, values=values)}
        assert len(inside) > 1


@pytest.mark.parametrize(("n_subjects", "val_size"), [(0, 50), (1, 50), (8, 0)])
def test_draws_that_are_not_possible(n_subjects, val_size):
    with pytest.raises(UserError, match=r"val\.csv|val_size"):
        drawn(n_subjects, val_size)
