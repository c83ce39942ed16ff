"""training.brain and experiment: steps, early stopping, which weights count."""

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from speechbrain import Stage
from speechbrain.dataio.batch import PaddedBatch
from speechbrain.dataio.dataset import DynamicItemDataset
from speechbrain.lobes.features import Fbank
from speechbrain.processing.features import InputNormalization

from local.data.samplers import BucketedBatches
from local.model import heads
from local.model.front_end import RecordingFeatures
from local.training.brain import ClinicalBrain
from local.training.checkpoints import AtomicCheckpointer, EarlyStopping
from local.training.experiment import open_experiment
from local.training.scoring import Scores
from local.training.selection import selection_value
from local.utils.errors import RunError, UserError
from local.utils.yaml_files import load_hparams, resolved_yaml

YAML = Path(__file__).parents[2] / "hparams" / "train.yaml"
NAN = float("nan")
FEATURES = RecordingFeatures(
    {
        "compute_features": Fbank(sample_rate=8000, n_mels=20),
        "mean_var_norm": InputNormalization(norm_type="sentence", std_norm=False),
    }
)
UIDS = ["m", "b", "z", "a", "k", "c", "y", "d"]
TARGETS = [[i % 2, NAN if i == 2 else i // 2 % 2, i // 4] for i in range(8)]


def overrides(folder, **more):
    """Settings of a model that is built and run within a moment."""
    return {
        "output_folder": str(folder),
        "label_groups": [["low", "loud"], ["noisy"]],
        "sample_rate": 8000,
        "n_mels": 20,
        "channels": [8, 8, 8, 8, 24],
        "attention_channels": 4,
        "lin_neurons": 6,
        "sd_bottleneck": 7,
        "clf_bottleneck": 5,
        "final_dropout": 0.0,
        **more,
    }


def small_brain(folder, run_opts=None, **more):
    """A ClinicalBrain over the modules of train.yaml, untrained."""
    hparams = load_hparams(YAML, overrides(folder, **more))
    return ClinicalBrain(
        modules=hparams["modules"],
        opt_class=hparams["opt_class"],
        hparams=hparams,
        run_opts={"device": "cpu", **(run_opts or {})},
        checkpointer=hparams["checkpointer"],
    )


def dataset(uids=UIDS):
    """Noise of 0.2 s per uid, as `dataio.build_dataset` would give it."""
    generator = torch.Generator().manual_seed(1)
    data = {
        uid: {
            "waveform": 0.1 * torch.randn(1600, generator=generator),
            "target": torch.tensor(targets, dtype=torch.float32),
        }
        for uid, targets in zip(UIDS, TARGETS, strict=True)
    }
    for item in data.values():
        item["features"] = FEATURES(item["waveform"])
    return DynamicItemDataset(
        {uid: data[uid] for uid in uids},
        output_keys=["id", "waveform", "features", "target"],
    )


def optimised(folder, run_opts=None, **more):
    """A brain that is ready for its first step."""
    brain = small_brain(folder, run_opts, **more)
    brain.n_train_batches = 4
    brain.init_optimizers()
    brain.on_stage_start(Stage.TRAIN, epoch=1)
    return brain


def gradients(brain):
    return torch.cat([p.grad.flatten() for p in brain.modules.parameters()])


def weights(brain):
    return torch.cat([p.detach().flatten() for p in brain.modules.parameters()])


def set_gradients(brain, value):
    for parameter in brain.modules.parameters():
        parameter.grad = torch.full_like(parameter, value)


def gradients_at_step(brain):
    """A list that gets all gradients whenever the optimiser steps."""
    seen = []
    brain.optimizer.register_step_pre_hook(lambda *_: seen.append(gradients(brain)))
    return seen


# What training changes


def batch_of(uids):
    data = dataset(uids)
    return PaddedBatch([data[i] for i in range(len(uids))])


def objective(brain, uids=UIDS, stage=Stage.TRAIN):
    """The loss of a batch in evaluation mode, so that no dropout differs."""
    brain.modules.eval()
    batch = batch_of(uids)
    return brain.compute_objectives(brain.compute_forward(batch, stage), batch, stage)


def test_labels_are_mixed_with_their_waveforms(tmp_path):
    """The loss is the one of the mixed waveforms against the mixed targets."""
    brain = optimised(tmp_path, mixup=1.0, mixup_equal_level=False)
    found = objective(brain)
    mix, batch = brain.hparams.mix, batch_of(UIDS)
    waveforms, lengths = batch.waveform
    mixed = mix(waveforms, lengths, batch.id, 1)
    assert not torch.equal(mixed, waveforms)
    targets = mix.mix_targets(batch.target.data, batch.id, 1)
    features = heads.compute_features(brain.modules, mixed, lengths)
    logits = heads.classify(brain.modules, *features).logits
    rated = ~targets.isnan()
    assert rated.sum() < 24  # one label is not rated in one, and so in its mixtures
    expected = torch.nn.functional.binary_cross_entropy_with_logits(
        logits[rated], targets[rated]
    )
    assert found.item() == pytest.approx(expected.item(), rel=1e-5)


@pytest.mark.parametrize(
    "change", [{"gauss": 1.0}, {"mixup": 1.0}, {"freqm": 9}, {"noise": True}]
)
def test_augmentation_is_for_training_only(tmp_path, change):
    plain, changed = optimised(tmp_path / "a"), optimised(tmp_path / "b", **change)
    assert torch.equal(weights(plain), weights(changed))
    assert objective(plain).item() != objective(changed).item()
    for brain in (plain, changed):
        brain.on_stage_start(Stage.VALID)
    valid = [objective(brain, stage=Stage.VALID).item() for brain in (plain, changed)]
    assert valid[0] == valid[1]


def test_validation_tells_of_classes_and_of_scores(tmp_path):
    brain = small_brain(tmp_path, label_ranges=[None, [0, 4], None])
    brain.on_stage_start(Stage.VALID)
    logits = torch.tensor([[0.0, 1.0, 1.0], [1.0, 3.5, 2.0]])
    targets = torch.tensor([[0.0, 2.0, NAN], [1.0, 3.0, 1.0]])
    brain.scores = Scores(["a", "b"], logits.numpy(), targets.numpy())
    found = brain._validation_stats(epoch=1)
    assert found["auroc low"] == found["macro_auroc"] == 1
    assert found["auroc noisy"] is None  # one class
    assert found["mae loud"] == pytest.approx(0.75)  # of 1 and 0.5
    assert "mae low" not in found and "auroc loud" not in found


# Clipping


def test_the_norm_over_all_weights_together_is_clipped(tmp_path):
    brain = optimised(tmp_path, max_grad_norm=0.1)
    seen = gradients_at_step(brain)
    set_gradients(brain, 0.5)
    brain.optimizers_step()
    (clipped,) = seen
    assert clipped.norm().item() == pytest.approx(0.1, rel=1e-4)
    # the direction stays: all elements are alike, before and after
    each = 0.1 / math.sqrt(len(clipped))
    assert clipped.min().item() == pytest.approx(each, rel=1e-4)
    assert clipped.max().item() == pytest.approx(each, rel=1e-4)


def test_gradients_below_the_limit_stay(tmp_path):
    brain = optimised(tmp_path, max_grad_norm=0.1)
    seen = gradients_at_step(brain)
    set_gradients(brain, 1e-5)
    brain.optimizers_step()
    assert torch.equal(seen[0], torch.full_like(seen[0], 1e-5))


@pytest.mark.parametrize("off", [0, -1])
def test_a_norm_of_0_or_less_switches_clipping_off(tmp_path, off):
    brain = optimised(tmp_path, max_grad_norm=off)
    seen = gradients_at_step(brain)
    set_gradients(brain, 0.5)
    brain.optimizers_step()
    assert torch.equal(seen[0], torch.full_like(seen[0], 0.5))


# Accumulation


def test_the_last_incomplete_group_of_batches_is_a_step_too(tmp_path):
    brain = small_brain(
        tmp_path,
        {"grad_accumulation_factor": 3},
        number_of_epochs=2,
        scheduler="onecycle",
    )
    brain.validates = False
    build, steps = brain.opt_class, []

    def build_and_watch(parameters):
        optimizer = build(parameters)
        optimizer.register_step_pre_hook(lambda *_: steps.append(brain.step))
        return optimizer

    brain.opt_class = build_and_watch
    brain.fit(
        brain.hparams.epoch_counter,
        dataset(),
        progressbar=False,
        train_loader_kwargs={"batch_sampler": BucketedBatches([0.2] * 8, 2, seed=1)},
    )
    assert steps == [3, 4, 3, 4]  # 4 batches in each of 2 epochs
    assert brain.optimizer_step == 4
    # the schedule counts steps, not batches, and has come to its end
    assert brain.lr_scheduler.total_steps == brain.lr_scheduler.last_epoch == 4


def test_accumulated_gradients_are_a_mean_over_batches(tmp_path):
    """Three times the same batch is as good as that batch once."""
    seen = {}
    for factor in (1, 3):
        options = {"grad_accumulation_factor": factor}
        brain = optimised(tmp_path, options, max_grad_norm=0)
        seen[factor] = gradients_at_step(brain)
        brain.modules.train()
        data = dataset(UIDS[:3])
        for brain.step in range(1, factor + 1):
            brain.fit_batch(PaddedBatch([data[i] for i in range(3)]))
    (once,), (thrice,) = seen[1], seen[3]
    assert once.norm() > 0
    torch.testing.assert_close(thrice, once, rtol=1e-3, atol=1e-6)


# Gradients that are no numbers


@pytest.mark.parametrize("value", [NAN, math.inf])
def test_gradients_that_are_no_numbers_change_no_weight(tmp_path, value):
    brain = optimised(tmp_path)
    before = weights(brain)
    set_gradients(brain, 0.1)
    next(brain.modules.parameters()).grad.view(-1)[0] = value
    brain.optimizers_step()
    assert torch.equal(weights(brain), before)
    assert brain.skipped_batches == 1
    # and nothing of them is left for the next step
    set_gradients(brain, 0.1)
    brain.optimizers_step()
    assert brain.skipped_batches == 1
    assert weights(brain).isfinite().all()
    assert not torch.equal(weights(brain), before)


def test_more_such_steps_than_the_patience_end_the_run(tmp_path):
    brain = optimised(tmp_path, {"nonfinite_patience": 2})
    for epoch in (1, 2):  # every epoch counts anew
        brain.on_stage_start(Stage.TRAIN, epoch)
        for _ in range(2):
            set_gradients(brain, NAN)
            brain.optimizers_step()
    set_gradients(brain, NAN)
    with pytest.raises(RunError, match="3 steps of epoch 2"):
        brain.optimizers_step()


@pytest.mark.parametrize("factor", [1, 2])
def test_a_batch_without_numbers_leaves_no_trace(tmp_path, factor):
    brain = optimised(tmp_path, {"grad_accumulation_factor": factor})
    brain.on_stage_start(Stage.TRAIN, 1)
    brain.modules.train()
    batches = [batch_of(UIDS[k : k + 2]) for k in range(0, 8, 2)]
    broken = batches[1]
    broken.waveform.data[0] = NAN
    everything = brain.modules.state_dict
    for brain.step in range(1, factor + 1):
        brain.fit_batch(batches[0])
    before = {name: value.clone() for name, value in everything().items()}
    for brain.step in range(factor + 1, 2 * factor + 1):
        brain.fit_batch(broken if brain.step == 2 * factor else batches[2])
    assert brain.skipped_batches == 1
    for name, value in everything().items():
        assert torch.equal(value, before[name]), name
    for brain.step in range(2 * factor + 1, 3 * factor + 1):
        brain.fit_batch(batches[3])
    assert brain.skipped_batches == 1
    after = everything()
    assert all(value.isfinite().all() for value in after.values())
    assert any(not torch.equal(after[name], before[name]) for name in before)


def test_the_message_names_the_recordings_of_the_batch(tmp_path):
    brain = optimised(tmp_path, {"nonfinite_patience": 0})
    brain.on_stage_start(Stage.TRAIN, 1)
    brain.step = 1
    brain.fit_batch(batch_of(UIDS[:2]))
    broken = batch_of(UIDS[2:4])
    broken.waveform.data[0] = math.inf
    brain.step = 2
    with pytest.raises(RunError, match=r"1 steps of epoch 1 had .*: z, a$"):
        brain.fit_batch(broken)


# Early stopping


def stopper(patience):
    return EarlyStopping(
        limit=10, limit_to_stop=patience, limit_warmup=0, direction="min"
    )


def stopper_after(folder, scores, patience):
    """An early stopper that has seen one score per epoch, saved in a folder."""
    counter = stopper(patience)
    for score in scores:
        next(counter)
        counter.update_metric(score)
    AtomicCheckpointer(folder, {"counter": counter}).save_checkpoint()


def loaded_stopper(folder, patience):
    counter = stopper(patience)
    AtomicCheckpointer(folder, {"counter": counter}).recover_if_possible()
    return counter


def test_early_stopping_survives_a_checkpoint(tmp_path):
    stopper_after(tmp_path, [0.5, 0.9, 0.8], patience=3)
    counter = loaded_stopper(tmp_path, patience=3)
    assert (counter.best_score, counter.best_limit, counter.current) == (0.5, 1, 3)
    assert next(counter) == 4
    counter.update_metric(0.7)  # no better than 0.5: the third epoch without
    assert list(counter) == []


def test_an_improvement_after_loading_is_counted_from_there(tmp_path):
    stopper_after(tmp_path, [0.5, 0.9, 0.8], patience=3)
    counter = loaded_stopper(tmp_path, patience=3)
    next(counter)
    counter.update_metric(0.4)
    assert (counter.best_score, counter.best_limit) == (0.4, 4)
    assert next(counter) == 5


def test_less_patience_than_before_stops_a_resumed_run(tmp_path):
    stopper_after(tmp_path, [0.5, 0.9, 0.8], patience=3)
    assert list(loaded_stopper(tmp_path, patience=2)) == []


def test_more_patience_than_before_goes_on_with_a_stopped_run(tmp_path):
    stopper_after(tmp_path, [0.5, 0.9, 0.8], patience=2)
    assert list(loaded_stopper(tmp_path, patience=2)) == []
    assert next(loaded_stopper(tmp_path, patience=3)) == 4


# Which checkpoint is the best


@pytest.mark.parametrize(
    ("best_checkpoint", "macro_auroc", "expected"),
    [
        ("loss", 0.75, 0.3),
        ("loss", None, 0.3),
        ("macro_auroc", 0.75, 0.25),
        ("macro_auroc", 1.0, 0.0),
        ("macro_auroc", None, 1.0),  # as bad as the worst
    ],
)
def test_selection_value(best_checkpoint, macro_auroc, expected):
    assert selection_value(best_checkpoint, 0.3, macro_auroc) == expected


def set_logits(brain, logits):
    """Let the heads answer every recording with these numbers."""
    first, second = brain.modules["classifier"].heads
    with torch.no_grad():
        for head, bias in ((first, logits[:2]), (second, logits[2:])):
            head.outproj.weight.zero_()
            head.outproj.bias.copy_(torch.tensor(bias))


def save(brain, logits, selection):
    set_logits(brain, logits)
    return brain.checkpointer.save_checkpoint(meta={"selection": selection})


def score(brain, data):
    return brain.score(data, {"batch_size": 1})


@pytest.mark.parametrize("selections", [(0.2, 0.6), (0.6, 0.2)])
def test_the_best_checkpoint_is_scored_and_not_the_newest(tmp_path, selections):
    brain = small_brain(tmp_path)
    logits = {selections[0]: [1.0, 2.0, 3.0], selections[1]: [-1.0, -2.0, -3.0]}
    saved = {value: save(brain, logits[value], value) for value in selections}
    set_logits(brain, [9.0, 9.0, 9.0])
    brain._save_intra_epoch_ckpt()
    scores = score(brain, dataset(UIDS[:2]))
    assert scores.logits.tolist() == [logits[0.2]] * 2
    assert brain.checkpoint.path == saved[0.2].path


def test_without_a_checkpoint_nothing_is_scored(tmp_path):
    brain = small_brain(tmp_path)
    with pytest.raises(UserError, match="There is no checkpoint"):
        score(brain, dataset(UIDS[:2]))


def test_a_checkpoint_from_within_an_epoch_is_never_scored(tmp_path):
    brain = small_brain(tmp_path)
    brain._save_intra_epoch_ckpt()
    assert len(brain.checkpointer.list_checkpoints()) == 1
    with pytest.raises(UserError, match="There is no checkpoint"):
        score(brain, dataset(UIDS[:2]))


def test_scores_come_in_the_order_of_the_dataset(tmp_path):
    brain = small_brain(tmp_path)
    brain.checkpointer.save_checkpoint(meta={"selection": 0.5})
    scores = score(brain, dataset())
    assert scores.uids == UIDS
    np.testing.assert_array_equal(scores.targets, np.float32(TARGETS))
    assert np.isnan(scores.targets).sum() == 1
    assert scores.logits.shape == (8, 3)
    assert len(np.unique(scores.logits[:, 0])) == 8
    backwards = score(brain, dataset(UIDS[::-1]))
    assert backwards.uids == UIDS[::-1]
    np.testing.assert_array_equal(backwards.logits[::-1], scores.logits)


# Waveforms that are no dataset


def test_waveforms_alone_are_scored_as_a_dataset_is(tmp_path):
    brain = small_brain(tmp_path, final_dropout=0.5)
    brain.checkpointer.save_checkpoint(meta={"selection": 0.5})
    expected = score(brain, dataset()).logits
    brain.modules.train()
    state = [buffer.clone() for buffer in brain.modules.buffers()]
    data = dataset()
    waveforms = torch.stack([data[i]["waveform"] for i in range(len(data))])
    found = brain.score_waveforms(waveforms)
    assert found.dtype == torch.float32 and not found.requires_grad
    np.testing.assert_allclose(found.numpy(), expected, rtol=1e-4, atol=1e-6)
    for before, after in zip(state, brain.modules.buffers(), strict=True):
        assert torch.equal(before, after)  # no statistics of a batch are learned
    # augmentation, mixup and the rest of training stay away
    np.testing.assert_array_equal(brain.score_waveforms(waveforms), found)


def test_waveforms_are_scored_at_the_precision_of_evaluation(tmp_path):
    brain = small_brain(tmp_path, {"eval_precision": "bf16"})
    brain.checkpointer.save_checkpoint(meta={"selection": 0.5})
    waveforms = torch.stack([item["waveform"] for item in dataset()])
    found = brain.score_waveforms(waveforms).numpy()
    np.testing.assert_allclose(found, score(brain, dataset()).logits, atol=0.01)
    exact = small_brain(tmp_path)
    exact.load_best()
    assert np.abs(exact.score_waveforms(waveforms).numpy() - found).max() > 1e-5


def test_one_process_alone_can_score_waveforms(tmp_path, monkeypatch):
    """The wrappers of torchrun, whose forward waits for the others, are left out."""

    class Waiting(torch.nn.Module):
        def __init__(self, module):
            super().__init__()
            self.module = module

        def forward(self, *_):
            raise AssertionError("this would wait for the other processes")

    brain = small_brain(tmp_path)
    waveforms = torch.stack([item["waveform"] for item in dataset()])
    expected = brain.score_waveforms(waveforms)
    monkeypatch.setattr(torch.nn.parallel, "DistributedDataParallel", Waiting)
    for name, module in brain.modules.items():
        brain.modules[name] = Waiting(module)
    np.testing.assert_array_equal(brain.score_waveforms(waveforms), expected)


# Opening an experiment


def write_yaml(folder, **changes):
    """The yaml that training leaves, or one that was changed since."""
    text = resolved_yaml(YAML, overrides(folder, **changes))
    (folder / "hyperparams.yaml").write_text(text, encoding="utf-8")


def test_an_experiment_is_opened_where_it_lies_now(tmp_path, caplog):
    """And SpeechBrain tells nothing of it."""
    made = tmp_path / "made"
    save(small_brain(made), [1.0, 2.0, 3.0], selection=0.5)
    write_yaml(made)
    moved = made.rename(tmp_path / "moved")
    caplog.clear()
    experiment = open_experiment({"experiment_folder": str(moved)}, {"device": "cpu"})
    assert not caplog.records
    (checkpoint,) = (moved / "save").glob("CKPT*")
    assert experiment.checkpoint == checkpoint.name
    scores = score(experiment.brain, dataset(UIDS[:1]))
    assert scores.logits.tolist() == [[1.0, 2.0, 3.0]]
    assert not made.exists()


def test_an_experiment_of_before_opens_and_says_the_same(tmp_path):
    """It names SpeechBrain's ECAPA-TDNN, and a key that there is no more."""
    brain = small_brain(tmp_path)
    brain.checkpointer.save_checkpoint(meta={"selection": 0.5})
    write_yaml(tmp_path)
    file = tmp_path / "hyperparams.yaml"
    ours, theirs = "local.model.ecapa", "speechbrain.lobes.models.ECAPA_TDNN"
    text = file.read_text().replace(ours, theirs) + "decoded_cache: /a/folder\n"
    file.write_text(text)
    options = {"experiment_folder": str(tmp_path)}
    before = open_experiment(options, {"device": "cpu"}).brain
    assert theirs in text and ours not in text
    uneven = dataset()
    for i, item in enumerate(uneven.data.values()):
        item["features"] = item["features"][: 10 + i]
    kwargs = {"batch_size": 4}
    actual, expected = before.score(uneven, kwargs), brain.score(uneven, kwargs)
    np.testing.assert_allclose(actual.logits, expected.logits, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(
    "change",
    [
        {"lin_neurons": 8},
        {"label_groups": [["low", "loud", "noisy"]]},
        {"shared_dense": True},
    ],
    ids=lambda change: next(iter(change)),
)
def test_a_checkpoint_that_does_not_fit_its_yaml_is_refused(tmp_path, change):
    save(small_brain(tmp_path), [1.0, 2.0, 3.0], selection=0.5)
    write_yaml(tmp_path, **change)
    with pytest.raises(UserError, match=r"does not fit .*hyperparams\.yaml"):
        open_experiment({"experiment_folder": str(tmp_path)}, {"device": "cpu"})


def test_an_experiment_that_ended_within_its_first_epoch_is_refused(tmp_path):
    small_brain(tmp_path)._save_intra_epoch_ckpt()
    write_yaml(tmp_path)
    with pytest.raises(UserError, match="no checkpoint"):
        open_experiment({"experiment_folder": str(tmp_path)}, {"device": "cpu"})
