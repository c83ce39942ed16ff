"""model.heads: heads, shared layer, and the way through a small ECAPA-TDNN."""

import pytest
import torch
from speechbrain.lobes.features import Fbank
from speechbrain.processing.features import InputNormalization

from local.model import heads as models
from local.model.ecapa import ECAPA_TDNN

GROUPS = [["a", "b"], ["c"], ["d", "e", "f"]]


def small_ecapa(lin_neurons=6):
    torch.manual_seed(0)
    return ECAPA_TDNN(
        input_size=20,
        channels=[8, 8, 8, 8, 24],
        kernel_sizes=[5, 3, 3, 3, 1],
        dilations=[1, 2, 3, 4, 1],
        attention_channels=4,
        res2net_scale=2,
        se_channels=4,
        lin_neurons=lin_neurons,
    )


# Heads


def test_shapes_of_the_heads():
    heads = models.ClassifierHeads(5, GROUPS, clf_bottleneck=7)
    embedding = torch.randn(4, 5)
    assert heads.hidden(embedding).shape == (4, 3, 7)
    assert heads.output(heads.hidden(embedding)).shape == (4, 6)
    assert heads(embedding).shape == (4, 6)


def test_hidden_and_output_are_the_forward():
    heads = models.ClassifierHeads(5, GROUPS, clf_bottleneck=7, layernorm=True).eval()
    embedding = torch.randn(4, 5)
    assert torch.equal(heads.output(heads.hidden(embedding)), heads(embedding))


def test_every_label_gets_the_logit_of_its_own_head():
    """Head i passes the sum of its input times i + 1; label j of it adds j / 10."""
    heads = models.ClassifierHeads(2, GROUPS, clf_bottleneck=1).eval()
    with torch.no_grad():
        for i, head in enumerate(heads.heads):
            head.dense.weight.fill_(i + 1)
            head.dense.bias.zero_()
            head.outproj.weight.fill_(1)
            head.outproj.bias.copy_(torch.arange(len(GROUPS[i])) / 10)
    logits = heads(torch.tensor([[1.0, 2.0], [-1.0, -2.0]]))
    expected = [3, 3.1, 6, 9, 9.1, 9.2]  # a, b | c | d, e, f
    assert logits[0].tolist() == pytest.approx(expected)
    # ReLU between the layers: a negative sum is 0
    assert logits[1].tolist() == pytest.approx([0, 0.1, 0, 0, 0.1, 0.2])


def test_hidden_is_before_normalisation_and_activation():
    heads = models.ClassifierHeads(3, [["a"]], clf_bottleneck=4, layernorm=True)
    embedding = torch.randn(2, 3)
    dense = heads.heads[0].dense
    expected = embedding @ dense.weight.T + dense.bias
    assert torch.allclose(heads.hidden(embedding)[:, 0], expected, atol=1e-6)
    assert (heads.hidden(embedding) < 0).any()


@pytest.mark.parametrize("name", ["relu", "ReLU", "gelu", "tanh", "LeakyReLU"])
def test_activations_by_name(name):
    (head,) = models.ClassifierHeads(3, [["a"]], activation=name).heads
    assert type(head.activation).__name__.lower() == name.lower()
    assert type(head.activation).__module__ == "torch.nn.modules.activation"


@pytest.mark.parametrize("name", ["relux", "Linear", "", None])
def test_an_unknown_activation_lists_the_known(name):
    with pytest.raises(ValueError, match=r"none of .*ReLU.*GELU"):
        models.ClassifierHeads(3, [["a"]], activation=name)


@pytest.mark.parametrize("layernorm", [True, False])
def test_layer_norm_is_optional(layernorm):
    (head,) = models.ClassifierHeads(3, [["a"]], 4, layernorm=layernorm).heads
    norms = [m for m in head.modules() if isinstance(m, torch.nn.LayerNorm)]
    assert [norm.normalized_shape for norm in norms] == ([(4,)] if layernorm else [])
    assert any(key.startswith("norm.") for key in head.state_dict()) is layernorm


def test_layer_norm_comes_before_the_activation():
    (head,) = models.ClassifierHeads(2, [["a"]], 2, layernorm=True).eval().heads
    with torch.no_grad():
        head.outproj.weight.fill_(1)
        head.outproj.bias.zero_()
    # normalised to -1 and 1, then ReLU: 0 + 1
    assert head.output(torch.tensor([[-5.0, -3.0]])).item() == pytest.approx(
        1, abs=1e-4
    )


def test_dropout_acts_in_training_only():
    heads = models.ClassifierHeads(3, [["a"]], 1000, final_dropout=0.3)
    with torch.no_grad():
        heads.heads[0].outproj.weight.fill_(1)
        heads.heads[0].outproj.bias.zero_()
    hidden = torch.ones(1, 1, 1000)
    assert heads.eval().output(hidden).item() == pytest.approx(1000)
    found = {heads.train().output(hidden).item() for _ in range(5)}
    assert len(found) > 1
    # a dropped share of 0.3, the rest scaled by 1 / 0.7: 1000 with deviation 21
    assert all(880 < value < 1120 for value in found)


def test_heads_without_labels_are_refused():
    with pytest.raises(ValueError, match="label_groups is empty"):
        models.ClassifierHeads(3, [])


# Scores


def test_outputs_of_scores_are_in_the_labels_own_units():
    torch.manual_seed(1)
    groups = [["a", "b"], ["c"]]
    plain = models.ClassifierHeads(6, groups, clf_bottleneck=5).eval()
    ranges = [None, [0, 100], [-2, 4]]
    scores = models.ClassifierHeads(6, groups, 5, label_ranges=ranges).eval()
    scores.load_state_dict(plain.state_dict())  # what they add is no weight
    embedding = torch.randn(4, 6)
    with torch.no_grad():
        raw, found = plain(embedding), scores(embedding)
    assert torch.equal(found[:, 0], raw[:, 0])
    assert found[:, 1] == pytest.approx(100 * raw[:, 1])
    assert found[:, 2] == pytest.approx(-2 + 6 * raw[:, 2])


def test_identity_is_no_activation():
    head = models.Head(3, 4, 2, "identity", layernorm=False, final_dropout=0.0)
    hidden = torch.randn(5, 4)
    assert torch.equal(head.output(hidden), head.outproj(hidden))


# Shared dense layer


def test_the_shared_layer_is_dense_with_relu():
    shared = models.SharedDense(3, 5, enabled=True)
    embedding = torch.randn(8, 3)
    expected = (embedding @ shared.dense.weight.T + shared.dense.bias).clamp(min=0)
    assert torch.allclose(shared(embedding), expected, atol=1e-6)


def test_the_shared_layer_may_be_off():
    shared = models.SharedDense(3, 5, enabled=False)
    embedding = torch.randn(8, 3)
    assert shared(embedding) is embedding
    assert not shared.state_dict()


def test_the_heads_read_the_shared_layer_or_the_embedding():
    assert models.head_input_size(192, shared_dense=True, sd_bottleneck=768) == 768
    assert models.head_input_size(192, shared_dense=False, sd_bottleneck=768) == 192


# The whole way


def small_modules(shared_dense):
    return torch.nn.ModuleDict(
        {
            "compute_features": Fbank(sample_rate=16000, n_mels=20),
            "mean_var_norm": InputNormalization(norm_type="sentence", std_norm=False),
            "embedding_model": small_ecapa(),
            "shared_dense": models.SharedDense(6, 9, shared_dense),
            "classifier": models.ClassifierHeads(9 if shared_dense else 6, GROUPS, 7),
        }
    ).eval()


@pytest.mark.parametrize("shared_dense", [True, False])
def test_shapes_from_waveforms_to_logits(shared_dense):
    modules = small_modules(shared_dense)
    lengths = torch.tensor([1.0, 0.5])
    features, lengths = models.compute_features(modules, torch.randn(2, 8000), lengths)
    assert features.shape == (2, 51, 20)  # 500 ms, a frame every 10 ms, centred
    # 51 and 25.5 frames, the latter rounded; half a frame less each
    assert (lengths * 51).tolist() == pytest.approx([50.5, 25.5], abs=1e-4)
    outputs = models.classify(modules, features, lengths)
    assert outputs.pt.shape == (2, 6)
    assert outputs.st.shape == (2, 9 if shared_dense else 6)
    assert outputs.logits.shape == (2, 6)
    assert torch.equal(outputs.st, modules["shared_dense"](outputs.pt))
    assert torch.equal(outputs.logits, modules["classifier"](outputs.st))


def test_features_are_normalised_by_the_recordings_own_mean():
    """Without its padding: a louder recording has the same features."""
    modules = small_modules(shared_dense=False)
    waveform = torch.randn(1, 8000, generator=torch.Generator().manual_seed(0))
    both = torch.cat([waveform, 10 * waveform])
    features, _ = models.compute_features(modules, both, torch.ones(2))
    assert torch.allclose(features[0], features[1], atol=1e-3)
    assert features[0, :50].mean(dim=0).abs().max() < 0.5
