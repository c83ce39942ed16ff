"""compare.py: systems on the same recordings, from files to a table."""

import json

import pytest
from conftest import user_error, write_csv
from running import failed, run_script

import compare

pytest_plugins = ["gcs_server"]

SUBJECTS = [f"p{i:02d}" for i in range(12)]
TARGETS = [0, 1] * 6
#: Right but for one: the negative p00 is above the positives p01 and p03.
ONE_WRONG = [0.5, 0.4, 0.1, 0.45, 0.1, 0.9, 0.1, 0.9, 0.1, 0.9, 0.1, 0.9]
ALL_RIGHT = [0.1, 0.9] * 6


def predictions(path, probabilities, split="test", **changes):
    """A predictions.csv of one label; returns the folder it is in."""
    rows = [
        {
            "uid": f"u{subject}",
            "subject": subject,
            "label": "low",
            "target": target,
            "logit": 0,
            "probability": probability,
            "split": split,
        }
        | changes
        for subject, target, probability in zip(
            SUBJECTS, TARGETS, probabilities, strict=True
        )
    ]
    write_csv(path / "predictions.csv", rows)
    return path


@pytest.fixture
def pair(tmp_path):
    """Two experiments' folders; AUROC 34/36 and 1 by hand."""
    first = predictions(tmp_path / "narrow" / "1986", ONE_WRONG)
    return first, predictions(tmp_path / "wide" / "1986", ALL_RIGHT)


def compared(tmp_path, *arguments):
    file = tmp_path / "comparison.json"
    assert not compare.main([*map(str, arguments), f"--output_file={file}"])
    return json.loads(file.read_text())


def refusal(*arguments):
    return user_error(compare.main, [*map(str, arguments)])


def test_difference_by_hand(pair, tmp_path, capsys):
    result = compared(tmp_path, *pair)
    of_label = result["labels"]["low"]
    names = ["narrow/1986", "wide/1986"]
    assert result["systems"] == names
    assert of_label["auroc"] == pytest.approx({names[0]: 34 / 36, names[1]: 1})
    difference = of_label["differences"][" - ".join(names)]
    assert difference["value"] == pytest.approx(-2 / 36)
    # 6 subjects of each class: 5 degrees of freedom, and an interval
    assert difference["low"] < -2 / 36 < difference["high"]
    printed = capsys.readouterr().out
    row = next(line for line in printed.splitlines() if line.startswith("| low"))
    assert "0.944" in row and "1.000" in row and "-0.056" in printed
    assert "does not compare methods" in printed
    assert result["predictions"] == {
        name: str(folder / "predictions.csv")
        for name, folder in zip(names, pair, strict=True)
    }


def difference(result):
    """The one difference of a comparison of two."""
    (found,) = result["labels"]["low"]["differences"].values()
    return found


def test_the_other_order_gives_the_negative(pair, tmp_path):
    one = difference(compared(tmp_path, *pair))
    other = difference(compared(tmp_path, *reversed(pair)))
    for name, mirrored in (("value", "value"), ("low", "high"), ("high", "low")):
        assert one[name] == pytest.approx(-other[mirrored])
    assert one["p"] == pytest.approx(other["p"])


def test_three_systems_are_three_pairs(pair, tmp_path, capsys):
    third = predictions(tmp_path / "third" / "1986", ALL_RIGHT[::-1])
    result = compared(tmp_path, *pair, third)
    names = ["narrow/1986", "wide/1986", "third/1986"]
    assert result["systems"] == names
    found = result["labels"]["low"]["differences"]
    pairs = [(0, 1), (0, 2), (1, 2)]
    assert list(found) == [f"{names[a]} - {names[b]}" for a, b in pairs]
    assert [of["value"] for of in found.values()] == pytest.approx(
        [-2 / 36, 34 / 36, 1]
    )
    assert "wide/1986 - third/1986" in capsys.readouterr().out


def test_a_folder_and_a_file(pair, tmp_path):
    result = compared(
        tmp_path, pair[0], (pair[1] / "predictions.csv").rename(tmp_path / "other.csv")
    )
    assert result["systems"] == ["1986", "other.csv"]


def test_the_same_twice_is_refused(pair):
    again = pair[0] / ".." / "1986"
    assert "different experiments" in refusal(pair[0], again)
    file = pair[0] / "predictions.csv"
    assert str(file) in refusal(pair[0], pair[1], file)


def test_splits(pair, tmp_path):
    both = tmp_path / "both"
    predictions(both, ALL_RIGHT)
    lines = (both / "predictions.csv").read_text().splitlines()
    other = [line.replace("test", "valid").replace("up", "vp") for line in lines[1:]]
    (both / "predictions.csv").write_text("\n".join([*lines, *other]))
    assert compared(tmp_path, pair[0], both)["n_recordings"] == 12  # test, of two
    message = refusal(pair[0], both, "--split=valid")
    assert "has no predictions of the split 'valid'" in message and "test" in message
    folds = predictions(tmp_path / "folds", ALL_RIGHT, split="repeat 1, fold 1")
    assert compared(tmp_path, pair[0], folds)["n_recordings"] == 12  # the only one


def test_folds_are_not_pooled(pair, tmp_path):
    folder = predictions(tmp_path / "cv", ALL_RIGHT, split="repeat 1, fold 1")
    file = folder / "predictions.csv"
    lines = file.read_text().splitlines()
    lines[-1] = lines[-1].replace("fold 1", "fold 2")
    file.write_text("\n".join(lines))
    message = refusal(pair[0], folder)
    assert "the same folds" in message and "1986: no folds" in message
    assert "cv: 2 folds of 12 recordings" in message
    # of two with the same folds each is compared within
    other = predictions(tmp_path / "cv2", ONE_WRONG, split="repeat 1, fold 1")
    lines = (other / "predictions.csv").read_text().splitlines()
    lines[-1] = lines[-1].replace("fold 1", "fold 2")
    (other / "predictions.csv").write_text("\n".join(lines))
    result = compared(tmp_path, folder, other)
    assert result["n_recordings"] == 12
    # p11 is alone in fold 2; in fold 1 one pair of 30 is wrong, and one more
    assert difference(result)["value"] == pytest.approx(2 / 30)
    lines[-2] = lines[-2].replace("fold 1", "fold 2")
    (other / "predictions.csv").write_text("\n".join(lines))
    assert "the same folds" in refusal(folder, other)


def test_other_recordings_are_refused(pair, tmp_path):
    other = predictions(tmp_path / "other", ALL_RIGHT, label="loud")
    message = refusal(pair[0], other)
    assert "no label in common" in message
    assert "1986: low" in message and "other: loud" in message


def test_in_a_bucket(gcs, pair, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # for ./audio_cache
    gcs.put("hospital", tmp_path / "wide", "results/wide")
    address = "gs://hospital/results/wide/1986"
    expected = difference(compared(tmp_path, *pair))
    for place in (address, f"{address}/predictions.csv"):
        assert difference(compared(tmp_path, pair[0], place)) == expected


def test_nothing_else_is_overwritten(pair, tmp_path):
    for name, content in (("metrics.json", '{"labels": {}}'), ("notes.json", "hi")):
        (tmp_path / name).write_text(content)
        message = refusal(*pair, f"--output_file={tmp_path / name}")
        assert "something else than a comparison" in message
        assert (tmp_path / name).read_text() == content
    assert ".json" in refusal(*pair, f"--output_file={tmp_path / 'table.csv'}")
    assert "local path" in refusal(*pair, "--output_file=gs://clinic/a.json")
    compared(tmp_path, *pair)
    compared(tmp_path, *reversed(pair))  # its own it may


def test_no_experiment(pair, tmp_path):
    message = refusal(pair[0], tmp_path / "absent")
    assert f"There is no {tmp_path / 'absent'}" in message
    assert "predictions.csv: expected a folder" in refusal(pair[0], tmp_path)
    assert "found one: a." in refusal("a")


@pytest.mark.parametrize(
    "arguments",
    [[], ["a", "b", "--seed=1"], ["a", "b", "--out=c"]],
)
def test_wrong_arguments_end_with_2(arguments):
    with pytest.raises(SystemExit) as caught:
        compare.main(arguments)
    assert caught.value.code == 2


def test_the_script_tells_what_is_wrong(pair):
    result = run_script("compare.py", pair[0], pair[0])
    assert "Expected different experiments" in failed(result)
