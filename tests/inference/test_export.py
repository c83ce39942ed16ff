"""export.py: a folder that loads elsewhere and says what the experiment says."""

import json
import re
import shutil
import subprocess
import sys
import types
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from running import run_script, succeeded
from speechbrain.utils.run_opts import RunOptions

import export as script
from local.inference.classifier import ClinicalClassifier
from local.inference.export import check, folder, package
from local.inference.export.onnx_features import NoOnnx
from local.model.training_range import fit_embedding
from local.training.brain import ClinicalBrain
from local.training.experiment import open_experiment
from local.utils.errors import RunError, UserError
from local.utils.yaml_files import load_hparams, resolved_yaml

ROOT = Path(__file__).parents[2]
RATE = 11025  # Hz, at which no frame begins at a whole sample
POINT = {
    "threshold": {
        "value": 3e-05,
        "rule": "youden",
        "source": "validation",
        "n_positive_subjects": 12,
    },
    "calibration": {"kind": "platt", "slope": 1.5, "intercept": -0.25},
}
#: Labels that yaml, and an encoder's file, could take for something else.
GROUPS = [["yes", ":null"], ["? <rate> => 'creaky', ü # \x7f"]]
AUDIT = {
    "labels": {
        GROUPS[1][0]: {"status": "flagged", "reasons": ["Hum: it tells the label."]},
        "yes": {"status": "clear", "reasons": ["Clear is no proof."]},
    },
    "shared_subjects": [],
    "shared_audio": [],
}


def make_experiment(place, yaml="train", points=None, **overrides):
    """An experiment as train.py leaves it, its weights random."""
    values = {
        "output_folder": str(place),
        "dataset_name": "made up",
        "label_groups": GROUPS,
        "sample_rate": RATE,
        "n_mels": 20,
        "channels": [16, 16, 16, 16, 48],
        "attention_channels": 8,
        "lin_neurons": 12,
        "sd_bottleneck": 14,
        "clf_bottleneck": 10,
        "max_duration": 0,
        **overrides,
    }
    yaml_file = ROOT / "hparams" / f"{yaml}.yaml"
    place.mkdir(parents=True)
    (place / "hyperparams.yaml").write_text(resolved_yaml(yaml_file, values))
    torch.manual_seed(1)
    hparams = load_hparams(place / "hyperparams.yaml")
    for module in hparams["modules"].values():
        for name, buffer in module.named_buffers():
            if "running" in name:  # of batch normalisation
                buffer.uniform_(0.5, 1.5)
    brain = ClinicalBrain(
        modules=hparams["modules"],
        hparams=hparams,
        run_opts={"device": "cpu"},
        checkpointer=hparams["checkpointer"],
    )
    brain.checkpointer.save_checkpoint(meta={"epoch": 1, "selection": 0.5})
    (place / "save" / "operating_points.json").write_text(
        json.dumps({"labels": points or {}})
    )
    return place


def opened(place):
    options = {"experiment_folder": str(place)}
    return open_experiment(options, RunOptions.from_dictionary({"device": "cpu"}))


def reference(place):
    return ClinicalClassifier.from_hparams(place, run_opts={"device": "cpu"})


def speech(duration_s, seed):
    """Noise that comes and goes, float32 [time]."""
    generator = torch.Generator().manual_seed(seed)
    n = int(duration_s * RATE)
    envelope = torch.sin(torch.arange(n) / 700 + seed).clamp(min=0)
    return 0.2 * envelope * torch.randn(n, generator=generator) + 0.01


def elsewhere(code, *arguments, cwd):
    """Run Python code where nothing of this recipe can be imported; its JSON."""
    no_recipe = "import importlib.util as u; assert u.find_spec('local') is None\n"
    result = subprocess.run(
        [sys.executable, "-I", "-B", "-c", no_recipe + code, *map(str, arguments)],
        cwd=cwd,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )
    assert result.returncode == 0, result.stderr[-3000:]
    return json.loads(result.stdout.splitlines()[-1])


def difference(found, expected):
    found, expected = np.asarray(found), np.asarray(expected)
    assert found.shape == expected.shape
    return np.linalg.norm(found - expected) / np.linalg.norm(expected)


def assert_same(found, expected):
    """Decisions by label, the numbers in them but for rounding."""
    assert list(found) == list(expected)
    for label, said in expected.items():
        assert found[label].pop("out_of_range") == said.pop("out_of_range")
        numbers = {key: of for key, of in said.items() if of is not None}
        assert {key for key, of in found[label].items() if of is not None} == set(
            numbers
        )
        for key, number in numbers.items():
            assert found[label][key] == pytest.approx(number, rel=1e-5, abs=1e-5)


def training_range(size):
    """Of recordings without anything above 2 kHz."""
    embeddings = np.random.default_rng(0).normal(size=(60, size))
    return {
        "limit": 1.0,
        "measures": {"bandwidth_khz": [1.0, 1.5, 2.0]},
        "distance": [1.0, 1e9],
        "embedding": fit_embedding(embeddings),
    }


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """An experiment of train.yaml and its export, as the command line makes it."""
    place = tmp_path_factory.mktemp("export")
    points = {GROUPS[1][0]: POINT, GROUPS[0][0]: POINT}
    experiment = make_experiment(
        place / "experiment",
        points=points,
        shared_dense=True,
        layernorm=True,
        activation="prelu",
        positive_weights=[1.0, 2.5, 1e-05],
        label_ranges=[None, [0, 100], None],
    )
    output = place / "new" / "out"
    (experiment / "audit.json").write_text(json.dumps(AUDIT))
    range_file = experiment / "save" / "training_range.json"
    range_file.write_text(json.dumps(training_range(12)))
    options = (f"--experiment_folder={experiment}", f"--output_folder={output}")
    result = succeeded(run_script("export.py", *options))
    assert "model.onnx differs by at most" in result.stdout
    return experiment, output


def test_what_is_written(exported):
    _, output = exported
    names = {path.name for path in output.rglob("*")}
    modules = {f"{of.split('.')[-1]}.py" for of in package.MODULES}
    packages = {of.split(".")[0] for of in package.MODULES}
    assert names == modules | packages | {
        *("clinical_speech", "__init__.py", "hyperparams.yaml"),
        *("hyperparams.yaml", "embedding_model.ckpt", "classifier.ckpt"),
        *("label_encoder.ckpt", "labels.txt", "labels.json", "custom.py", "README.md"),
        *("requirements.txt", "model.onnx", "model_card.md"),
    }
    assert [path.name for path in output.parent.iterdir()] == ["out"]
    text = (output / "hyperparams.yaml").read_text()
    assert "!new:local" not in text and "!new:clinical_speech" not in text
    assert str(output.parent) not in text
    readme = (output / "README.md").read_text()
    assert "## ONNX" in readme and "| `model.onnx` |" in readme
    for name in ("embedding_model.ckpt", "classifier.ckpt"):
        assert torch.load(output / name, weights_only=True)
    labels = json.loads((output / "labels.json").read_text())["labels"]
    assert [of["label"] for of in labels] == ["yes", ":null", GROUPS[1][0]]
    assert [of["head"] for of in labels] == [0, 0, 1]
    assert labels[1]["range"] == [0, 100] and labels[1]["output"] == "score"
    assert labels[0]["threshold"]["value"] == 3e-05 and labels[1]["threshold"] is None
    reasons = ["Hum: it tells the label."]
    assert [of["flagged"] for of in labels] == [[], [], reasons]
    assert f"- {GROUPS[1][0]}: {reasons[0]}" in readme


STOCK = """
import json, sys, torch
from speechbrain.inference.classifiers import EncoderClassifier
model = EncoderClassifier.from_hparams(source=sys.argv[1], run_opts={"device": "cpu"})
waveform = torch.tensor(json.load(open(sys.argv[2])))
pt = model.encode_batch(waveform)
logits = model.mods.classifier(pt)
text = model.classify_batch(waveform)[3]
print(json.dumps([pt[0, 0].tolist(), logits[0, 0].tolist(), text]))
"""


def test_stock_class_loads_it_moved_and_without_our_code(exported, tmp_path):
    experiment, output = exported
    moved = tmp_path / "moved"
    shutil.copytree(output, moved)
    for name in ("custom.py", "model.onnx", "labels.json"):
        (moved / name).unlink()
    shutil.rmtree(moved / "clinical_speech")
    (tmp_path / "empty").mkdir()
    model = reference(experiment)
    waveform = speech(1.7, 3)
    (tmp_path / "waveform.json").write_text(json.dumps(waveform.tolist()))
    pt, logits, text = elsewhere(
        STOCK, moved, tmp_path / "waveform.json", cwd=tmp_path / "empty"
    )
    expected = model.outputs([waveform])
    assert difference(pt, expected.pt[0]) < 1e-5
    assert difference(logits, expected.logits[0]) < 1e-5
    assert text == [model.labels[int(expected.logits[0].argmax())]]


@settings(max_examples=4, deadline=None, derandomize=True)
@given(
    lengths_s=st.lists(
        st.one_of(st.floats(0.1, 0.5), st.floats(0.1, 6.0), st.just(30.0)),
        min_size=1,
        max_size=5,
    ),
    n_more=st.integers(0, 9000),
)
def test_onnx_says_what_pytorch_says(exported, lengths_s, n_more):
    experiment, output = exported
    model = reference(experiment)
    session = onnxruntime.InferenceSession(output / "model.onnx")
    waveforms = [speech(length, i) for i, length in enumerate(lengths_s)]
    batch, lengths = check.padded_batch(waveforms, n_more)
    names = [of.name for of in session.get_outputs()]
    assert names == ["logits", "pt", "st", "ft"]
    found = session.run(None, {"waveforms": batch, "lengths": lengths})
    for i, waveform in enumerate(waveforms):
        alone = model.outputs([waveform])
        expected = (alone.logits, alone.pt, alone.st, alone.hidden)
        for name, values, of in zip(names, found, expected, strict=True):
            assert difference(values[i], of[0]) < 1e-4, name


def test_onnx_tells_what_it_needs(exported):
    written = onnx.load(exported[1] / "model.onnx")
    about = {entry.key: entry.value for entry in written.metadata_props}
    # 0.1 s or more: 1102.5 samples
    assert about["sample_rate"] == "11025" and about["min_samples"] == "1103"
    labels = [of["label"] for of in json.loads(about["labels"])]
    assert labels == ["yes", ":null", GROUPS[1][0]]


def test_the_recipe_loads_it_too(exported):
    experiment, output = exported
    ours, theirs = reference(experiment), reference(output)
    waveform = speech(0.9, 1)
    for kind in ("pt", "st", "ft"):
        found = theirs.encode_batch(waveform, kind=kind)
        assert difference(found, ours.encode_batch(waveform, kind=kind)) < 1e-5
    found, expected = (of.classify_batch(waveform)[0] for of in (theirs, ours))
    assert found["yes"]["out_of_range"] == ["bandwidth 5.5 kHz, training 1 to 2"]
    assert found["yes"]["in_range"] is False and found["yes"]["predicted"] is None
    assert_same(found, expected)
    flags = {GROUPS[1][0]: ["Hum: it tells the label."]}
    assert theirs.flagged == ours.flagged == flags


CUSTOM = """
import json, sys, torch
from speechbrain.inference.interfaces import foreign_class
waveforms = [torch.tensor(of) for of in json.load(open(sys.argv[1]))]
models = [foreign_class(source=source, pymodule_file="custom.py",
    classname="ClinicalClassifier", run_opts={"device": "cpu"})
    for source in sys.argv[2:]]
print(json.dumps([[[model.encode_batch(waveform)[0, 0].tolist(),
    model.classify_batch(waveform)[0]] for waveform in waveforms] for model in models]))
"""


@pytest.mark.unmeasured
@pytest.mark.parametrize(
    "yaml, overrides",
    [
        pytest.param(
            *("train_fbank", {"dataset_mean": -4.0, "dataset_std": 2.5}),
            marks=pytest.mark.repeats,
        ),
        ("train_original", {"clip_length": 1.0, "n_mfcc": 20, "n_mels": 24}),
    ],
)
def test_other_front_ends_load_with_custom_py_beside_another_model(
    yaml, overrides, exported, tmp_path, monkeypatch
):
    monkeypatch.setattr(folder, "write_and_check_onnx", lambda *_: None)
    experiment = make_experiment(tmp_path / "experiment", yaml, **overrides)
    folder.export(opened(experiment), tmp_path / "out")
    model, again = reference(experiment), reference(tmp_path / "out")
    sources, models = (exported[1], tmp_path / "out"), (reference(exported[0]), model)
    (tmp_path / "empty").mkdir()
    assert (
        again.flagged is None
        and "not audited" in (tmp_path / "out/README.md").read_text()
    )
    waveforms = [speech(0.3, 3), speech(1.6, 3)]
    file = tmp_path / "waveforms.json"
    file.write_text(json.dumps([waveform.tolist() for waveform in waveforms]))
    found = elsewhere(CUSTOM, file, *sources, cwd=tmp_path / "empty")
    for said_of_all, expected in zip(found, models, strict=True):
        for waveform, (pt, said) in zip(waveforms, said_of_all, strict=True):
            assert difference(pt, expected.encode_batch(waveform)[0, 0]) < 1e-5
            assert_same(said, expected.classify_batch(waveform)[0])
    for waveform in waveforms:
        expected = model.encode_batch(waveform)
        assert difference(again.encode_batch(waveform), expected) < 1e-5


LEARNED_FRONT_END = """\
base: {base}
compute_features: !new:speechbrain.lobes.features.Fbank
    sample_rate: !ref <sample_rate>
    n_mels: !ref <n_mels>
    n_fft: !ref <n_fft>
    requires_grad: True
checkpointer: !new:local.training.checkpoints.AtomicCheckpointer
    checkpoints_dir: !ref <save_folder>
    recoverables:
        compute_features: !ref <compute_features>
        mean_var_norm: !ref <mean_var_norm>
        embedding_model: !ref <embedding_model>
        shared_dense: !ref <shared_dense_layer>
        classifier: !ref <classifier>
"""


def test_a_front_end_takes_its_weights_along(tmp_path, monkeypatch):
    monkeypatch.setattr(folder, "write_and_check_onnx", lambda *_: None)
    text = LEARNED_FRONT_END.format(base=ROOT / "hparams" / "train.yaml")
    (tmp_path / "mine.yaml").write_text(text)
    experiment = make_experiment(tmp_path / "experiment", str(tmp_path / "mine"))
    (file,) = experiment.glob("save/CKPT*/compute_features.ckpt")
    learned = torch.load(file)
    learned["compute_fbanks.band"] *= 1.5
    torch.save(learned, file)
    folder.export(opened(experiment), tmp_path / "out")
    model, again = reference(experiment), reference(tmp_path / "out")
    waveform = speech(1.0, 3)
    expected = model.encode_batch(waveform)
    assert difference(again.encode_batch(waveform), expected) < 1e-5


def test_probes_are_no_shorter_than_recordings_may_be():
    hparams = types.SimpleNamespace(sample_rate=RATE, min_duration=2.0)
    model = types.SimpleNamespace(hparams=hparams)
    lengths = [len(check._noise(of, 1, model)) for of in (None, 1.0, 3.0)]
    assert lengths == [2 * RATE, 2 * RATE, 3 * RATE]


def empty(module, path):
    torch.save({}, path)


def without_bytes(module, path):
    path.write_bytes(b"")


def slightly_wrong(module, path):
    torch.save({k: v * 1.001 for k, v in module.state_dict().items()}, path)


@pytest.mark.parametrize(
    "spoil",
    [empty, pytest.param(without_bytes, marks=pytest.mark.repeats), slightly_wrong],
)
def test_a_spoiled_export_leaves_nothing(spoil, tmp_path, monkeypatch):
    monkeypatch.setattr(folder, "save_weights", spoil)
    experiment = make_experiment(tmp_path / "experiment")
    before = sorted(tmp_path.rglob("*"))
    output = tmp_path / "new" / "er" / "out"
    options = [f"--experiment_folder={experiment}", f"--output_folder={output}"]
    with pytest.raises(RunError, match=r"exported folder (differs|can't be loaded)"):
        script.main(options)
    assert sorted(tmp_path.rglob("*")) == before


def test_a_spoiled_onnx_file_is_refused(exported, tmp_path, monkeypatch):
    """As when an exporter is at fault: what it wrote is not the model."""
    experiment, output = exported

    def write(model, sample_rate, path, about):
        written = onnx.load(output / "model.onnx")
        bias = next(of for of in written.graph.initializer if of.dims == [3])
        values = onnx.numpy_helper.to_array(bias) + np.float32(1e-3)
        bias.CopyFrom(onnx.numpy_helper.from_array(values, bias.name))
        onnx.save(written, path)

    monkeypatch.setattr(folder, "write_onnx", write)
    monkeypatch.setattr(folder, "check_folder", lambda *_: 0.0)
    with pytest.raises(RunError, match=r"model.onnx differs .* logits in a batch of 1"):
        folder.export(opened(experiment), tmp_path / "out")
    assert not list(tmp_path.iterdir())


def test_an_exporter_that_breaks_is_told(exported, tmp_path, monkeypatch):
    def write(*_):
        raise TypeError("no such operator")

    monkeypatch.setattr(folder, "write_onnx", write)
    monkeypatch.setattr(folder, "check_folder", lambda *_: 0.0)
    with pytest.raises(RunError, match=r"model.onnx can't be made: TypeError: no such"):
        folder.export(opened(exported[0]), tmp_path / "out")
    assert not list(tmp_path.iterdir())


def test_a_front_end_without_onnx_is_told(exported, tmp_path, monkeypatch, caplog):
    def none(*_):
        raise NoOnnx("there is no such front end")

    monkeypatch.setattr(folder, "OnnxModel", none)
    monkeypatch.setattr(folder, "check_folder", lambda *_: 0.0)
    folder.export(opened(exported[0]), tmp_path / "out")
    assert "no model.onnx is written: there is no such front end" in caplog.text
    assert not (tmp_path / "out" / "model.onnx").exists()
    text = (tmp_path / "out" / "README.md").read_text()
    assert "onnx" not in text.lower() and "| `custom.py`" in text


def test_wrong_folders_are_refused(exported, tmp_path):
    experiment, output = exported
    before = sorted(experiment.rglob("*"))
    (tmp_path / "file").write_text("")
    for place, message in (
        (output, "not empty"),
        (experiment, "not empty"),
        (experiment / "save" / "export", "belongs to the experiment"),
        (tmp_path / "file", "is a file"),
        ("gs://bucket/out", "gs://"),
    ):
        with pytest.raises(UserError, match=message):
            script.main(
                [f"--experiment_folder={experiment}", f"--output_folder={place}"]
            )
    with pytest.raises(UserError, match=r"no hyperparams\.yaml"):
        script.main([f"--experiment_folder={tmp_path}", "--output_folder=out"])
    assert sorted(experiment.rglob("*")) == before


def test_options_are_exact(capsys):
    with pytest.raises(SystemExit) as stopped:
        script.main(["--experiment=a", "--output_folder=b"])
    assert stopped.value.code == 2
    assert "--experiment_folder" in capsys.readouterr().err


def test_a_class_from_elsewhere_is_refused(tmp_path):
    experiment = make_experiment(tmp_path / "experiment")
    file = experiment / "hyperparams.yaml"
    stock = "speechbrain.processing.features.InputNormalization"
    file.write_text(file.read_text().replace(f"!new:{stock}", "!new:my.Normalization"))
    with pytest.raises(UserError, match=r"my\.Normalization"):
        folder.ModelNodes(file)


def test_copied_modules_import_nothing_else_of_the_recipe():
    wanted = set()
    for module in package.MODULES:
        path = ROOT.joinpath("local", *module.split(".")).with_suffix(".py")
        text = package.renamed(path.read_text("utf-8"))
        assert not re.search(r"^\s*(from|import) local\\b", text, re.M)
        for line in re.findall(r"^from clinical_speech\.([\w.]+) import", text, re.M):
            wanted.add(line)
    # and none is copied for nothing; yamls name front ends, custom.py the classifier
    named = {"model.front_end", "model.legacy_front_end", "inference.classifier"}
    named |= {"model.kernel_heads", "model.recording_statistics"}
    named |= {"model.tuned_encoder"}
    assert wanted | named == set(package.MODULES)
