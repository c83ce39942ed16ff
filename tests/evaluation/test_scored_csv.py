"""Results of one CSV don't take the place of those of another one of its name."""

import hashlib
import json
import shutil
import types

import pytest
from conftest import write_csv

from local.evaluation.experiment_split import _output_folder
from local.evaluation.scored_csv import (
    describe,
    folder_of,
    others_in,
    refuse_others,
)
from local.storage.experiment_files import SCORED_CSV
from local.storage.inputs import Storage
from local.utils.errors import UserError

pytest_plugins = ["gcs_server"]


def made(path):
    """A CSV; its address and what is recorded of it."""
    write_csv(path, [{"uid": "r1", "subject": path.parent.name}])
    return str(path), describe(str(path), path)


def put_results(folder, csv):
    folder.mkdir(parents=True, exist_ok=True)
    (folder / SCORED_CSV).write_text(json.dumps(csv))
    (folder / "metrics.json").write_text("{}")


@pytest.fixture
def storage(tmp_path):
    return Storage.of({"audio_cache": str(tmp_path / "cache")})


def test_the_second_of_a_name_has_its_folder_too(tmp_path, storage):
    home, found = tmp_path / "evaluation", {}
    for place in ("a", "b", "c/b", "b/b"):
        address, csv = made(tmp_path / place / "spa.csv")
        found[place] = folder_of(home, address, csv, storage)
        put_results(found[place], csv)
    assert [folder.name for folder in found.values()] == [
        *("spa", "b_spa", "c_b_spa", "b_b_spa")
    ]
    for place, folder in found.items():  # again, each takes the place of its own
        address, csv = made(tmp_path / place / "spa.csv")
        assert folder_of(home, address, csv, storage) == folder
    changed = tmp_path / "a" / "spa.csv"
    changed.write_text("uid,subject\nr2,p2\n")
    csv = describe(str(changed), changed)
    assert folder_of(home, str(changed), csv, storage) == found["a"]


def test_the_record_names_no_place(tmp_path):
    address, csv = made(tmp_path / "anna smith" / "spa.csv")
    content = (tmp_path / "anna smith" / "spa.csv").read_bytes()
    assert csv["name"] == "spa.csv"
    assert csv["sha256"] == hashlib.sha256(content).hexdigest()
    assert "anna" not in json.dumps(csv)
    again = tmp_path / "anna smith" / ".." / "anna smith" / "spa.csv"
    assert describe(str(again), again) == csv
    assert describe(f"gs:/{address}", again) != csv


def test_results_of_which_nothing_is_known_are_anothers(tmp_path, storage):
    _, csv = made(tmp_path / "spa.csv")
    assert others_in(tmp_path / "nowhere", csv, storage) is None
    for name in ("metrics.json", "predictions.csv", ".complete/metrics.json"):
        folder = tmp_path / name.replace("/", "_")
        (folder / name).parent.mkdir(parents=True)
        (folder / name).write_text("{")
        assert others_in(folder, csv, storage) == "one that is not known"
    put_results(tmp_path / "killed" / ".complete", csv)
    (tmp_path / "killed" / "predictions.csv").write_text("")
    assert others_in(tmp_path / "killed", csv, storage) is None


def test_a_folder_that_is_named_is_refused(tmp_path, storage):
    _, first = made(tmp_path / "a" / "spa.csv")
    _, second = made(tmp_path / "b" / "val.csv")
    put_results(tmp_path / "out", first)
    refuse_others(tmp_path / "out", first, storage, "output_folder")
    with pytest.raises(UserError, match=r"another CSV \(spa.csv\).* of val.csv"):
        refuse_others(tmp_path / "out", second, storage, "output_folder")


def test_in_a_bucket(gcs, tmp_path, storage):
    _, first = made(tmp_path / "a" / "spa.csv")
    _, second = made(tmp_path / "b" / "spa.csv")
    put_results(tmp_path / "out", first)
    gcs.put("hospital", tmp_path / "out", "results")
    assert others_in("gs://hospital/results", first, storage) is None
    assert others_in("gs://hospital/results", second, storage) == "spa.csv"
    assert others_in("gs://hospital/elsewhere", second, storage) is None


def opened(place, debug=False):
    """As far as an experiment is asked where results go."""
    return types.SimpleNamespace(
        folder=place,
        address=str(place),
        output_folder=place,
        brain=types.SimpleNamespace(debug=debug),
    )


def test_an_experiments_own_split_moves_with_it(tmp_path):
    own = tmp_path / "e" / "save" / "manifests" / "test.csv"
    made(own)
    options = {"output_folder": None, "audio_cache": str(tmp_path / "cache")}
    folder, csv = _output_folder(opened(tmp_path / "e"), options, None, own)
    assert folder == tmp_path / "e" / "evaluation" / "test"
    put_results(folder, csv)
    address, _ = made(tmp_path / "other" / "test.csv")
    other, _ = _output_folder(opened(tmp_path / "e"), options, address, None)
    assert other == tmp_path / "e" / "evaluation" / "other_test"
    debug, _ = _output_folder(opened(tmp_path / "e", True), options, address, None)
    assert debug == tmp_path / "e" / "evaluation" / "test" / "debug"
    moved = shutil.move(tmp_path / "e", tmp_path / "moved")
    folder, _ = _output_folder(
        opened(moved), options, None, moved / "save/manifests/test.csv"
    )
    assert folder == moved / "evaluation" / "test"
    # named, the split of another experiment is another CSV
    named = options | {"output_folder": str(moved / "evaluation" / "test")}
    with pytest.raises(UserError, match="another CSV"):
        _output_folder(opened(tmp_path / "x"), named, address, None)
