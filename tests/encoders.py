"""Tiny encoders with random weights, in folders as transformers writes them."""

import torch
from transformers import (
    HubertConfig,
    HubertModel,
    Wav2Vec2Config,
    Wav2Vec2FeatureExtractor,
    Wav2Vec2ForCTC,
    WavLMConfig,
    WavLMModel,
    WhisperConfig,
    WhisperFeatureExtractor,
    WhisperModel,
)

SIZE, N_LAYERS = 16, 2

#: Of those that read waveforms: frames of 400 samples, 320 apart, as usual.
WAVEFORMS = {
    "hidden_size": SIZE,
    "num_hidden_layers": N_LAYERS,
    "num_attention_heads": 2,
    "intermediate_size": 24,
    "conv_dim": [8] * 7,
    "num_conv_pos_embeddings": 16,
    "num_conv_pos_embedding_groups": 2,
    "vocab_size": 8,
}

MODELS = {
    "wavlm": lambda: WavLMModel(WavLMConfig(**WAVEFORMS)),
    "hubert": lambda: HubertModel(HubertConfig(**WAVEFORMS)),
    # with a head, and as the large ones are
    "wav2vec2": lambda: Wav2Vec2ForCTC(
        Wav2Vec2Config(
            **WAVEFORMS, feat_extract_norm="layer", do_stable_layer_norm=True
        )
    ),
    "whisper": lambda: WhisperModel(
        WhisperConfig(
            d_model=SIZE,
            encoder_layers=N_LAYERS,
            decoder_layers=1,
            encoder_attention_heads=2,
            decoder_attention_heads=2,
            encoder_ffn_dim=24,
            decoder_ffn_dim=24,
            vocab_size=60,
            pad_token_id=0,
            bos_token_id=1,
            eos_token_id=2,
            decoder_start_token_id=1,
        )
    ),
}


def make_encoder(folder, kind):
    """Write an encoder of a kind of `encoder_source.KINDS`; its folder."""
    torch.manual_seed(0)
    MODELS[kind]().save_pretrained(folder)
    whisper = kind == "whisper"
    extractor = WhisperFeatureExtractor if whisper else Wav2Vec2FeatureExtractor
    extractor().save_pretrained(folder)
    return folder
