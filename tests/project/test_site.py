"""mkdocs.yml builds the documentation site, strictly: links and anchors are there."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from local.utils.cli import top_level_keys
from local.utils.keys import KEYS

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    folder = tmp_path_factory.mktemp("site")
    build = [sys.executable, "-m", "mkdocs", "build", "-d", folder]
    result = subprocess.run(
        build, cwd=ROOT, capture_output=True, text=True, timeout=300
    )
    assert result.returncode == 0, result.stderr
    return folder


def text_of(page):
    return re.sub(r"<[^>]+>", " ", page.read_text("utf-8"))


def test_each_page_and_recipe_is_in_it(site):
    pages = [path.relative_to(ROOT / "docs") for path in ROOT.glob("docs/*.md")]
    pages += [path.relative_to(ROOT) for path in ROOT.glob("recipes/*/README.md")]
    index = (site / "index.html").read_text("utf-8")
    for page in pages:
        built = page.with_name("index.html") if page.stem == "README" else page
        built = built.with_suffix(".html").as_posix()
        assert (site / built).is_file()
        assert f'href="{built}"' in index, f"{page} is not in nav of mkdocs.yml"


def test_the_reference_has_each_key_with_its_comment(site):
    text = text_of(site / "reference" / "keys.html")
    yamls = ROOT.glob("hparams/*.yaml")
    keys = {key for file in yamls for key in top_level_keys(file)} & KEYS.keys()
    objects = {"save_folder", "train_log", "output_file"}  # follow from others
    assert len(keys) > 100
    assert not [key for key in keys - objects if not re.search(rf"\b{key}\b", text)]
    assert (
        "subjects drawn for validation if there is no val.csv, at most a quarter"
        in (" ".join(text.split()))
    )


def test_the_reference_has_each_public_method(site):
    text = text_of(site / "reference" / "classifier.html")
    assert "classify_file" in text and "_decisions" not in text


def test_a_link_that_leads_nowhere_is_an_error(tmp_path):
    for name in ("docs", "recipes", "hparams"):
        shutil.copytree(ROOT / name, tmp_path / name)
    for name in ("mkdocs.yml", "README.md", "RELIABILITY.md", "CHANGELOG.md"):
        shutil.copy(ROOT / name, tmp_path)
    (tmp_path / "local" / "inference").mkdir(parents=True)
    shutil.copy(ROOT / "local/inference/classifier.py", tmp_path / "local/inference")
    with (tmp_path / "docs" / "labels.md").open("a") as page:
        page.write("\n[this](labels.md#nowhere) and [that](nothing.md)\n")
    build = [sys.executable, "-m", "mkdocs", "build", "-d", tmp_path / "out"]
    result = subprocess.run(
        build, cwd=tmp_path, capture_output=True, text=True, timeout=300
    )
    assert result.returncode != 0
    assert "nowhere" in result.stderr and "nothing.md" in result.stderr


def test_the_reference_has_each_field_of_metrics_json(shared_experiment):
    page = (ROOT / "docs" / "reference" / "metrics.md").read_text("utf-8")
    metrics = json.loads((shared_experiment / "metrics.json").read_text())
    names = {
        *metrics,
        *(name for label in metrics["labels"].values() for name in label),
    }
    assert len(names) > 30
    assert not [name for name in names if f"`{name}`" not in page]


def test_what_people_and_tools_read_of_the_repository_is_yaml():
    files = [*ROOT.glob(".github/*/*.yml"), ROOT / ".pre-commit-config.yaml"]
    assert len(files) > 4
    for file in files:
        assert yaml.safe_load(file.read_text("utf-8"))
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text("utf-8"))
    assert {"cff-version", "title", "message", "authors", "version"} <= citation.keys()
    changes = (ROOT / "CHANGELOG.md").read_text("utf-8")
    assert f"\n## {citation['version']}" in changes
