"""Who was recorded, and what was left out: counted by hand."""

import numpy as np
import pandas as pd
import pytest

from local.data import labels
from local.report import cohort
from local.utils import errors
from tests.audio_files import cut_file, inspect, make_recording, sine

TYPES = labels.parse_label_types(
    {
        "severity": {"type": "score", "range": [0, 100]},
        "strained": {"type": "ordinal", "range": [0, 4], "positive_from": 2},
    },
    ["slow", "severity", "strained"],
)


def manifest(**columns):
    """Five recordings of three subjects: two of ann, two of bob, one of cy."""
    table = {
        "ID": ["r1", "r2", "r3", "r4", "r5"],
        "subject": ["ann", "ann", "bob", "bob", "cy"],
        "duration": [2.0, 4.0, 6.0, 8.0, 16.0],
        "slow": [1.0, 0.0, 0.0, 0.0, np.nan],
        "severity": [10.0, np.nan, 30.0, 80.0, np.nan],
        "strained": [1.0, 1.0, 1.0, np.nan, 0.0],
    }
    return pd.DataFrame(table | columns)


def cells(table, heading=None):
    """{name of a row: its cells as text}, of the rows below a heading or the first."""
    found, here = {}, heading is None
    for row in table.rows:
        if not row.cells:
            here = row.name == heading
        elif here:
            found[row.name] = [
                f"{cell.text} {cell.detail}".strip() for cell in row.cells
            ]
    return found


def table_of(frame, names=("slow", "severity", "strained")):
    return cohort.table_one({"test": frame}, list(names), TYPES)


def test_subjects_recordings_and_durations():
    assert cells(table_of(manifest())) == {
        "subjects": ["3"],
        "recordings": ["5"],
        "recordings per subject, median (range)": ["2 (1–2)"],
        "seconds per recording, median (range)": ["6 (2–16)"],
        "hours in all": ["0.01"],  # 36 s
    }


def test_labels_that_are_0_or_1_and_scores():
    table = table_of(manifest())
    assert cells(table, "slow") == {
        "rated recordings": ["4"],
        "positive recordings": ["1 (25 %)"],
        "subjects with a positive recording": ["1 (of 2 rated)"],
    }
    assert cells(table, "strained")["positive recordings"] == ["3 (75 %)"]
    assert cells(table, "severity") == {
        "rated recordings": ["3"],
        "rating, median (range)": ["30 (10–80)"],
    }


def test_what_is_not_known_is_a_dash_with_the_reason():
    frame = manifest(slow=np.nan, severity=np.nan).drop(columns="duration")
    table = table_of(frame)
    assert cells(table)["hours in all"] == ["–"]
    assert cells(table, "slow")["positive recordings"] == ["–"]
    assert cells(table, "severity")["rating, median (range)"] == ["–"]
    assert set(table.notes) == {cohort.NO_DURATIONS, cohort.NO_RATING}


def test_sex_counts_subjects_not_recordings():
    frame = manifest(sex=["f", "f", "m", "m", "f"])
    found = cells(table_of(frame), "sex")
    assert found == {"f": ["2"], "m": ["1"], "not given": ["0"]}


def test_subjects_whose_recordings_disagree_are_counted_and_explained():
    frame = manifest(sex=["f", "m", "m", "", "NA"])
    table = table_of(frame)
    assert cells(table, "sex") == {
        "f": ["0"],
        "m": ["1"],  # bob, whose other cell is empty
        "several values": ["1"],
        "not given": ["1"],
    }
    assert list(table.notes) == [cohort.NOT_THE_SAME]


def test_sex_in_codes_is_no_measurement():
    frame = manifest(sex=["2", "2", "1", "1", "10"])
    assert list(cells(table_of(frame), "sex")) == ["1", "2", "10", "not given"]


def test_age_is_of_subjects():
    # ann is 40 and 42, so 41; bob 60; cy 81: not the median of five recordings, 60.
    # Quartiles are 50.5 and 70.5: nobody gave half a year, so none is shown.
    frame = manifest(age=["40", "42", "60", "", "81"])
    assert cells(table_of(frame), "age") == {
        "median (quartiles)": ["60 (51–71)"],
        "lowest and highest": ["41–81"],
        "several values": ["1"],
        "not given": ["0"],
    }


def test_ages_that_are_given_in_parts_of_a_year_keep_them():
    found = cells(table_of(manifest(age=["2.5", "2.5", "4", "", "6.25"])), "age")
    assert found["median (quartiles)"] == ["4 (3.25–5.12)"]
    assert found["lowest and highest"] == ["2.5–6.25"]


def test_age_in_bands_is_counted():
    frame = manifest(age=["40-49", "40-49", "", "", "80-89"])
    found = cells(table_of(frame), "age")
    assert found == {"40-49": ["1"], "80-89": ["1"], "not given": ["1"]}


def test_devices_count_recordings_and_subjects():
    frame = manifest(device=["phone", "laptop", "phone", "phone", ""])
    assert cells(table_of(frame), "device") == {
        "laptop": ["1 (1 subject)"],
        "phone": ["3 (2 subjects)"],
        "not given": ["1 (1 subject)"],
    }


def test_many_values_are_only_counted():
    many = pd.concat([manifest()] * 3, ignore_index=True)
    many["site"] = [f"ward {i}" for i in range(14)] + [""]
    assert cells(table_of(many), "site") == {"different values": ["14"]}


def test_visits_are_counted_and_not_named():
    frame = manifest(session=["2024-05-01", "2024-06-01", "2024-05-03", "", ""])
    table = table_of(frame)
    # ann came twice, bob once, and of cy nothing is known
    assert cells(table)["visits per subject, median (range)"] == ["1.5 (1–2)"]
    assert "2024" not in str(cells(table))


def test_columns_that_are_empty_or_not_there_have_no_rows():
    table = table_of(manifest(session="", sex="", device=""))
    names = [row.name for row in table.rows]
    assert not {"sex", "age", "device"} & set(names)
    assert not any(name.startswith("visits") for name in names)


def test_each_split_has_its_column():
    train = manifest(sex=["f", "f", "f", "f", "x"])
    table = cohort.table_one({"train": train, "test": manifest()}, ["slow"], TYPES)
    assert table.columns == ["", "train", "test"]
    assert cells(table, "sex") == {
        "f": ["2", "0"],
        "x": ["1", "0"],
        "not given": ["0", "3"],
    }


def test_nobody_is_named_in_the_table():
    frame = manifest(sex=["f", "m", "m", "", ""], age=["40", "42", "60", "", "81"])
    table = table_of(frame)
    text = f"{[row.name for row in table.rows]} {cells(table)} {table.notes}"
    assert not any(name in text for name in [*frame["ID"], *frame["subject"]])


FAILED = [
    {"uid": "r6", "kind": errors.SILENT, "subject": "ann"},
    {"uid": "r7", "kind": errors.SILENT, "subject": "dan"},
    {"uid": "r8", "kind": errors.ABSENT, "subject": "dan"},
    {"uid": "t2", "split": "train"},
]


def flow(failed=FAILED, **options):
    train = manifest().iloc[:1].assign(ID="t1")
    return cohort.inclusion_flow(
        {"train": train, "test": manifest()},
        failed,
        ["slow", "severity"],
        "test",
        **options,
    )


def test_recordings_and_subjects_from_listed_to_rated():
    """Of t2 it is not known whose it is; ann and dan are counted once."""
    assert cells(flow()) == {
        "listed": ["2", "8 (4 subjects)"],
        "left out: silent": ["0", "2 (2 subjects)"],
        "left out: not there": ["0", "1 (1 subject)"],
        "left out: another reason": ["1", "0"],
        "used": ["1 (1 subject)", "5 (3 subjects)"],
        # r5, all that there is of cy, has strained only
        "of them rated for one label or more": ["1 (1 subject)", "4 (2 subjects)"],
        "of them not rated": ["0", "1 (1 subject)"],
    }


def test_without_recordings_there_is_nothing_to_count():
    assert cohort.inclusion_flow({}, [], ["slow"], "test").rows == []


def test_what_was_left_out_of_another_split_may_be_unknown():
    found = flow(unknown={"train"})
    assert cells(found)["listed"] == ["–", "8 (4 subjects)"]
    assert cells(found)["left out: silent"] == ["–", "2 (2 subjects)"]
    assert cells(found)["used"] == ["1 (1 subject)", "5 (3 subjects)"]
    assert list(found.notes) == [cohort.NOT_KNOWN]


def test_a_recording_is_used_or_left_out_never_both():
    failed = [{"uid": "r5", "kind": errors.SILENT}]
    found = cells(flow(failed=failed))
    assert found["listed"] == ["1 (1 subject)", "5 (3 subjects)"]
    assert not any("left out" in name for name in found)


def test_no_reason_names_a_recording():
    reason = "there is no folder /data/r8"
    text = str(cells(flow([entry | {"reason": reason} for entry in FAILED])))
    assert "r8" not in text and "/data" not in text


def kind(call, *args, **kwargs):
    """What the reason why a recording can't be used is called."""
    with pytest.raises(errors.BadRecording) as raised:
        call(*args, **kwargs)
    return raised.value.kind


def test_reasons_that_inspection_gives_have_a_kind(tmp_path):
    silent, short, broken, empty = (tmp_path / name for name in "abcd")
    make_recording(silent, np.zeros((16000, 1)))
    make_recording(short, sine(0.01))
    make_recording(broken, np.full((16000, 1), np.nan), subtype="FLOAT")
    make_recording(empty)
    (empty / "waveform.wav").unlink()
    make_recording(tmp_path / "e")
    (tmp_path / "e" / "waveform.wav").write_bytes(b"no audio at all")
    make_recording(tmp_path / "f")
    cut_file(tmp_path / "f" / "waveform.wav")
    make_recording(tmp_path / "g")
    failed = [
        {"uid": folder.name, "kind": kind(inspect, folder)}
        for folder in [*map(tmp_path.joinpath, "abcdef"), tmp_path / "missing"]
    ]
    failed.append(
        {"uid": "g", "kind": kind(inspect, tmp_path / "g", start_s=0.5, end_s=9)}
    )
    found = cells(flow(failed=failed))
    assert {name: counts[1] for name, counts in found.items() if ": " in name} == {
        "left out: silent": "1",
        "left out: too short": "1",
        "left out: truncated or damaged": "2",
        "left out: a file is not there": "1",
        "left out: no audio that can be read": "1",
        "left out: not there": "1",
        "left out: the segment is not in the recording": "1",
    }
