"""inference.backends, inference.engine: other ways to compute, which give the same."""

import logging
import multiprocessing

import numpy as np
import pytest
import torch

from local.inference import backends
from local.inference.backends import Eager, Onnx, build_backend
from local.inference.engine import Engine
from local.model.own_ends import OwnEnds
from tests.training.test_brain import dataset, small_brain

CPU = torch.device("cpu")


@pytest.fixture
def brain(tmp_path):
    """Untrained, in evaluation mode."""
    brain = small_brain(tmp_path)
    brain.modules.eval()
    return brain


def build(name, brain, duration_s=0.0):
    model = brain.modules["embedding_model"]
    return build_backend(name, model, brain.own_ends, 20, CPU, duration_s)


@pytest.mark.unmeasured
def test_onnx_gives_what_pytorch_does_for_any_length_and_padding(brain, caplog):
    caplog.set_level(logging.INFO)
    onnx, eager = build("onnx", brain), build("eager", brain)
    assert isinstance(onnx, Onnx) and "backend onnx is ready" in caplog.text
    features = torch.randn(4, 300, 20, generator=torch.Generator().manual_seed(1))
    n_frames = torch.tensor([300, 5, 77, 299])
    with torch.inference_mode():
        found, expected = onnx(features, n_frames), eager(features, n_frames)
        alone = eager(features[2:3, :77], n_frames[2:3])
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(found[2:3], alone, rtol=1e-5, atol=1e-6)


def test_auto_exports_where_it_is_worth_it(brain, monkeypatch):
    made = []
    monkeypatch.setattr(backends, "Onnx", lambda *_: made.append(1) or Eager(*_))
    assert build("auto", brain, duration_s=7200).name == "eager" and not made
    build("auto", brain, duration_s=7201)
    assert made


def unavailable(*_, **__):
    raise RuntimeError("Failed to find C compiler.\nPlease specify one via CC")


def test_what_is_missing_is_told_and_done_without(brain, monkeypatch, caplog):
    monkeypatch.setattr("torch.onnx.export", unavailable)
    backend = build("onnx", brain)
    assert type(backend) is Eager
    (warning,) = (r.message for r in caplog.records if r.levelname == "WARNING")
    assert warning.startswith("backend onnx can't be used, eager is: Failed to find")
    assert "\n" not in warning


@pytest.mark.parametrize("spoil", [lambda x: x * 1.0001, lambda x: x * float("nan")])
def test_what_gives_something_else_is_not_used(brain, monkeypatch, caplog, spoil):
    class Wrong(Eager):
        def __call__(self, features, n_frames):
            return spoil(super().__call__(features, n_frames))

    model = brain.modules["embedding_model"]
    wrong = Wrong(model, brain.own_ends)
    monkeypatch.setattr(backends, "Onnx", lambda *_: wrong)
    assert type(build("onnx", brain)) is Eager
    assert "differs by" in caplog.text


class Exported(Eager):
    """PyTorch under the name of what is made of it."""

    name = "onnx"

    def __init__(self, embedding_model, probe):
        super().__init__(embedding_model, OwnEnds(embedding_model))


def built_in_a_process(rank, folder, can_export, send):
    """What `build_backend` gives in one of two processes, nothing really exported."""
    store = f"file://{folder / 'store'}"
    torch.distributed.init_process_group("gloo", store, rank=rank, world_size=2)
    brain = small_brain(folder / str(rank))
    brain.modules.eval()
    backends.Onnx = Exported if can_export else unavailable
    send.put((rank, build("onnx", brain).name))
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
        engine = Engine(brain)
        assert engine.n_streams == n_threads
        order = [3, 1, 0, 2, 7, 6, 5, 4]
        data = dataset()
        found = list(engine.run(data, {"batch_sampler": [[i] for i in order]}))
        assert torch.get_num_threads() == n_threads
    finally:
        torch.set_num_threads(before)
    assert [ids for ids, _ in found] == [[data.data_ids[i]] for i in order]
    for i, (_, outputs) in zip(order, found, strict=True):
        features = data[i]["features"][None]
        expected = brain.modules["embedding_model"](features).squeeze(1).detach()
        np.testing.assert_allclose(outputs.pt, expected, rtol=1e-5, atol=1e-6)


def test_an_error_in_a_stream_is_told(brain, monkeypatch):
    torch.set_num_threads(2)
    try:
        engine = Engine(brain)
        monkeypatch.setattr(engine, "backend", unavailable)
        with pytest.raises(RuntimeError, match="compiler"):
            list(engine.run(dataset(), {"batch_sampler": [[i] for i in range(8)]}))
    finally:
        torch.set_num_threads(1)
