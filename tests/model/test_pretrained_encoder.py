"""model.pretrained_encoder, encoder_source: the right numbers, and wrong sources."""

import json
import pickle

import pytest
import torch
import transformers
from conftest import user_error
from encoders import N_LAYERS, SIZE, make_encoder
from safetensors.torch import load_file, save_file

from local.model.encoder_source import KINDS, check_source, source_folder
from local.model.front_end import RecordingFeatures
from local.model.pretrained_encoder import LayerMeans

RATE, WINDOW_S = 16000, 2.0


@pytest.fixture(scope="module")
def encoders(tmp_path_factory):
    folder = tmp_path_factory.mktemp("encoders")
    return {kind: make_encoder(folder / kind, kind) for kind in KINDS}


@pytest.fixture(params=KINDS)
def kind(request):
    return request.param


def loaded(folder):
    means = LayerMeans(str(folder), WINDOW_S, RATE)
    means.load_source()
    return means.eval()


def noise(n_samples, seed=0):
    return 0.1 * torch.randn(n_samples, generator=torch.Generator().manual_seed(seed))


def expected_means(folder, kind, waveform):
    """Of transformers itself: the model and the feature extractor of the folder."""
    model = transformers.AutoModel.from_pretrained(folder, dtype=torch.float32).eval()
    extractor = transformers.AutoFeatureExtractor.from_pretrained(folder)
    sampled = waveform.numpy()
    if kind != "whisper":
        values = extractor(sampled, sampling_rate=RATE, return_tensors="pt")
        states = model(values.input_values, output_hidden_states=True).hidden_states
        return torch.stack(states)[:, 0].mean(dim=1)
    encoder = model.encoder
    encoder.config.max_source_positions = n = round(50 * WINDOW_S)
    weight = encoder.embed_positions.weight[:n].detach()
    encoder.embed_positions = torch.nn.Embedding.from_pretrained(weight)
    settings = {"padding": "max_length", "max_length": round(WINDOW_S * RATE)}
    values = extractor(sampled, sampling_rate=RATE, return_tensors="pt", **settings)
    states = encoder(values.input_features, output_hidden_states=True).hidden_states
    own = -(-len(sampled) // 320)
    return torch.stack(states)[:, 0, :own].mean(dim=1)


@torch.no_grad()
def test_means_are_those_of_transformers(encoders, kind):
    waveform = noise(9000)
    ours = loaded(encoders[kind])(waveform[None])
    assert ours.shape == (1, N_LAYERS + 1, SIZE)
    theirs = expected_means(encoders[kind], kind, waveform)
    torch.testing.assert_close(ours[0], theirs, atol=1e-3, rtol=1e-3)


def test_a_recording_is_the_same_in_any_batch(encoders, kind):
    """Also beside one that is a thousand times louder."""
    means = loaded(encoders[kind])
    quiet, loud = 0.001 * noise(8000, seed=1), noise(8000)
    alone = means(quiet[None])
    torch.testing.assert_close(
        means(torch.stack([quiet, loud]))[:1], alone, rtol=1e-4, atol=1e-6
    )
    normalization = torch.nn.Identity()
    normalization.forward = lambda features, lengths: features
    modules = {"compute_features": means, "mean_var_norm": normalization}
    again = RecordingFeatures(modules)(quiet)
    torch.testing.assert_close(again, alone[0], rtol=1e-4, atol=1e-6)


def test_a_long_recording_is_read_in_pieces(encoders, kind):
    """5 s are three pieces of 1.67 s, whose frames count the same."""
    means = loaded(encoders[kind])
    waveform = noise(5 * RATE)
    pieces = waveform.tensor_split(3)
    each = torch.stack([means(piece[None])[0] for piece in pieces])
    torch.testing.assert_close(
        means(waveform[None])[0], each.mean(dim=0), rtol=1e-2, atol=1e-3
    )
    assert means(noise(round(0.1 * RATE))[None]).isfinite().all()


def test_silence_behind_a_recording_is_no_part_of_it(encoders):
    """What Whisper is filled up with has frames, which are left out."""
    means = loaded(encoders["whisper"])
    states = means.states(noise(3200))
    assert states.shape[1] == 10
    whole = means.states(torch.nn.functional.pad(noise(3200), (0, 28800)))
    assert whole.shape[1] == 100
    torch.testing.assert_close(whole[:, :10], states)


def test_a_checkpoint_needs_no_source(encoders, kind, tmp_path):
    means = loaded(encoders[kind])
    torch.save(means.state_dict(), tmp_path / "means.ckpt")
    again = LayerMeans("nowhere", WINDOW_S, RATE)
    state = torch.load(tmp_path / "means.ckpt", weights_only=True)
    again.load_state_dict(state, strict=True)
    waveform = noise(9000)[None]
    assert torch.equal(again.eval()(waveform), means(waveform))
    assert not any(weight.requires_grad for weight in again.parameters())


def test_a_worker_gets_it(encoders, kind):
    means = loaded(encoders[kind])
    again = pickle.loads(pickle.dumps(means))  # as a worker that is spawned
    assert torch.equal(again(noise(4000)[None]), means(noise(4000)[None]))


def test_what_a_cache_knows_it_by(encoders, kind):
    """Weights, configuration and window, not where the source lay."""
    means = loaded(encoders[kind])
    assert loaded(encoders[kind]).identity == means.identity
    assert pickle.loads(pickle.dumps(means)).identity == means.identity
    longer = LayerMeans(str(encoders[kind]), 2 * WINDOW_S, RATE)
    longer.load_source()
    assert longer.identity != means.identity
    changed = loaded(encoders[kind])
    next(changed.parameters()).add_(1e-3)
    assert changed.identity != means.identity


def test_building_it_changes_no_other_weights(encoders):
    torch.manual_seed(1)
    expected = torch.rand(3)
    torch.manual_seed(1)
    loaded(encoders["wavlm"])
    assert torch.equal(torch.rand(3), expected)


# Sources that can't be used


def values(source, **changed):
    return {
        "ssl_source": source and str(source),
        "ssl_window": 5.0,
        "sample_rate": RATE,
        "ssl_layer": None,
        **changed,
    }


def edited(folder, name, **changes):
    """Change a JSON file of a source."""
    file = folder / name
    file.write_text(json.dumps(json.loads(file.read_text()) | changes))


def test_sources_that_are_none(tmp_path, encoders):
    assert "give --ssl_source" in user_error(check_source, values(None))
    assert "Missing: config.json" in user_error(check_source, values(tmp_path))
    nowhere = user_error(check_source, values(tmp_path / "nothing"))
    assert "is no folder of a pretrained encoder" in nowhere
    bare = make_encoder(tmp_path / "bare", "wavlm")
    (bare / "model.safetensors").unlink()
    assert "weights" in user_error(check_source, values(bare))
    (bare / "config.json").write_text("{")
    (bare / "model.safetensors").touch()
    assert "config.json can't be read" in user_error(check_source, values(bare))
    assert "gs://" in user_error(check_source, values("gs://bucket/encoder"))
    for folder in encoders.values():
        check_source(values(folder))


def test_sources_of_another_kind(tmp_path, encoders):
    other = make_encoder(tmp_path / "other", "wavlm")
    edited(other, "config.json", model_type="bert")
    told = user_error(check_source, values(other))
    assert "'bert'" in told and "wavlm" in told
    edited(other, "config.json", model_type="wavlm")
    edited(other, "preprocessor_config.json", sampling_rate=8000)
    assert "--sample_rate=8000" in user_error(check_source, values(other))
    wavlm, whisper = encoders["wavlm"], encoders["whisper"]
    told = user_error(check_source, values(wavlm, sample_rate=8000))
    assert "give --sample_rate=16000" in told
    assert "0 (what" in user_error(check_source, values(wavlm, ssl_layer=N_LAYERS + 1))
    check_source(values(whisper, ssl_layer=N_LAYERS))
    assert "30 s at most" in user_error(check_source, values(whisper, ssl_window=31.0))
    check_source(values(wavlm, ssl_window=31.0))


def test_a_hub_is_not_asked():
    """The tests themselves have no more than the default of the environment."""
    told = user_error(source_folder, "nobody/has-this-encoder")
    assert "is not asked over the network" in told and "HF_HUB_OFFLINE=0" in told


def test_a_hub_that_is_not_there_leaves_nothing(monkeypatch, tmp_path):
    import huggingface_hub.constants as constants

    blobs = tmp_path / "models--nobody--encoder" / "blobs"
    blobs.mkdir(parents=True)

    def broken(*args, **kwargs):
        (blobs / "a.incomplete").write_bytes(b"half")
        raise ConnectionError("the line is dead")

    monkeypatch.setattr("huggingface_hub.snapshot_download", broken)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setenv("HF_HUB_OFFLINE", "0")
    told = user_error(source_folder, "nobody/encoder")
    assert "does not give a model" in told and "the line is dead" in told
    assert not list(blobs.iterdir())


def with_weights(folder, change):
    """Change the weights of a source, dict of tensors."""
    file = folder / "model.safetensors"
    weights = load_file(file)
    change(weights)
    save_file(weights, file, metadata={"format": "pt"})
    return folder


def test_missing_and_surplus_weights(tmp_path, kind):
    prefix = {"wav2vec2": "wav2vec2.encoder.", "whisper": "encoder."}
    prefix = prefix.get(kind, "encoder.") + "layers."
    folder = make_encoder(tmp_path / kind, kind)
    name = sorted(key for key in load_file(folder / "model.safetensors"))
    name = next(key for key in name if key.startswith(prefix + "1."))

    with_weights(folder, lambda weights: weights.pop(name))
    told = user_error(loaded, folder)
    assert "missing: " in told and name.removeprefix("wav2vec2.") in told

    def surplus(weights):
        weights[name] = torch.zeros(SIZE)
        weights[name.replace("1", "7", 1)] = torch.zeros(3)

    folder = with_weights(make_encoder(tmp_path / "more", kind), surplus)
    told = user_error(loaded, folder)
    assert "surplus: " in told or "can't be loaded" in told


def test_damaged_weights(tmp_path, encoders):
    folder = make_encoder(tmp_path / "cut", "hubert")
    file = folder / "model.safetensors"
    file.write_bytes(file.read_bytes()[:-100])
    assert "the weights can't be loaded" in user_error(loaded, folder)
    folder = make_encoder(tmp_path / "size", "hubert")
    edited(folder, "config.json", intermediate_size=32)
    assert "can't be loaded" in user_error(loaded, folder)
