"""local.splits: what a split's CSV may hold, overlaps, and the validation draw."""

import numpy as np
import pandas as pd
import pytest

from local import splits
from local.errors import UserError


@pytest.fixture
def read(tmp_path):
    """Reads a split given as text: (table, problems)."""

    def read_text(text, **kwargs):
        (tmp_path / "train.csv").write_bytes(text.encode())
        return splits.read_split(tmp_path / "train.csv", **kwargs)

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
            ["train.csv has no column 'subject'; its columns: uid, sex"],
        ),
        ("name\na\n", ["no column 'uid'", "no column 'subject'"]),
        ("uid,subject\n", ["train.csv holds no recordings"]),
        ("uid,subject\na,s1\nb,s2\na,s3\n", ["uid 'a' stands in rows 2, 4"]),
        ("uid,subject\na,s1\nb,\nc, \n", ["'subject' is empty in row 3, 4"]),
        ("uid,subject\n,s1\n", ["'uid' is empty in row 2"]),
        ("uid,subject\na/b,s1\n", ["uid 'a/b' is no name of a folder"]),
        ("uid,subject\na\\b,s1\n", [r"uid 'a\\b' is no name of a folder"]),
        ("uid,subject\n..,s1\n", ["uid '..' is no name of a folder"]),
        ("uid,subject\na\x1bb,s1\n", [r"uid 'a\x1bb' is no name of a folder"]),
        ("uid,subject,audio\na,s1,../b\n", ["audio '../b' is no name of a folder"]),
        ("uid,subject,low,low\na,s1,1,0\n", ["has the column 'low' twice"]),
        ("uid, uid,subject\na,b,s1\n", ["has the column 'uid' twice"]),
        (
            "uid,subject,low\na,s1\nb,s2,1\nc\n",
            [
                "expected 3 cells in a row, as the header has, found 2 in row 2",
                "found 1 in row 4",
                "'subject' is empty in row 4",
            ],
        ),
        ("uid,subject\ne\u0301,s1\né,s2\n", ["uid 'é' stands in rows 2, 3"]),
        (f"uid,subject\n{'a' * 256},s1\n", ["is no name of a folder"]),
        ("uid,subject\na\u2028b,s1\n", [r"uid 'a\u2028b' is no name of a folder"]),
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
    assert problems == [
        "train.csv: expected 3 cells in a row, as the header has, found 4 in row 2"
    ]


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
        ("-1", "", "", "start_s is no number from 0 on in row 2"),
        ("soon", "", "", "start_s is no number from 0 on in row 2"),
        ("nan", "", "", "start_s is no number from 0 on in row 2"),
        ("", "-1", "", "end_s is no number from 0 on in row 2"),
        ("2", "1", "", "end_s is not after start_s in row 2"),
        ("1", "1", "", "end_s is not after start_s in row 2"),
        ("", "0", "", "end_s is not after start_s in row 2"),
        ("", "", "left", "channel is no whole number from 0 on in row 2"),
        ("", "", "0.5", "channel is no whole number from 0 on in row 2"),
        ("", "", "inf", "channel is no whole number from 0 on in row 2"),
    ],
)
def test_segments_that_are_none(read, start_s, end_s, channel, expected):
    _, problems = read(
        f"uid,subject,start_s,end_s,channel\na,s1,{start_s},{end_s},{channel}\n"
    )
    assert any(expected in problem for problem in problems), problems


# Overlaps


def split_table(**columns):
    return pd.DataFrame(columns, dtype=str)


def test_subjects_of_the_test_split_are_nowhere_else():
    tables = {
        "train": split_table(uid=list("abc"), subject=["s1", "s1", "s2"]),
        "valid": split_table(uid=["d"], subject=["s3"]),
        "test": split_table(uid=list("ef"), subject=["s1", "s3"]),
    }
    assert splits.overlaps(tables, ["subject"]) == [
        "subject 's1' is in test.csv and in train.csv",
        "subject 's3' is in test.csv and in valid.csv",
    ]
    tables["test"]["subject"] = ["s4", "s5"]
    assert splits.overlaps(tables, ["subject"]) == []


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
        "train": split_table(uid=["a", "b"], subject=[other, "else"]),
        "test": split_table(uid=["c"], subject=[of_test]),
    }
    assert splits.overlaps(tables, ["subject"]) == [
        f"subject {of_test!r} is in test.csv and {other!r} in train.csv: spell one "
        "alike, or tell two better apart"
    ]


@pytest.mark.parametrize(
    "pair", [("p1", "p10"), ("p01", "p010"), ("a1", "a1b"), ("70", "7.0"), ("é", "e")]
)
def test_names_that_are_different(pair):
    assert splits.spellings(pair) == []


def test_other_columns_may_be_kept_apart_as_well():
    tables = {
        "train": split_table(uid=["a"], subject=["s1"], site=["north"], age=[""]),
        "test": split_table(uid=["b"], subject=["s2"], site=["north"], age=[""]),
    }
    assert splits.overlaps(tables, ["subject", "site"]) == [
        "site 'north' is in test.csv and in train.csv"
    ]
    assert splits.overlaps(tables, ["age"]) == []  # empty is not a value
    assert splits.overlaps(tables, ["clinic"]) == [
        "disjoint_by names 'clinic', which is no column of test.csv and train.csv"
    ]


def test_a_uid_stands_in_one_split():
    tables = {
        "train": split_table(uid=["a"], subject=["s1"]),
        "valid": split_table(uid=["a"], subject=["s1"]),
        "test": split_table(uid=["b"], subject=["s2"]),
    }
    assert splits.overlaps(tables, ["subject"]) == [
        "uid 'a' is in train.csv and in valid.csv"
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
