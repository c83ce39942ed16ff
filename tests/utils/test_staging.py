"""utils.staging: several files replaced together."""

import json
import shutil

import pytest

from local.utils import staging
from local.utils.staging import finish, replaced_together

NAMES = ("a.csv", "figures/b.png", "c.html", "metrics.json")
OLD = {"a.csv": "old a", "c.html": "old c", "metrics.json": "old metrics"}
NEW = {"a.csv": "new a", "figures/b.png": "new b", "metrics.json": "new metrics"}


def write(folder, files):
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)


def contents(folder):
    return {
        str(path.relative_to(folder)): path.read_text()
        for path in folder.rglob("*")
        if path.is_file()
    }


def test_new_files_take_the_places_of_old_ones(tmp_path):
    write(tmp_path, OLD | {"precious.txt": "not ours"})
    with replaced_together(tmp_path, NAMES) as staged:
        write(staged, NEW)
        assert contents(tmp_path).items() >= OLD.items()
    assert contents(tmp_path) == NEW | {"precious.txt": "not ours"}
    assert not list(tmp_path.glob(".*"))


def test_of_a_pattern_what_is_not_written_is_removed(tmp_path):
    """But nothing beside or below it."""
    kept = {"tables/notes.txt": "x", "tables/below/c.csv": "x", "other/a.csv": "x"}
    write(tmp_path, kept | {"tables/a.csv": "old a", "tables/b.csv": "old b"})
    with replaced_together(tmp_path, ("tables/*.csv", "metrics.json")) as staged:
        write(staged, {"tables/b.csv": "new b", "tables/d.csv": "d"})
        write(staged, {"tables/notes.txt": "not listed"})
    assert contents(tmp_path) == kept | {"tables/b.csv": "new b", "tables/d.csv": "d"}


def test_a_list_of_moves_from_elsewhere_reaches_no_other_file(tmp_path):
    write(tmp_path, {"run/a.csv": "here", "precious.csv": "not ours"})
    moved = ["../precious.csv", "tables/../../precious.csv", "a.csv"]
    write(tmp_path / "run/.complete", {"moves.json": json.dumps({"move": moved})})
    finish(tmp_path / "run", ("tables/*.csv", "a.csv"))
    assert contents(tmp_path) == {"run/a.csv": "here", "precious.csv": "not ours"}


@pytest.mark.parametrize("error", [OSError, KeyboardInterrupt])
def test_a_block_that_fails_changes_nothing(tmp_path, error):
    write(tmp_path, OLD)
    with pytest.raises(error), replaced_together(tmp_path, NAMES) as staged:
        write(staged, {"a.csv": "half"})
        raise error
    assert contents(tmp_path) == OLD
    assert not list(tmp_path.glob(".*"))


class Killed(BaseException):
    """A kill: nothing is tidied up after it."""


@pytest.mark.parametrize("moment", range(12))
def test_a_kill_leaves_the_old_or_the_new(tmp_path, monkeypatch, moment):
    """At every change of a file's name, the next run finishes what was complete."""
    write(tmp_path, OLD)
    count = iter(range(100))

    def deadly(function):
        def call(*args, **kwargs):
            if next(count) == moment:
                monkeypatch.undo()
                monkeypatch.setattr(shutil, "rmtree", lambda *_, **__: None)
                raise Killed
            return function(*args, **kwargs)

        return call

    for name in ("rename", "replace", "unlink"):
        monkeypatch.setattr(staging.Path, name, deadly(getattr(staging.Path, name)))
    monkeypatch.setattr(shutil, "rmtree", deadly(shutil.rmtree))
    try:
        with replaced_together(tmp_path, NAMES) as staged:
            write(staged, NEW)
        is_killed = False
    except Killed:
        is_killed = True
    monkeypatch.undo()
    complete = (tmp_path / staging.COMPLETE).exists()
    found = {k: v for k, v in contents(tmp_path).items() if not k.startswith(".")}
    for name, text in found.items():
        assert text in (OLD.get(name), NEW.get(name))
    if found.get("metrics.json") in OLD.values():
        assert found == OLD
    finish(tmp_path, NAMES)
    shutil.rmtree(tmp_path / staging.BEGUN, ignore_errors=True)
    assert contents(tmp_path) == (NEW if complete or not is_killed else OLD)


def test_what_a_killed_run_had_begun_is_thrown_away(tmp_path):
    write(tmp_path, OLD)
    write(tmp_path / staging.BEGUN, {"a.csv": "half"})
    with replaced_together(tmp_path, NAMES) as staged:
        assert not list(staged.iterdir())
        write(staged, NEW)
    assert contents(tmp_path) == NEW


def test_what_was_complete_is_finished_first(tmp_path):
    write(tmp_path, OLD)
    write(tmp_path / staging.COMPLETE, NEW)
    moves = {"move": list(NEW)}
    write(tmp_path / staging.COMPLETE, {staging.MOVES: json.dumps(moves)})
    with pytest.raises(OSError, match="full"), replaced_together(tmp_path, NAMES):
        assert contents(tmp_path) == NEW
        raise OSError("full")
    assert contents(tmp_path) == NEW


def test_a_folder_from_elsewhere_moves_and_removes_nothing_else(tmp_path):
    folder, victim = tmp_path / "out", tmp_path / "victim.txt"
    write(folder / staging.COMPLETE, NEW | {"evil.sh": "x"})
    victim.write_text("precious")
    moves = {"move": [*NEW, "evil.sh", "../victim.txt"], "remove": [str(victim)]}
    write(folder / staging.COMPLETE, {staging.MOVES: json.dumps(moves)})
    finish(folder, NAMES)
    assert contents(folder) == NEW and victim.read_text() == "precious"
