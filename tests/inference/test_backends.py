"""inference.backends, inference.engine: other ways to compute, which give the same."""

import logging
import multiprocessing

import numpy as np
import pytest
import torch

from local.inference import backends
from local.inference.backends import Onnx, is_worth_it, onnx_backend
from local.inference.engine import Engine
from local.model.heads import score_features
from tests.training.test_brain import dataset, small_brain

CPU = torch.device("cpu")


@pytest.fixture
def brain(tmp_path):
    """Untrained, in evaluation mode."""
    brain = small_brain(tmp_path)
    brain.modules.eval()
    return brain


def build(brain):
    return onnx_backend(brain.modules["embedding_model"], 20, CPU, 1)


@pytest.mark.unmeasured
def test_onnx_gives_what_pytorch_does_for_any_length_and_padding(brain, caplog):
    caplog.set_level(logging.INFO)
    onnx = build(brain)
    assert isinstance(onnx, Onnx) and "backend onnx is ready" in caplog.text
    features = torch.randn(4, 300, 20, generator=torch.Generator().manual_seed(1))
    n_frames = torch.tensor([300, 5, 77, 299])
    eager = brain.plain_modules
    exported = eager | {"embedding_model": onnx}
    found = score_features(exported, features, n_frames).pt
    expected = score_features(eager, features, n_frames).pt
    alone = score_features(eager, features[2:3, :77], n_frames[2:3]).pt
    whole = score_features(exported, features, torch.full((4,), 300)).pt
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(found[2:3], alone, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(whole[:1], expected[:1], rtol=1e-5, atol=1e-6)


def test_auto_exports_where_it_is_worth_it(brain, tmp_path, monkeypatch):
    made = []
    monkeypatch.setattr(backends, "Onnx", lambda model, *_: made.append(1) or model)
    assert Engine(brain, "auto", duration_s=7200).backend == "eager" and not made
    assert Engine(brain, "auto", duration_s=7201).backend == "onnx" and made
    assert not is_worth_it(torch.device("cuda"), 1e9)
    half = small_brain(tmp_path, {"eval_precision": "bf16"})
    assert Engine(half, "auto", duration_s=7201).backend == "eager"
    assert Engine(half, "onnx").backend == "onnx"


def unavailable(*_, **__):
    raise RuntimeError("Failed to find C compiler.\nPlease specify one via CC")


def test_what_is_missing_is_told_and_done_without(brain, monkeypatch, caplog):
    monkeypatch.setattr("torch.onnx.export", unavailable)
    assert Engine(brain, "onnx").backend == "eager" and not brain.stand_ins
    (warning,) = (r.message for r in caplog.records if r.levelname == "WARNING")
    assert warning.startswith("backend onnx can't be used, eager is: Failed to find")
    assert "\n" not in warning


@pytest.mark.parametrize("spoil", [lambda x: x * 1.0001, lambda x: x * float("nan")])
def test_what_gives_something_else_is_not_used(brain, monkeypatch, caplog, spoil):
    model = brain.modules["embedding_model"]
    monkeypatch.setattr(backends, "Onnx", lambda *_: lambda x: spoil(model(x)))
    assert build(brain) is None
    assert "differs by" in caplog.text


def built_in_a_process(rank, folder, can_export, send):
    """What is used in one of two processes, nothing really exported."""
    store = f"file://{folder / 'store'}"
    torch.distributed.init_process_group("gloo", store, rank=rank, world_size=2)
    brain = small_brain(folder / str(rank))
    brain.modules.eval()
    backends.Onnx = (lambda model, *_: model) if can_export else unavailable
    send.put((rank, Engine(brain, "onnx").backend))
    torch.distributed.barrier()


@pytest.mark.parametrize(
    ("can_export", "expected"),
    [([True, True], "onnx"), ([True, False], "eager"), ([False, True], "eager")],
)
def test_processes_of_torchrun_compute_alike(tmp_path, can_export, expected):
    context = multiprocessing.get_context("fork")
    found = context.Queue()
    processes = [
        context.Process(
            target=built_in_a_process, args=(rank, tmp_path, can_export[rank], found)
        )
        for rank in range(2)
    ]
    for process in processes:
        process.start()
    names = dict(found.get(timeout=100) for _ in processes)
    for process in processes:
        process.join()
    assert names == {0: expected, 1: expected}


# Streams


@pytest.mark.parametrize("n_threads", [1, 3])
def test_streams_change_nothing_and_keep_the_order(brain, n_threads):
    before = torch.get_num_threads()
    torch.set_num_threads(n_threads)
    try:
        Engine(brain)
        assert brain.n_streams == n_threads
        order = [3, 1, 0, 2, 7, 6, 5, 4]
        data = dataset()
        found = list(brain.run_over(data, {"batch_sampler": [[i] for i in order]}))
        assert torch.get_num_threads() == n_threads
    finally:
        torch.set_num_threads(before)
    assert [batch.id for batch, _ in found] == [[data.data_ids[i]] for i in order]
    for i, (_, outputs) in zip(order, found, strict=True):
        features = data[i]["features"][None]
        expected = brain.modules["embedding_model"](features).squeeze(1).detach()
        np.testing.assert_allclose(outputs.pt, expected, rtol=1e-5, atol=1e-6)


def test_an_error_in_a_stream_is_told(brain):
    torch.set_num_threads(2)
    try:
        Engine(brain)
        brain.stand_ins["embedding_model"] = unavailable
        with pytest.raises(RuntimeError, match="compiler"):
            list(brain.run_over(dataset(), {"batch_sampler": [[i] for i in range(8)]}))
    finally:
        torch.set_num_threads(1)
