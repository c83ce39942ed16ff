"""training.safe_yaml: an experiment from elsewhere runs nothing but what is listed."""

import pydoc
import re
import shutil
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from running import FAST, ROOT, evaluate, failed, run_script, succeeded, train

from local.training import safe_yaml
from local.training.safe_yaml import check_trusted
from local.utils.errors import UserError
from local.utils.yaml_files import MAX_YAML_BYTES, saved_values

OVERRIDES = {"augment": None, "checkpointer": {"checkpoints_dir": "save"}}


def refused(folder, text, overrides=OVERRIDES):
    """What is told of a yaml that must be refused."""
    path = folder / "hyperparams.yaml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(UserError) as caught:
        check_trusted(path, "gs://elsewhere/hyperparams.yaml", overrides)
    assert "gs://elsewhere/hyperparams.yaml" in str(caught.value)
    return str(caught.value)


def tags_outside_augmentation():
    """Every tag of the training yamls, by kind."""
    found = {"!new": set(), "!name": set(), "!apply": set()}
    for path in (ROOT / "hparams").glob("train*.yaml"):
        text = re.sub(r"(?ms)^augment:.*?(?=^\S)", "", path.read_text("utf-8"))
        for kind, name in re.findall(r"(!\w+):([\w.]+)", text):
            found[kind].add(name)
    return found


def test_the_list_is_what_the_yamls_use():
    used = tags_outside_augmentation()
    used["!new"].add("speechbrain.lobes.models.ECAPA_TDNN.ECAPA_TDNN")
    encoders = "local.model.pretrained_encoder"  # of earlier experiments, as well
    used["!new"] |= {f"{encoders}.LayerMeans", f"{encoders}.LayerStandardisation"}
    assert used == {k: set(v) for k, v in safe_yaml.ALLOWED.items()}


@pytest.mark.parametrize("name", sorted(set().union(*safe_yaml.ALLOWED.values())))
def test_listed_names_are_their_objects_own(name):
    found = pydoc.locate(name)
    assert f"{found.__module__}.{found.__qualname__}" == name


@pytest.mark.parametrize(
    "line",
    [
        "!new:os.system [touch {marker}]",
        "!apply:os.system [touch {marker}]",
        "!new:torch.os.system [touch {marker}]",
        "!apply:speechbrain.utils.superpowers.run_shell [touch {marker}]",
        "!name:os.system",
        "!module:os",
        "!include:/etc/hostname",
        "!applyref:os.system [touch {marker}]",
        "!!python/object/apply:os.system [touch {marker}]",
        "!!python/name:os.system",
        "(!!python/object/apply:os.system [touch {marker}])",
        "'(!!python/object/apply:os.system [touch {marker}])'",
        '"\\n(!!python/object/apply:os.system [touch {marker}])"',
        "[1, {{b: !new:os.system [touch {marker}]}}]",
        "{{? !new:os.system [touch {marker}] : 1}}",
        "!apply:speechbrain.utils.seed.seed_everything [!new:os.system [ls]]",
        "!new:local.model.heads.SharedDense [!apply:os.system [touch {marker}]]",
        "!new:local.training.checkpoints.AtomicCheckpointer "
        "{{checkpoints_dir: {marker}}}",
        "!new:local.model.heads.torch.os.system [touch {marker}]",
        "!!set {{1, 2}}",
        "!unknown 1",
        "!ref <seed> ** 99999999",
        "!ref <seed><seed>",
        "!copy <seed> * 3",
        "!tuple \"[!!python/object/apply:os.system ['touch {marker}']]\"",
        "{{!tuple '[!!python/object/apply:os.system [ls]]': 1}}",
    ],
)
def test_what_could_run_anything_is_refused_and_named(tmp_path, line):
    marker = tmp_path / "marker"
    line = line.format(marker=marker)
    message = refused(tmp_path, f"seed: 1\nb: 2\n\nevil: {line}\n")
    assert "--trust_experiment=True" in message and "line 4" in message
    assert not marker.exists()


@pytest.mark.parametrize(
    "text",
    [
        "? !!null augment\n: !applyref:os.system ['touch {marker}']\n",
        "? !tuple augment\n: !applyref:os.system ['touch {marker}']\n",
        "? !!merge augment\n: !applyref:os.system ['touch {marker}']\n",
        "augment: 1\naugment: !applyref:os.system ['touch {marker}']\n",
        "checkpointer: !new:local.training.checkpoints.AtomicCheckpointer\n"
        "  checkpoints_dir: a\n  recoverables:\n"
        "    a: !new:local.training.checkpoints.AtomicCheckpointer "
        "{{checkpoints_dir: x}}",
        "a: 9**9**9\nb: <a>+1\nc: !ref <b>\n",
        'e: "<e>\\n<e>"\nf: !ref <e>\n',
    ],
    ids=["null", "tuple", "merge", "twice", "nested", "powers", "endless"],
)
def test_ways_round_the_check(tmp_path, text):
    refused(tmp_path, text.format(marker=tmp_path / "marker"))
    assert not (tmp_path / "marker").exists()


def test_another_file_below_it_is_refused(tmp_path):
    """What is saved is whole; the other could name anything."""
    (tmp_path / "evil.yaml").write_text("a: !apply:os.system [ls]\n")
    message = refused(tmp_path, "base: evil.yaml\nseed: 1\n")
    assert "base: evil.yaml, another file" in message


def test_saved_values_run_nothing(tmp_path):
    """withdraw.py and a training that goes on read them without a check."""
    path = tmp_path / "hyperparams.yaml"
    marker = tmp_path / "marker"
    path.write_text(
        f"a: !applyref:os.system ['touch {marker}']\nb: !include:/etc/hostname\n"
        "c: !ref <d>\nd: 9**9**9\ne: !new:os.system [ls]\nf: 1\n"
    )
    assert saved_values(path)["f"] == 1
    assert not marker.exists()


def test_all_is_named_at_once(tmp_path):
    message = refused(tmp_path, "a: !new:os.system [x]\nb: !name:shutil.rmtree\n")
    assert "line 1: !new:os.system" in message
    assert "line 2: !name:shutil.rmtree" in message


def test_a_tag_by_another_handle(tmp_path):
    message = refused(tmp_path, "%TAG !x! !new:\n---\na: !x!os.system [ls]\n")
    assert "!new:os.system" in message


@pytest.mark.parametrize(
    "text",
    [
        "a: [1, 2",
        "- 1\n",
        "just text",
        "",
        "a: &a [*a]",
        "a: " + "[" * 500,
        "a: 1\n" + "#" * MAX_YAML_BYTES,
        "a: &a [1,1,1,1,1,1,1,1,1,1]\n"
        + "".join(
            f"{chr(98 + i)}: &{chr(98 + i)} [{','.join(['*' + chr(97 + i)] * 10)}]\n"
            for i in range(9)
        ),
    ],
    ids=["broken", "list", "text", "empty", "itself", "deep", "large", "aliases"],
)
def test_what_is_no_such_yaml(tmp_path, text):
    refused(tmp_path, text)


def test_bytes_that_are_no_text(tmp_path):
    path = tmp_path / "hyperparams.yaml"
    path.write_bytes(b"\xff\xfe\x00a")
    with pytest.raises(UserError, match="can't be read"):
        check_trusted(path, "there", OVERRIDES)


@settings(max_examples=40, deadline=None)
@given(st.from_regex(r"[a-z_]{1,12}(\.[A-Za-z_]{1,12}){1,4}", fullmatch=True))
def test_nothing_unlisted_is_imported(name):
    """Whatever it is called: names are compared before anything is looked up."""
    problems = safe_yaml._problems(f"a: !new:{name} []\nb: !name:{name}\n", set())
    if name not in safe_yaml.CLASSES | safe_yaml.FUNCTIONS:
        assert problems == [f"line 1: !new:{name}", f"line 2: !name:{name}"]


# Whole experiments


@pytest.fixture
def experiment(shared_experiment, tmp_path):
    return shutil.copytree(shared_experiment, tmp_path / "experiment")


def test_an_experiment_is_trusted_knowingly(experiment, tmp_path):
    marker = tmp_path / "marker"
    path = experiment / "hyperparams.yaml"
    path.write_text(
        path.read_text("utf-8") + f"\nmine: !apply:os.mkdir ['{marker}']\n", "utf-8"
    )
    assert "!apply:os.mkdir" in failed(evaluate(experiment, *FAST))
    assert not marker.exists()
    succeeded(evaluate(experiment, *FAST, "--trust_experiment=True"))
    assert marker.exists()


class Pickled:
    """Runs something when it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


@pytest.mark.parametrize("name", ["embedding_model", "classifier"])
def test_a_pickle_in_a_checkpoint_is_not_run(experiment, tmp_path, name):
    (checkpoint,) = (experiment / "save").glob("CKPT+*")
    torch.save(Pickled(tmp_path / "marker"), checkpoint / f"{name}.ckpt")
    message = failed(evaluate(experiment, *FAST))
    assert "is damaged or does not fit" in message
    assert "something else than numbers" in message and "weights_only" not in message
    assert not (tmp_path / "marker").exists()
    (checkpoint / f"{name}.ckpt").unlink()
    assert f"no file of '{name}'" in failed(evaluate(experiment, *FAST))


def test_no_pickle_is_run_where_a_training_goes_on(
    shared_experiment, experiment, shared_corpus, tmp_path, monkeypatch
):
    monkeypatch.setenv("TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD", "1")
    (checkpoint,) = (experiment / "save").glob("CKPT+*")
    yaml = experiment / "hyperparams.yaml"
    yaml.write_text(
        yaml.read_text("utf-8").replace(str(shared_experiment), str(experiment))
    )
    for name in ("optimizer", "random_state"):
        kept = (checkpoint / f"{name}.ckpt").read_bytes()
        torch.save(Pickled(tmp_path / "marker"), checkpoint / f"{name}.ckpt")
        message = failed(train(shared_corpus, experiment, "--number_of_epochs=3"))
        assert "is damaged or does not fit" in message
        (checkpoint / f"{name}.ckpt").write_bytes(kept)
    assert not (tmp_path / "marker").exists()


@pytest.mark.parametrize(
    ("key", "value", "told"),
    [
        (None, "{}", "there is no:"),
        ("num_workers", 100_000, "num_workers must be 256 or less"),
        ("sample_rate", 99_999_999_999, "sample_rate"),
    ],
)
def test_yamls_that_say_too_little_or_too_much(experiment, key, value, told):
    yaml = experiment / "hyperparams.yaml"
    text = re.sub(f"(?m)^{key}:.*", f"{key}: {value}", yaml.read_text("utf-8"))
    yaml.write_text(text if key else value)
    assert told in failed(evaluate(experiment, *FAST))


def test_names_that_are_written_into_other_files_are_refused(experiment, tmp_path):
    """They could be lines of a yaml."""
    (checkpoint,) = (experiment / "save").glob("CKPT+*")
    evil = f"{checkpoint.name}\nx: !apply:os.system [touch marker]\n#"
    checkpoint.rename(checkpoint.with_name(evil))
    export = ("export.py", f"--experiment_folder={experiment}")
    message = failed(run_script(*export, f"--output_folder={tmp_path / 'exported'}"))
    assert "expected checkpoints as training names them" in message
    assert not (tmp_path / "exported").exists()


def cut(content):
    return content[: len(content) // 2]


def garbage(_content):
    return b"\x00\xff[{:" * 20


@pytest.mark.parametrize(
    ("name", "damage", "told"),
    [
        ("save/manifests/preparation.json", cut, "of the preparation is damaged"),
        ("save/manifests/train.csv", garbage, "of the preparation is damaged"),
        ("save/run_options.json", garbage, "run_options.json is damaged"),
        ("hyperparams.yaml", garbage, "hyperparams.yaml can't be read"),
        ("save/CKPT+*/CKPT.yaml", garbage, "A CKPT.yaml in"),
        ("save/CKPT+*/counter.ckpt", garbage, "is damaged or does not fit"),
        ("save/CKPT+*/brain.ckpt", cut, "is damaged or does not fit"),
    ],
)
def test_damaged_files_end_with_a_message(
    shared_experiment, experiment, shared_corpus, name, damage, told
):
    yaml = experiment / "hyperparams.yaml"
    yaml.write_text(
        yaml.read_text("utf-8").replace(str(shared_experiment), str(experiment))
    )
    (path,) = experiment.glob(name.replace("counter", "epoch_counter"))
    content = path.read_bytes()
    path.write_bytes(damage(content))
    message = failed(train(shared_corpus, experiment, "--number_of_epochs=3"))
    assert told in message
