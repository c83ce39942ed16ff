"""data.windows: long recordings in parts, and back."""

import numpy as np
import pandas as pd
import pytest

from local.data.windows import LongRecordings
from local.utils.errors import UserError


def manifest(**durations):
    rows = [
        {"ID": uid, "duration": s, "start_s": "", "end_s": "", "subject": uid.upper()}
        for uid, s in durations.items()
    ]
    return pd.DataFrame(rows)


def test_windows_cover_the_recording_and_overlap():
    """100 s in windows of 30 s that share 5 s: 1 + ⌈70 / 25⌉ = 4, 70/3 s apart."""
    windows = LongRecordings(30.0, 5.0).cut(manifest(a=100.0, b=30.0))
    assert windows.counts == {"a": 4}
    found = windows.manifest
    assert found["ID"].tolist()[-1] == "b" and len(found) == 5
    starts = found["start_s"][:4].astype(float)
    assert starts.tolist() == pytest.approx([0, 70 / 3, 140 / 3, 70])
    ends = found["end_s"][:3].astype(float)
    assert ends.tolist() == pytest.approx([30, 160 / 3, 230 / 3])
    assert found["end_s"][3] == ""  # the recording's own end
    assert found["subject"].tolist() == ["A"] * 4 + ["B"]
    assert set(found["duration"]) == {30.0}
    assert list(windows.owners.values()) == ["a"] * 4 + ["b"]
    assert found["ID"].is_unique


def test_windows_of_a_segment_lie_in_it():
    table = manifest(a=20.0).assign(start_s="7.5", end_s="27.5")
    found = LongRecordings(12.0, 0.0).cut(table).manifest
    assert found["start_s"].tolist() == [7.5, 15.5]
    assert found["end_s"].tolist() == [19.5, "27.5"]


@pytest.mark.parametrize("longest", [0, 100.0])
def test_short_recordings_stay_as_they_are(longest):
    table = manifest(a=100.0, b=3.0)
    windows = LongRecordings(longest, 5.0).cut(table)
    pd.testing.assert_frame_equal(windows.manifest, table)
    assert not windows.counts and windows.owners == {"a": "a", "b": "b"}


def test_pooling():
    mean, largest = (
        LongRecordings(4.0, 1.0, pooling).cut(manifest(a=10.0, b=3.0))
        for pooling in ("mean", "max")
    )
    ids = mean.manifest["ID"].tolist()
    assert len(ids) == 4
    values = np.array([[1.0, 9.0], [2.0, 0.0], [6.0, 3.0], [7.0, 7.0]])
    found = mean.pool(ids, values)
    assert {uid: of.tolist() for uid, of in found.items()} == {
        "a": [3.0, 4.0],
        "b": [7.0, 7.0],
    }
    found = largest.pool(ids[::-1], values[::-1])
    assert {uid: of.tolist() for uid, of in found.items()} == {
        "b": [7.0, 7.0],
        "a": [6.0, 9.0],
    }


@pytest.mark.parametrize(
    ("longest", "overlap", "wrong"),
    [(0.5, 0, "max_duration"), (10, 10, "overlap"), (10, -1, "overlap")],
)
def test_windows_that_can_not_be(longest, overlap, wrong):
    with pytest.raises(UserError, match=wrong):
        LongRecordings(longest, overlap)
    LongRecordings(0, overlap)


def test_a_pooling_that_is_none():
    with pytest.raises(UserError, match="window_pooling must be mean or max"):
        LongRecordings(10, 1, "median")


def test_it_is_made_of_the_keys_of_a_yaml():
    keys = {"max_duration": 9, "window_overlap": 2, "window_pooling": "max"}
    assert LongRecordings.of(keys | {"seed": 1}) == LongRecordings(9, 2, "max")
