"""training.brain: --compile, without the minutes a compiler takes."""

import pytest
import torch
from speechbrain import Stage

from local.data.samplers import BucketedBatches
from local.utils.errors import UserError
from tests.training.test_brain import batch_of, dataset, small_brain, weights

pytestmark = pytest.mark.unmeasured

LENGTHS = [0.2] * 8


@pytest.fixture(autouse=True)
def any_stance():
    yield
    torch.compiler.set_stance("default")


@pytest.fixture(scope="module")
def compiled():
    """Shapes of what a compiled graph is called with; the graph is run as it is."""
    shapes, original = [], torch.compile

    def backend(graph, inputs):
        def run(*args):
            shapes.append([list(x.shape) for x in args if hasattr(x, "shape")])
            return graph(*args)

        return run

    def compile_for_test(model, **options):
        options.pop("mode", None)
        return original(model, backend=backend, **options)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch, "compile", compile_for_test)
        yield shapes
    torch.compiler.reset()


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    """A brain that was trained, and its folder."""
    folder = tmp_path_factory.mktemp("plain")
    return fitted(folder), folder


@pytest.fixture(scope="module")
def trained(plain, compiled, tmp_path_factory):
    """The same with `--compile`, and how many times a compiled graph was called."""
    assert compiled == []
    folder = tmp_path_factory.mktemp("compiled")
    brain = fitted(folder, compile=True)
    return brain, folder, len(compiled)


def fitted(folder, **run_opts):
    """A brain after two epochs, with a validation split."""
    brain = small_brain(folder, run_opts, number_of_epochs=2)
    brain.fit(
        brain.hparams.epoch_counter,
        dataset(),
        dataset(),
        progressbar=False,
        train_loader_kwargs={"batch_sampler": BucketedBatches(LENGTHS, 2, seed=1)},
        valid_loader_kwargs={"batch_size": 4},
    )
    return brain


def test_the_yaml_compiles_what_pays(tmp_path):
    brain = small_brain(tmp_path, {"compile": True})
    assert brain.compile_module_keys == ["embedding_model"]
    assert brain.compile_using_dynamic_shape_tracing is True


def test_checkpoints_and_weights_are_as_without(plain, trained):
    brain, folder, n_calls = trained
    assert n_calls > 8  # two epochs of four batches
    assert hasattr(brain.modules["embedding_model"], "_orig_mod")
    assert torch.allclose(weights(brain), weights(plain[0]), atol=1e-6)

    def saved(folder):
        newest = max((folder / "save").glob("CKPT+*"))
        return torch.load(newest / "embedding_model.ckpt", weights_only=True)

    assert saved(folder).keys() == saved(plain[1]).keys()
    # and it can be read where nothing is compiled
    again = small_brain(folder)
    again.load_best()
    brain.load_best()
    assert torch.equal(weights(again), weights(brain))


def test_evaluation_runs_what_is_not_compiled(trained, compiled):
    brain, *_ = trained
    batch = batch_of(["a", "b", "c"])
    compiled.clear()
    brain.on_stage_start(Stage.VALID)
    brain.modules.eval()
    brain.compute_forward(batch, Stage.VALID)
    assert compiled == []
    brain.on_stage_start(Stage.TRAIN, epoch=1)
    brain.modules.train()
    brain.compute_forward(batch, Stage.TRAIN)
    assert compiled


def test_a_missing_compiler_is_told(tmp_path, monkeypatch):
    def fail(model, **options):
        raise RuntimeError("No working C++ compiler found\nand a long traceback")

    monkeypatch.setattr(torch, "compile", fail)
    with pytest.raises(UserError, match=r"No working C\+\+ compiler found\. Leave"):
        fitted(tmp_path, compile=True)
