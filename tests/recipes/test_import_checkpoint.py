"""Models of the original, held against plain PyTorch with the same weights."""

import argparse
import os
import pathlib
import pickle

import numpy as np
import pyarrow.parquet as pq
import pytest
import soundfile
import torch
import torchaudio
from conftest import LABELS, read_csv, synthesise
from original_features import original_fbank, original_mfcc
from running import evaluate, extract, failed, run_script, succeeded
from speechbrain.lobes.models.ECAPA_TDNN import ECAPA_TDNN
from speechbrain.utils.run_opts import RunOptions

from local.model import heads
from local.training.experiment import open_experiment
from local.utils.errors import UserError
from local.utils.yaml_files import plain_values
from recipes.original.import_checkpoint import main
from recipes.original.pickled_args import read_args

SCRIPT = "recipes/original/import_checkpoint.py"
NAMES = [label for group in LABELS for label in group]

#: The original's command line, sizes of heads apart from the defaults.
ARGS = {
    "label_txt": "gs://bucket/labels.txt",
    "label_groups": LABELS,
    "target_labels": NAMES,
    "exp_dir": pathlib.PosixPath("experiments/first"),
    "seed": 4200,
    "resample_rate": 16000,
    "reduce": True,
    "clip_length": 0.5,
    "tshift": 0.5,
    "fbank": False,
    "n_mfcc": 80,
    "n_fft": 400,
    "n_mels": 128,
    "dataset_mean": -4.5,
    "dataset_std": 3.5,
    "lin_neurons": 24,
    "shared_dense": False,
    "sd_bottleneck": 20,
    "clf_bottleneck": 12,
    "activation": "relu",
    "layernorm": False,
    "final_dropout": 0.25,
    "pooling_mode": "sum",
    "embedding_type": None,
    "loss": "BCE",
    "learning_rate": 0.001,
    "epochs": 7,
    "optim": "adam",
    "scheduler": None,
}


class Original(torch.nn.Module):
    """The original's model and front end, as its pages describe it.

    args: As ARGS.
    """

    def __init__(self, args: dict):
        super().__init__()
        self.args = args
        size = args["lin_neurons"]
        channels = args["n_mels"] if args["fbank"] else args["n_mfcc"]
        self.model = ECAPA_TDNN(channels, lin_neurons=size)
        if args["shared_dense"]:
            linear = torch.nn.Linear(size, args["sd_bottleneck"])
            self.dense = torch.nn.ModuleDict({"dense": linear})
            size = args["sd_bottleneck"]
        self.classifiers = torch.nn.ModuleList(
            self.head(size, len(group)) for group in args["label_groups"]
        )

    def head(self, size, n_labels):
        hidden = self.args["clf_bottleneck"]
        layers = {
            "dense": torch.nn.Linear(size, hidden),
            "outproj": torch.nn.Linear(hidden, n_labels),
        }
        if self.args["layernorm"]:
            layers["norm"] = torch.nn.LayerNorm(hidden)
        return torch.nn.ModuleDict({"head": torch.nn.ModuleDict(layers)})

    def features(self, waveform):
        """Mono at the model's rate, [time] → [1, frame, channel]."""
        n_samples = int(self.args["clip_length"] * self.args["resample_rate"])
        if n_samples:
            missing = max(0, n_samples - len(waveform))
            padding = waveform.mean().repeat(missing)
            waveform = torch.cat([waveform, padding])[:n_samples]
        waveform = waveform - waveform.mean()
        rate, n_mels = self.args["resample_rate"], self.args["n_mels"]
        if not self.args["fbank"]:
            n_mfcc, n_fft = self.args["n_mfcc"], self.args["n_fft"]
            return original_mfcc(waveform, rate, n_mfcc, n_fft, n_mels)[None]
        fbank = original_fbank(waveform, self.args["n_fft"], rate, n_mels)[None]
        return (fbank - self.args["dataset_mean"]) / (2 * self.args["dataset_std"])

    def embeddings(self, features):
        """Of ECAPA-TDNN, the shared layer, and the first layer of each head."""
        pt = st = self.model(features).squeeze(1)
        if self.args["shared_dense"]:
            st = torch.relu(self.dense["dense"](pt))
        return pt, st, [head["head"]["dense"](st) for head in self.classifiers]

    def forward(self, features):
        """[batch, frame, channel] → [batch, label]"""
        logits = []
        hidden = self.embeddings(features)[2]
        for values, classifier in zip(hidden, self.classifiers, strict=True):
            layers = classifier["head"]
            if self.args["layernorm"]:
                values = layers["norm"](values)
            if self.args["activation"] == "relu":
                values = torch.relu(values)
            logits.append(layers["outproj"](values))
        return torch.cat(logits, dim=1)


def sound(duration_s, seed):
    """A tone in noise that swells, around an offset, at 16 kHz: float32 [time]."""
    wave = torch.from_numpy(
        synthesise(seed % 2, seed // 2 % 2, seed // 4 % 2, seed, 2 * duration_s)
    )
    return wave * torch.linspace(0.1, 1, len(wave)) + 0.02


def trained(args, seed=1):
    """An original whose batch normalisation has seen recordings, and then some.

    What hardly varied in them must not count for much, or logits would be in the
    thousands.
    """
    torch.manual_seed(seed)
    original = Original(args)
    features = torch.cat(
        [original.features(sound(0.1 + 0.05 * i, i)) for i in range(8)]
    )
    norms = [m for m in original.modules() if isinstance(m, torch.nn.BatchNorm1d)]
    for norm in norms:
        norm.momentum = None  # take over the mean of the batches
    with torch.no_grad():
        original.train()(features)
        for norm in norms:
            size = norm.running_var.shape
            norm.running_var.clamp_(min=norm.running_var.mean() / 4)
            norm.running_var *= 0.5 + torch.rand(size)
            norm.running_mean += 0.1 * norm.running_var.sqrt() * torch.randn(size)
            norm.weight.uniform_(0.5, 1.5)
            norm.bias.normal_(0, 0.1)
        for head in original.classifiers:
            for name, layer in head["head"].items():
                layer.weight.normal_(1 if name == "norm" else 0, 0.3)
    return original.eval()


def save(folder, args, state):
    """What the original leaves; the options that name it."""
    folder.mkdir(exist_ok=True)
    torch.save(state, folder / "model_mdl.pt")
    with (folder / "args.pkl").open("wb") as file:
        pickle.dump(argparse.Namespace(**args), file)
    return [
        f"--model={folder / 'model_mdl.pt'}",
        f"--args={folder / 'args.pkl'}",
        f"--output_folder={folder / 'experiment'}",
    ]


@pytest.fixture(scope="module")
def default_state():
    """Weights that fit ARGS; not to be changed."""
    return trained(ARGS).state_dict()


def refused(folder, args, state, *options):
    """The message of an import that fails and leaves nothing behind."""
    arguments = save(folder, args, state)
    before = sorted(path.name for path in folder.iterdir())
    with pytest.raises(UserError) as raised:
        main([*arguments, *options])
    assert sorted(path.name for path in folder.iterdir()) == before
    return str(raised.value)


# The same numbers


def cases():
    """Every pair of properties, the activations spread over them."""
    one, several = [["a", "b"]], LABELS
    return [
        ({"fbank": fbank, "shared_dense": dense, "layernorm": norm}, groups, name)
        for fbank, dense, norm, groups, name in (
            (False, False, False, one, "relu"),
            (False, True, True, several, "gelu"),
            (False, True, False, several, "relu"),
            (True, False, True, several, "relu"),
            (True, True, False, one, "relu"),
            (True, False, False, several, "sigmoid"),
            (True, True, True, one, "relu"),
        )
    ]


@pytest.mark.parametrize(("switches", "groups", "activation"), cases())
def test_logits_are_those_of_the_original(
    tmp_path, capsys, switches, groups, activation
):
    args = {
        **ARGS,
        **switches,
        "label_groups": groups,
        "activation": activation,
        "n_fft": 60 if switches["fbank"] else 400,
    }
    original = trained(args)
    main(save(tmp_path, args, original.state_dict()))
    experiment = open_experiment(
        {"experiment_folder": tmp_path / "experiment"}, RunOptions(device="cpu")
    )
    modules = experiment.brain.modules.eval()
    recordings = [sound(duration_s, i) for i, duration_s in enumerate((0.3, 0.5, 0.9))]
    found, expected = [], []
    with torch.no_grad():
        for waveform in recordings:
            expected.append(original(original.features(waveform)))
            clip = experiment.hparams["eval_crop"](waveform, "uid").unsqueeze(0)
            features = heads.compute_features(modules, clip, torch.ones(1))
            found.append(heads.classify(modules, *features).logits)
    found, expected = torch.cat(found), torch.cat(expected)
    assert expected.std(dim=0).min() > 1e-3  # recordings differ
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=0)
    printed = capsys.readouterr().out
    assert ("silently none" in printed) == (activation != "relu")


@pytest.fixture
def corpus_of_all_kinds(corpus):
    """Also a stereo recording, one longer than the clip and one at another rate."""
    generator = np.random.default_rng(5)
    for uid, shape, rate in (
        ("s11_0", (4000, 2), 8000),
        ("s12_0", (8000, 1), 8000),
        ("s13_0", (9000, 1), 22050),
    ):
        file = corpus / "audio" / uid / "waveform.wav"
        soundfile.write(file, 0.2 * generator.standard_normal(shape), rate, "FLOAT")
    return corpus


def read_like_the_original(corpus, uid):
    """Channels summed, then resampled with torchaudio's defaults, [time]."""
    samples, rate = soundfile.read(
        corpus / "audio" / uid / "waveform.wav", dtype="float32", always_2d=True
    )
    mono = torch.from_numpy(samples.T.copy()).sum(dim=0)
    return torchaudio.transforms.Resample(rate, 16000)(mono)


def test_the_scripts_take_the_folder_and_give_the_originals_numbers(
    corpus_of_all_kinds, tmp_path
):
    corpus = corpus_of_all_kinds
    args = {**ARGS, "shared_dense": True}
    original = trained(args)
    main(save(tmp_path, args, original.state_dict()))
    where = [
        f"--split_csv={corpus / 'splits' / 'test.csv'}",
        f"--data_folder={corpus / 'audio'}",
    ]
    experiment, file = tmp_path / "experiment", tmp_path / "embeddings.parquet"
    succeeded(evaluate(experiment, *where))
    succeeded(extract(experiment, file, *where, "--embedding_type=ft"))
    uids = [row["uid"] for row in read_csv(corpus / "splits" / "test.csv")]
    logits, embeddings = [], []
    with torch.no_grad():
        for uid in uids:
            features = original.features(read_like_the_original(corpus, uid))
            logits.append(original(features)[0])
            embeddings.append(sum(original.embeddings(features)[2])[0])
    folder = tmp_path / "experiment" / "evaluation" / "test"
    rows = read_csv(folder / "predictions.csv")
    assert [(row["uid"], row["label"]) for row in rows] == [
        (uid, label) for uid in uids for label in NAMES
    ]
    found = np.array([float(row["logit"]) for row in rows]).reshape(len(uids), -1)
    np.testing.assert_allclose(found, torch.stack(logits), atol=1e-5, rtol=0)
    found = np.array(pq.read_table(file)["embedding"].to_pylist())
    np.testing.assert_allclose(found, torch.stack(embeddings), atol=1e-5, rtol=0)


# What is in the folder


def test_the_folder_says_what_the_original_was(tmp_path, capsys, default_state):
    main(save(tmp_path, ARGS, default_state))
    folder = tmp_path / "experiment"
    values = plain_values(folder / "hyperparams.yaml")
    expected = {
        "sample_rate": 16000,
        "mono": "sum",
        "clip_length": 0.5,
        "n_mfcc": 80,
        "dataset_mean": 0.0,  # counts with fbank only
        "dataset_std": 0.5,
        "lin_neurons": 24,
        "clf_bottleneck": 12,
        "pooling_mode": "sum",
        "final_dropout": 0.25,
        "loss": "bce",
        "label_groups": LABELS,
        "lr": 0.001,
        "number_of_epochs": 7,
        "optimizer_name": "adam",
        "scheduler": "none",
        "seed": 4200,
        "tshift": 0.0,  # was never applied
        "output_folder": str(folder),
        "save_folder": str(folder / "save"),
        "data_folder": None,
    }
    assert {key: values[key] for key in expected} == expected
    assert [path.name for path in (folder / "save").iterdir()] == [
        next(folder.glob("save/CKPT+*")).name
    ]
    printed = capsys.readouterr().out
    assert "evaluate.py" in printed and "extract_embeddings.py" in printed
    assert str(tmp_path / "experiment") in printed
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "args.pkl",
        "experiment",
        "model_mdl.pt",
    ]


def test_mean_squared_error_leaves_outputs_in_their_own_units(tmp_path, default_state):
    arguments = save(tmp_path, {**ARGS, "loss": "MSE"}, default_state)
    main([*arguments, "--label_types={low: {type: score, range: [0, 4]}}"])
    experiment = open_experiment(
        {"experiment_folder": tmp_path / "experiment"}, RunOptions(device="cpu")
    )
    assert experiment.hparams["loss"] == "mse"
    embedding = torch.randn(2, 24)
    classifier = experiment.hparams["classifier"].eval()
    expected = torch.cat(
        [h.output(h.dense(embedding)) for h in classifier.heads], dim=1
    )
    assert torch.equal(classifier(embedding), expected)


def test_outputs_of_cross_entropy_are_no_scores(tmp_path, default_state):
    arguments = save(tmp_path, ARGS, default_state)
    with pytest.raises(UserError, match="can't be of type score") as raised:
        main([*arguments, "--label_types={low: {type: score, range: [0, 4]}}"])
    assert "low" in str(raised.value)
    assert not (tmp_path / "experiment").exists()


@pytest.mark.parametrize("text", ["[1]", "{a: [", "{other: {type: score}}"])
def test_label_types_that_cannot_be_are_refused(tmp_path, default_state, text):
    arguments = save(tmp_path, ARGS, default_state)
    with pytest.raises((UserError, SystemExit)):
        main([*arguments, f"--label_types={text}"])
    assert not (tmp_path / "experiment").exists()


def test_text_of_the_arguments_stays_text(tmp_path, default_state):
    marker = tmp_path / "executed"
    name = f"!apply:os.system ['touch {marker}']"
    groups = [[name, "!ref <seed>"], ["noisy"]]
    args = {**ARGS, "dataset": name, "label_groups": groups}
    main(save(tmp_path, args, default_state))
    experiment = open_experiment(
        {"experiment_folder": tmp_path / "experiment"}, RunOptions(device="cpu")
    )
    assert experiment.hparams["label_groups"] == groups
    assert experiment.hparams["dataset_name"] == name
    assert not marker.exists()


def test_both_ways_to_write_options(tmp_path, default_state):
    arguments = save(tmp_path, ARGS, default_state)
    separate = [part for text in arguments for part in text.split("=", 1)]
    main([*separate, "--dataset_name", "first"])
    values = plain_values(tmp_path / "experiment" / "hyperparams.yaml")
    assert values["dataset_name"] == "first"


def test_a_rate_that_was_left_alone_has_to_be_given(tmp_path, default_state):
    args = {**ARGS, "resample_rate": 0}
    assert "--sample_rate=HZ" in refused(tmp_path, args, default_state)
    main([*save(tmp_path, args, default_state), "--sample_rate=8000"])
    values = plain_values(tmp_path / "experiment" / "hyperparams.yaml")
    assert values["sample_rate"] == 8000


def test_another_rate_than_the_originals_is_refused(tmp_path, default_state):
    message = refused(tmp_path, ARGS, default_state, "--sample_rate=8000")
    assert "16000" in message and "8000" in message


# Labels


def without(args, *flags):
    return {flag: value for flag, value in args.items() if flag not in flags}


def labels_of(folder):
    values = plain_values(folder / "experiment" / "hyperparams.yaml")
    return values["label_groups"]


def test_a_labels_file_comes_before_the_arguments(tmp_path, default_state):
    (tmp_path / "other.txt").write_text("x,y\nz\n")
    arguments = save(tmp_path, ARGS, default_state)
    main([*arguments, f"--labels_file={tmp_path / 'other.txt'}"])
    assert labels_of(tmp_path) == [["x", "y"], ["z"]]


def test_the_arguments_own_label_file_is_read_if_it_is_here(tmp_path, default_state):
    (tmp_path / "own.txt").write_text("x,y\nz\n")
    args = without(ARGS, "label_groups", "target_labels")
    args["label_txt"] = str(tmp_path / "own.txt")
    main(save(tmp_path, args, default_state))
    assert labels_of(tmp_path) == [["x", "y"], ["z"]]


def test_a_flat_list_names_the_labels_of_one_head(tmp_path):
    args = {**ARGS, "label_groups": [["a", "b"]]}
    state = trained(args).state_dict()
    args = {**without(args, "label_groups"), "target_labels": ["p", "q"]}
    main(save(tmp_path, args, state))
    assert labels_of(tmp_path) == [["p", "q"]]


def test_unknown_labels_get_names_and_a_notice(tmp_path, capsys, default_state):
    main(save(tmp_path, without(ARGS, "label_groups"), default_state))
    assert labels_of(tmp_path) == [
        ["head 1 label 1", "head 1 label 2"],
        ["head 2 label 1"],
    ]
    assert "--labels_file" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("groups", "told"),
    [
        ([["low"], ["loud", "noisy"]], "[1, 2]"),
        ([["low", "low"], ["noisy"]], "named twice"),
        ([["low", "uid"], ["noisy"]], "'uid'"),
        ([["low", " "], ["noisy"]], "no name"),
    ],
)
def test_labels_that_cannot_be_are_refused(tmp_path, default_state, groups, told):
    message = refused(tmp_path, {**ARGS, "label_groups": groups}, default_state)
    assert told in message and "--labels_file" in message


# Refusals


def test_all_keys_that_do_not_match_are_named_at_once(tmp_path, default_state):
    state = dict(default_state)
    del state["model.fc.conv.bias"], state["classifiers.1.head.dense.bias"]
    state["model.more.weight"] = torch.zeros(1)
    state["model.asp_bn.norm.weight"] = torch.zeros(5)
    message = refused(tmp_path, ARGS, state)
    missing, unexpected, misshaped = message.splitlines()[-3:]
    assert "model.fc.conv.bias, classifiers.1.head.dense.bias" in missing
    assert missing.count(",") == 1
    assert unexpected.endswith("unexpected: model.more.weight")
    assert "model.asp_bn.norm.weight (3072 expected, 5 found)" in misshaped


def test_all_sizes_that_do_not_match_are_named_at_once(tmp_path, default_state):
    wrong = {"lin_neurons": 25, "clf_bottleneck": 13, "n_mfcc": 40, "layernorm": True}
    message = refused(tmp_path, {**ARGS, **wrong}, default_state)
    for line in (
        "lin_neurons is 25 in the arguments and 24 in the weights",
        "clf_bottleneck is 13 in the arguments and 12 in the weights",
        "n_mfcc is 40 in the arguments and 80 in the weights",
        "layernorm is True in the arguments and False in the weights",
        "classifiers.0.head.norm.weight",
    ):
        assert line in message


def test_weights_without_a_head_are_refused(tmp_path, default_state):
    state = {k: v for k, v in default_state.items() if k.startswith("model.")}
    assert "outproj" in refused(tmp_path, ARGS, state)


def test_weights_that_are_no_numbers_are_refused(tmp_path, default_state):
    broken = default_state["model.fc.conv.bias"].clone()
    broken[0] = float("nan")
    message = refused(tmp_path, ARGS, {**default_state, "model.fc.conv.bias": broken})
    assert "model.fc.conv.bias" in message and "model.fc.conv.weight" not in message


@pytest.mark.parametrize(
    ("held", "told"),
    [
        (torch.nn.Linear(2, 2), "torch.nn.modules.linear.Linear"),
        ({"state": {"a": torch.zeros(1)}}, "'state': dict"),
        ([torch.zeros(1)], "list"),
        ({}, "dict"),
    ],
    ids=["model", "nested", "list", "empty"],
)
def test_anything_but_weights_is_refused(tmp_path, held, told):
    message = refused(tmp_path, ARGS, held)
    assert told in message and "model.state_dict()" in message


@pytest.mark.parametrize(
    "content", [b"", b"nonsense", None], ids=["empty", "text", "cut"]
)
def test_a_damaged_model_is_refused(tmp_path, default_state, content):
    arguments = save(tmp_path, ARGS, default_state)
    file = tmp_path / "model_mdl.pt"
    file.write_bytes(file.read_bytes()[:-1000] if content is None else content)
    with pytest.raises(UserError, match="can't be read"):
        main(arguments)


def test_everything_that_is_missing_or_wrong_is_named(tmp_path, default_state):
    args = without(ARGS, "resample_rate", "activation", "pooling_mode")
    args |= {"clip_length": "ten", "reduce": 1, "loss": "CE"}
    message = refused(tmp_path, args, default_state)
    for told in (
        "resample_rate is missing",
        "activation is missing",
        "pooling_mode is missing",
        "clip_length should be seconds, or 0, found 'ten'",
        "reduce should be True or False, found 1",
        "loss should be BCE or MSE, found 'CE'",
    ):
        assert told in message


def test_what_does_not_count_may_be_missing(tmp_path, default_state):
    args = without(ARGS, "dataset_mean", "dataset_std", "sd_bottleneck", "epochs")
    main(save(tmp_path, args, default_state))


def test_statistics_count_with_fbank(tmp_path, default_state):
    args = {**without(ARGS, "dataset_mean"), "fbank": True, "dataset_std": 0.0}
    message = refused(tmp_path, args, default_state)
    assert "dataset_mean is missing" in message
    assert "dataset_std should be above 0, found 0.0" in message


@pytest.mark.parametrize("file", ["folder", "file"])
def test_nothing_is_written_over(tmp_path, default_state, file):
    arguments = save(tmp_path, ARGS, default_state)
    existing = tmp_path / "experiment"
    if file == "folder":
        existing.mkdir()
        existing /= "notes.txt"
    existing.write_text("mine")
    with pytest.raises(UserError, match="output_folder"):
        main(arguments)
    assert existing.read_text() == "mine"


def test_a_failure_leaves_nothing_behind(tmp_path, default_state, monkeypatch):
    def fail(*args):
        raise OSError("disk full")

    monkeypatch.setattr("local.training.experiment.resolved_yaml", fail)
    arguments = save(tmp_path, ARGS, default_state)
    with pytest.raises(OSError, match="disk full"):
        main(arguments)
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "args.pkl",
        "model_mdl.pt",
    ]


# Pickles that would do something


class Command:
    """Runs a command when it is unpickled the usual way."""

    def __init__(self, marker):
        self.marker = marker

    def __reduce__(self):
        return os.system, (f"touch {self.marker}",)


@pytest.mark.parametrize("where", ["args", "attribute", "model"])
def test_no_command_is_executed(tmp_path, default_state, where):
    marker = tmp_path / "executed"
    arguments = save(tmp_path, ARGS, default_state)
    if where == "model":
        torch.save({"a": Command(marker)}, tmp_path / "model_mdl.pt")
    else:
        held = Command(marker)
        if where == "attribute":
            held = argparse.Namespace(**ARGS, more=held)
        (tmp_path / "args.pkl").write_bytes(pickle.dumps(held))
    with pytest.raises(UserError, match=r"holds posix\.system"):
        main(arguments)
    assert not marker.exists()
    assert not (tmp_path / "experiment").exists()


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_a_namespace_of_plain_values_is_read(tmp_path, protocol):
    args = {**ARGS, "many": [f"label {i}" for i in range(300)], "own": -(2**40)}
    file = tmp_path / "args.pkl"
    file.write_bytes(pickle.dumps(argparse.Namespace(**args), protocol))
    expected = {**args, "exp_dir": "experiments/first"}
    assert read_args(file) == expected


def path_bomb(n_doublings=30):
    """A pickle of a few hundred bytes whose paths double in length."""
    join = b"cpathlib\nPosixPath\n"
    path = join + b"X\x04\0\0\0abcd\x85R"
    for _ in range(n_doublings):
        # remember it, and join it with itself
        path += b"q\0" + b"0" + join + b"h\0h\0\x86R"
    return b"\x80\x02" + path + b"."


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"", "no whole pickle"),
        (b"some text", "OBJ"),
        (pickle.dumps(argparse.Namespace(a=1))[:-5], "no whole pickle"),
        (pickle.dumps({"a": 1}), "holds a dict"),
        (pickle.dumps(argparse.Namespace), "holds a type"),
        (pickle.dumps(argparse.Namespace(a=eval)), "builtins.eval"),
        (pickle.dumps(argparse.Namespace(a=1), 0), "copy_reg._reconstructor"),
        (pickle.dumps(argparse.Namespace(a=bytearray(1)), 5), "BYTEARRAY8"),
        (pickle.dumps(argparse.Namespace(a="x" * 1_000_000)), "bytes"),
        (b"\x80\x02Nr\xff\xff\xff\xff.", "no whole pickle"),  # would reserve 64 GB
        (path_bomb(), "a path of more than 4096 characters"),
        (b"\x80\x02(X\x01\0\0\0aios\nsystem\n.", "os.system"),
    ],
)
def test_other_pickles_are_refused(tmp_path, content, told):
    file = tmp_path / "args.pkl"
    file.write_bytes(content)
    with pytest.raises(UserError) as raised:
        read_args(file)
    assert told in str(raised.value)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("option", ["model", "args"])
def test_missing_files_are_named(tmp_path, default_state, option):
    arguments = save(tmp_path, ARGS, default_state)
    with pytest.raises(UserError, match=str(tmp_path / "none")):
        main([*arguments, f"--{option}={tmp_path / 'none'}"])


def test_a_refusal_is_one_message_and_status_2(tmp_path):
    arguments = save(tmp_path, ARGS, {"a": Command(tmp_path / "executed")})
    message = failed(run_script(SCRIPT, *arguments))
    assert "posix.system" in message and len(message.splitlines()) == 1
    assert not (tmp_path / "executed").exists()
