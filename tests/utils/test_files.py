"""Writing files: the old content or the new one, never a half."""

import json
import multiprocessing

import pytest

from local.utils import files
from local.utils.files import atomic_write, folder_beside, write_json


def test_writes_text_as_it_is(tmp_path):
    path = tmp_path / "new" / "note.txt"
    with atomic_write(path) as stream:
        stream.write("ä\r\nb\n")
    assert path.read_bytes() == "ä\r\nb\n".encode()
    assert list(path.parent.iterdir()) == [path]


def test_writes_bytes(tmp_path):
    with atomic_write(tmp_path / "data", "wb") as stream:
        stream.write(b"\x00\xff")
    assert (tmp_path / "data").read_bytes() == b"\x00\xff"


def test_old_file_is_there_until_the_new_one_is_complete(tmp_path):
    path = tmp_path / "note.txt"
    path.write_text("old")
    with atomic_write(path) as stream:
        stream.write("new")
        stream.flush()
        assert path.read_text() == "old"
    assert path.read_text() == "new"


@pytest.mark.parametrize("error", [OSError, KeyboardInterrupt])
def test_failure_leaves_the_old_file_and_nothing_else(tmp_path, error):
    path = tmp_path / "note.txt"
    path.write_text("old")
    with pytest.raises(error), atomic_write(path) as stream:
        stream.write("half")
        raise error
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_link_at_the_temporary_name_is_not_followed(tmp_path, monkeypatch):
    victim = tmp_path / "victim.txt"
    victim.write_text("untouched")
    monkeypatch.setattr("local.utils.files.secrets.token_hex", lambda _: "guessed")
    (tmp_path / ".guessed.tmp").symlink_to(victim)
    with pytest.raises(FileExistsError), atomic_write(tmp_path / "note.txt") as stream:
        stream.write("new")
    assert victim.read_text() == "untouched"
    assert not (tmp_path / "note.txt").exists()


def test_permissions_are_those_of_any_new_file(tmp_path):
    (tmp_path / "plain").write_text("")
    with atomic_write(tmp_path / "atomic"):
        pass
    modes = {(tmp_path / name).stat().st_mode for name in ("plain", "atomic")}
    assert len(modes) == 1


def test_appending_is_refused(tmp_path):
    with pytest.raises(ValueError, match="mode"), atomic_write(tmp_path / "a", "a"):
        pass


def fill_for_ever(folder, connection):
    with folder_beside(folder) as partial:
        (partial / "half").touch()
        connection.send("begun")
        connection.recv()


def test_only_living_processes_have_unfinished_folders(tmp_path):
    ours, theirs = multiprocessing.Pipe()
    context = multiprocessing.get_context("fork")
    process = context.Process(target=fill_for_ever, args=(tmp_path / "out", theirs))
    process.start()
    assert ours.recv() == "begun"
    (left,) = tmp_path.iterdir()
    (tmp_path / ".out.mine").mkdir()
    (tmp_path / ".out.link.unfinished").symlink_to(tmp_path / ".out.mine")
    others = {".out.mine", ".out.link.unfinished"}
    with folder_beside(tmp_path / "out"):
        assert (left / "out" / "half").exists()
    process.kill()
    process.join()
    assert (left / "out" / "half").exists()
    with folder_beside(tmp_path / "out") as partial:
        assert not left.exists()
        partial.rename(tmp_path / "out")
    assert {path.name for path in tmp_path.iterdir()} == {"out", *others}


def test_json_keeps_the_order_of_keys(tmp_path):
    write_json(tmp_path / "data.json", {"b": 1, "a": [None, "ä"]})
    text = (tmp_path / "data.json").read_text(encoding="utf-8")
    assert text == '{\n  "b": 1,\n  "a": [\n    null,\n    "ä"\n  ]\n}\n'


def test_json_refuses_nan_and_keeps_the_old_file(tmp_path):
    path = tmp_path / "data.json"
    write_json(path, {"value": 1.5})
    with pytest.raises(ValueError, match="JSON"):
        write_json(path, {"value": float("nan")})
    assert json.loads(path.read_text()) == {"value": 1.5}


@pytest.mark.parametrize(
    "content", [b"[" * 100_000, b"{", b"\xff", b" " * (files.MAX_JSON_BYTES + 1)]
)
def test_json_that_is_none_is_a_value_error(tmp_path, content):
    (tmp_path / "a.json").write_bytes(content)
    with pytest.raises(ValueError):
        files.read_json(tmp_path / "a.json")
