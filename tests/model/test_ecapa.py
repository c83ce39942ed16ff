"""model.ecapa: SpeechBrain's numbers with less work, pooling in fp32."""

from functools import partial

import pytest
import torch
from speechbrain.lobes.models import ECAPA_TDNN as stock_ecapa

from local.model.ecapa import ECAPA_TDNN, attentive_statistics
from tests.model.test_heads import small_ecapa

LENGTHS = torch.tensor([0.999, 0.499, 0.09])


def outputs_and_gradients(model, features, lengths):
    """The embedding, and the gradient of its sum by every weight and the features."""
    features = features.clone().requires_grad_()
    embedding = model(features, lengths)
    (embedding**2).sum().backward()
    gradients = [weight.grad for weight in model.parameters()]
    return [embedding, features.grad, *gradients]


@pytest.mark.parametrize("lengths", [None, LENGTHS], ids=["whole", "padded"])
@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("global_context", [True, False])
def test_outputs_and_gradients_are_speechbrains(lengths, training, global_context):
    torch.manual_seed(1)
    sizes = {"channels": [16, 16, 16, 16, 24], "attention_channels": 4}
    sizes |= {"lin_neurons": 6, "global_context": global_context}
    stock = stock_ecapa.ECAPA_TDNN(20, **sizes).double().train(training)
    lean = ECAPA_TDNN(20, **sizes).double().train(training)
    lean.load_state_dict(stock.state_dict())
    features = torch.randn(3, 100, 20, dtype=torch.float64)
    expected = outputs_and_gradients(stock, features, lengths)
    found = outputs_and_gradients(lean, features, lengths)
    assert len(found) == len(expected) > 50
    for one, other in zip(found, expected, strict=True):
        assert torch.allclose(one, other, rtol=1e-4, atol=1e-7)
    for (name, one), other in zip(
        lean.state_dict().items(), stock.state_dict().values(), strict=True
    ):
        assert torch.allclose(one, other, rtol=1e-6), name


def pooled(dtype, keep, scale):
    """Output of the pooling under autocast, of features around `scale`."""
    pooling = small_ecapa().eval().asp
    pool = partial(attentive_statistics, pooling) if keep else pooling
    generator = torch.Generator().manual_seed(0)
    features = scale * torch.randn(2, 24, 500, generator=generator)
    with torch.no_grad(), torch.autocast("cpu", dtype, enabled=dtype is not None):
        return pool(features, torch.tensor([0.999, 0.499]))


def test_pooling_stays_in_fp32_under_mixed_precision():
    expected = pooled(None, keep=False, scale=30)
    found = pooled(torch.bfloat16, keep=True, scale=30)
    assert found.dtype == torch.float32
    assert torch.isfinite(found).all()
    assert torch.allclose(found, expected, rtol=1e-5, atol=1e-5)
    unkept = pooled(torch.bfloat16, keep=False, scale=30)
    assert (unkept.float() - expected).abs().max() > 1e-2, "there is nothing to keep"


def test_an_embedding_under_mixed_precision_is_close():
    model = small_ecapa().eval()
    features = torch.randn(2, 200, 20, generator=torch.Generator().manual_seed(0))
    lengths = torch.tensor([0.999, 0.499])
    with torch.no_grad():
        expected = model(features, lengths)
        with torch.autocast("cpu", torch.bfloat16):
            found = model(features, lengths).float()
    assert torch.isfinite(found).all()
    similarity = torch.cosine_similarity(found, expected, dim=-1)
    assert (similarity > 0.99).all()


@pytest.mark.parametrize("kernel_sizes", [[5, 3, 3, 3, 1], [3, 5, 3, 3, 3]])
def test_the_same_seed_gives_speechbrains_weights(kernel_sizes):
    models = []
    for kind in (stock_ecapa.ECAPA_TDNN, ECAPA_TDNN):
        torch.manual_seed(3)
        models.append(kind(20, channels=[16] * 5, kernel_sizes=kernel_sizes))
    stock, lean = (model.state_dict() for model in models)
    assert list(stock) == list(lean)
    assert all(torch.equal(stock[name], lean[name]) for name in stock)
    assert models[1].margin == 4  # dilation 4, or kernel 5 with dilation 2
