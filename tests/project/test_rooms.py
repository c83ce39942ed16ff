"""The rooms of local/: who imports whom, and what their doors say."""

import ast

import pytest
from running import ROOT

#: Each imports from itself and from those before it.
ROOMS = (
    *("utils", "storage", "audio", "data", "model", "augment", "training"),
    *("metrics", "evaluation", "report", "inference", "withdrawal"),
)


def test_these_are_all():
    entries = {path.name for path in (ROOT / "local").iterdir()}
    assert entries - {"__init__.py", "__pycache__"} == set(ROOMS)


@pytest.mark.parametrize("room", ROOMS)
def test_imports_go_one_way(room):
    allowed = ROOMS[: ROOMS.index(room) + 1]
    wrong = [
        f"{path}: {node.module}"
        for path in (ROOT / "local" / room).rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.ImportFrom)
        and (node.module or "").startswith("local.")
        and node.module.split(".")[1] not in allowed
    ]
    assert not wrong


def test_scripts_modules_and_functions_fit_on_a_screen_or_a_few():
    too_long = [
        path.name
        for path in ROOT.glob("*.py")
        if len(path.read_text(encoding="utf-8").splitlines()) > 60
    ]
    for path in (ROOT / "local").rglob("*.py"):
        text = path.read_text(encoding="utf-8")
        if len(text.splitlines()) > 400:
            too_long.append(str(path))
        too_long += [
            f"{path}: {node.name}"
            for node in ast.walk(ast.parse(text))
            if isinstance(node, ast.FunctionDef) and node.end_lineno - node.lineno >= 60
        ]
    assert not too_long


@pytest.mark.parametrize("room", ROOMS)
def test_a_room_lists_its_modules(room):
    folder = ROOT / "local" / room
    door = ast.get_docstring(ast.parse((folder / "__init__.py").read_text("utf-8")))
    listed = door.partition("Modules: ")[2].replace("\n", " ").rstrip(".").split(", ")
    there = [path.stem for path in folder.glob("*.py") if path.stem != "__init__"]
    there += [path.parent.name for path in folder.glob("*/__init__.py")]
    assert listed == [f"`{name}`" for name in sorted(there)]
    assert len(door.splitlines()[0]) < 88
