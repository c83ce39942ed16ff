"""README.md, the pages of docs/ and of recipes/ agree with the code."""

import re
import sys
import types
from pathlib import Path

import numpy as np
import pytest
import sklearn.metrics
import torch

from local.metrics import measures
from local.model.front_end import frame_counts, raw_features
from local.utils.cli import top_level_keys
from local.utils.yaml_files import load_hparams
from tests.project.test_rooms import ROOMS
from tests.project.test_yaml import SMALL

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
EXTENDING = (ROOT / "docs" / "extending.md").read_text(encoding="utf-8")
ORIGINAL = (ROOT / "recipes" / "original" / "README.md").read_text(encoding="utf-8")


def section(page, heading):
    """The text of a page below a heading, up to the next one of its level."""
    return page.split(f"\n{heading}\n")[1].split(f"\n{heading.split()[0]} ")[0]


def rows(text):
    """The rows of the only table of a text, as lists of cells."""
    lines = [line for line in text.splitlines() if line.startswith("|")][2:]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


# docs/extending.md


def blocks(language, heading):
    """The code blocks of a section of the page in a language."""
    text = section(EXTENDING, heading)
    return re.findall(rf"```{language}\n(.*?)```", text, flags=re.DOTALL)


@pytest.fixture
def example(request, monkeypatch):
    """The class or function of a section, in a module of its own."""
    module = types.ModuleType("example")
    module.pearson = measures.pearson  # what a metric finds where it would stand
    exec(blocks("python", request.param)[0], module.__dict__)  # our own page
    monkeypatch.setitem(sys.modules, module.__name__, module)
    return module


def example_of(heading):
    return pytest.mark.parametrize("example", [heading], indirect=True, ids=[""])


def test_the_files_of_the_page_are_there():
    for _, change, test in rows(EXTENDING.split("\n## ")[0]):
        for path in re.findall(r"`([\w/.]+)`", change + test):
            assert (ROOT / path).exists(), path


@example_of("## A metric")
def test_the_metric_of_the_page_is_what_it_is_called(example):
    generator = np.random.default_rng(0)
    targets, weights = generator.integers(0, 2, 30), generator.integers(0, 3, (4, 30))
    scores = generator.random(30)
    expected = [
        sklearn.metrics.matthews_corrcoef(targets, scores >= 0.4, sample_weight=each)
        for each in weights
    ]
    found = example.mcc(targets, scores, weights, threshold=0.4)
    assert found == pytest.approx(expected)


@example_of("## A front end")
def test_the_front_end_of_the_page_is_one_class_and_one_yaml(example, tmp_path):
    (text,) = blocks("yaml", "## A front end")
    text = text.replace("local.model.front_end", example.__name__)
    file = tmp_path / "mine.yaml"
    file.write_text(text.replace("base: ", f"base: {ROOT}/hparams/"), encoding="utf-8")

    overrides = {**SMALL, "output_folder": str(tmp_path)}
    del overrides["n_mels"], overrides["n_mfcc"]
    hparams = load_hparams(file, overrides)
    tone = torch.sin(2 * torch.pi * 1000 * torch.arange(16000) / 16000)
    features, lengths = raw_features(
        hparams["compute_features"], tone.repeat(2, 1), torch.tensor([1.0, 0.5])
    )
    assert features.shape == (2, 101, 201)
    # bins of 40 Hz; a sine's power in a Hann window of 400 samples: (400 / 4) ** 2
    assert features[0, 50].argmax() == 25
    assert features[0, 50, 25].item() == pytest.approx(40, abs=0.01)
    assert frame_counts(lengths, 101).tolist() == [101, 50]
    embedding = hparams["embedding_model"].eval()(features, lengths)
    assert embedding.shape == (2, 1, SMALL["lin_neurons"])


@example_of("## A transform")
def test_the_transform_of_the_page_is_one_class_and_one_entry(example, tmp_path):
    keys, entry = blocks("yaml", "## A transform")
    entry = entry.replace("local.augment.waveform", example.__name__)
    text = (ROOT / "hparams" / "train.yaml").read_text(encoding="utf-8")
    text = text.replace("augment: !new:", f"{keys}augment: !new:")
    text = text.replace("    transforms:\n", f"    transforms:\n{entry}")
    file = tmp_path / "train.yaml"
    file.write_text(text, encoding="utf-8")

    overrides = {**SMALL, "output_folder": str(tmp_path), "polarity": 1.0}
    augment = load_hparams(file, overrides)["augment"]
    waveforms = torch.rand(2, 100) + 0.5
    changed, lengths = augment(waveforms, torch.ones(2), ["a", "b"], epoch=1)
    ratios = changed / waveforms
    assert lengths.tolist() == [1, 1]
    assert ((ratios < -0.9) & (ratios > -1.1)).all()
    assert ratios[0, 0] != pytest.approx(ratios[1, 0])
    off = load_hparams(file, {**overrides, "polarity": 0.0})["augment"]
    assert off(waveforms, torch.ones(2), ["a", "b"], epoch=1)[0] is waveforms


@example_of("## A transform")
def test_the_transform_of_the_page_refuses_a_wrong_range(example):
    with pytest.raises(ValueError, match="level_range"):
        example.Polarity(0.5, [1.1, 0.9])


# README.md


def test_the_readme_is_short():
    assert len(README.splitlines()) <= 250


def test_the_options_without_a_gpu_are_those_of_the_demo():
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    options = makefile.split("DEMO_OPTIONS := ")[1].split("\n\n")[0]
    without_gpu = section(README, "## Your own data").split("Append to the command:")[1]
    assert re.findall(r"--\S+", options) == re.findall(r"--\S+", without_gpu)


def test_the_map_names_all_rooms_in_their_order():
    map_rows = rows(section(README, "## Where the code is"))
    assert [row[0] for row in map_rows] == [f"`{room}/`" for room in ROOMS]


def test_the_table_of_commands_names_all_scripts():
    table = section(README, "## The commands")
    assert {row[0].strip("`") for row in rows(table)} == {
        path.name for path in ROOT.glob("*.py")
    }


def test_every_key_of_the_readme_is_one_of_a_training_yaml():
    keys = set(re.findall(r"`(\w+)`", section(README, "## What the yaml sets")))
    assert len(keys) > 60
    yamls = ROOT.glob("hparams/train*.yaml")
    assert keys <= {key for file in yamls for key in top_level_keys(file)}


# The table of the original's options


def table_rows():
    """Rows of the table of options, as [option, key, yamls, remark]."""
    return rows(section(ORIGINAL, "## Options"))


#: Every option of the original project.
OPTIONS = """
--prefix --study --data_split_root --label_txt --lib --trained_mdl_path
--val_size --seed --bucket_name --project_name --cloud --cloud_dir --dataset --exp_dir
--mode --shared_dense --sd_bottleneck --embedding_type --pooling_mode --resample_rate
--reduce --clip_length --tshift --speed --gauss --pshift --pshiftn --gain --stretch
--mixup --lin_neurons --n_mfcc --n_fft --n_mels --fbank --freqm --timem --noise
--dataset_mean --dataset_std -bs -nw -lr -e --optim --weight_decay --loss --scheduler
--max_lr --activation --final_dropout --layernorm --clf_bottleneck --debug
"""


def test_every_option_of_the_original_has_a_row():
    named = re.findall(r"`(--?\w+)`", " ".join(row[0] for row in table_rows()))
    assert sorted(named) == sorted(OPTIONS.split())


def test_every_key_of_the_table_is_in_the_yaml_it_names():
    n_checked = 0
    for option, where, yamls, _ in table_rows():
        keys = re.findall(r"`(\w+)`", where)
        for yaml in re.findall(r"`([\w.]+\.yaml)`", yamls):
            known = top_level_keys(ROOT / "hparams" / yaml)
            assert set(keys) <= set(known), (option, yaml)
            n_checked += len(keys)
    assert n_checked > 50
    elsewhere = [option for option, _, yamls, _ in table_rows() if not yamls]
    assert elsewhere == [
        "`--mode`",
        "`--debug`",
    ]


# Links


def anchors(text):
    """What the headings of a page are called in links to them."""
    return {
        re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-")
        for heading in re.findall(r"^#+ (.*)$", text, flags=re.MULTILINE)
    }


PAGES = [
    *ROOT.glob("*.md"),
    *ROOT.glob("docs/*.md"),
    *ROOT.glob("recipes/*/README.md"),
]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_within_the_project_leads_somewhere(page):
    text = page.read_text(encoding="utf-8")
    for link in re.findall(r"\]\(([^)]+)\)", text):
        if "://" in link:
            continue
        path, _, anchor = link.partition("#")
        target = page.parent / path if path else page
        assert target.exists(), link
        if anchor:
            assert anchor in anchors(target.read_text(encoding="utf-8")), link
