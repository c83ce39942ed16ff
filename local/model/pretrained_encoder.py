"""Pretrained speech encoders: WavLM, HuBERT, wav2vec 2.0 and the encoder of Whisper.

They are SpeechBrain's, of `speechbrain.integrations.huggingface`, as they are for one
recording at a time: of several they would share the loudest frame (Whisper), and the
padding would be seen. Here they are computed for themselves, or with others of the same
length. An exported model has a copy of this.
"""

import functools
import hashlib
import json
import tempfile
import warnings
from pathlib import Path

import numpy as np
import torch
import transformers
from speechbrain.integrations.huggingface.hubert import HuBERT
from speechbrain.integrations.huggingface.wav2vec2 import Wav2Vec2
from speechbrain.integrations.huggingface.wavlm import WavLM
from speechbrain.integrations.huggingface.whisper import Whisper
from speechbrain.utils.autocast import fwd_default_precision

from local.model.encoder_source import CONFIG, PREPROCESSOR, WEIGHTS, source_folder
from local.model.kernel_heads import RobustStandardisation
from local.utils.errors import UserError

#: Weights that only training with masked frames reads.
NOT_READ = {"masked_spec_embed"}


class _Strict:
    """Is built of a folder: with its weights, all of them, or, without any, anew."""

    def _from_pretrained(self, source, **_):
        if any(list(Path(source).glob(pattern)) for pattern in WEIGHTS):
            self.model = _loaded(source, self.config)
        else:
            self.model = self.auto_class.from_config(self.config, dtype=torch.float32)


class _Waveforms:
    """Hidden states of an encoder that reads waveforms."""

    def states(self, pieces):
        """Of pieces, [time] each: [layer, frame, size] each; of one length at once."""
        places = {}
        for i, piece in enumerate(pieces):
            places.setdefault(len(piece), []).append(i)
        states = [None] * len(pieces)
        for same in places.values():
            together = self.extract_features(torch.stack([pieces[i] for i in same]))
            for i, own in zip(same, together.unbind(1), strict=True):
                states[i] = own
        return states

    def set_window(self, window_s):
        """Pieces may have any length."""


class _Wav2Vec2(_Waveforms, _Strict, Wav2Vec2):
    """wav2vec 2.0."""


class _HuBERT(_Waveforms, _Strict, HuBERT):
    """HuBERT."""


class _WavLM(_Waveforms, _Strict, WavLM):
    """WavLM."""


class _Whisper(_Strict, Whisper):
    """Whisper's encoder, with a window that is shorter than its 30 s.

    What stands behind a recording's end changes all its frames, so the window belongs
    to the model.
    """

    def __init__(self, **settings):
        super().__init__(encoder_only=True, **settings)

    def override_config(self, config):
        """Leave the decoder out."""
        config.decoder_layers = 0
        return config

    def set_window(self, window_s):
        """Fill all pieces up to so many seconds."""
        encoder = self.model.encoder
        stride = encoder.conv1.stride[0] * encoder.conv2.stride[0]
        self.frame_samples = stride * self._hop_length
        n_frames = round(window_s * self.sampling_rate / self.frame_samples)
        positions = encoder.embed_positions.weight[:n_frames].detach().clone()
        encoder.embed_positions = torch.nn.Embedding.from_pretrained(positions)
        encoder.config.max_source_positions = n_frames

    def states(self, pieces):
        """As of waveforms; of the frames that begin in a piece, at once."""
        window = self.model.encoder.config.max_source_positions * self.frame_samples
        mels = [
            self.log_mel_spectrogram(self.pad_or_trim(piece, window)[None])
            for piece in pieces
        ]
        together = self.forward_encoder(torch.cat(mels))
        return [
            own[:, : -(-len(piece) // self.frame_samples)]
            for piece, own in zip(pieces, together.unbind(1), strict=True)
        ]


#: By what config.json calls an architecture.
BUILT = {
    "wav2vec2": _Wav2Vec2,
    "hubert": _HuBERT,
    "wavlm": _WavLM,
    "whisper": _Whisper,
}


class PretrainedEncoder(torch.nn.Module):
    """Hidden states of an encoder, which is in the checkpoint with its configuration.

    It is empty until `load_source` reads the source, for training, or a checkpoint is
    loaded, which needs the source no more.

    ssl_source: Folder of the encoder, or its name on the hub.
    ssl_window: Longest piece of a recording that the encoder reads at once, in s.
        Whisper's pieces are filled up to it with silence.
    sample_rate: Hz.
    """

    def __init__(self, ssl_source: str | None, ssl_window: float, sample_rate: int):
        super().__init__()
        self.source, self.window_s = ssl_source, ssl_window
        self.sample_rate = sample_rate
        self.encoder = self.files = None
        self.register_buffer("place", torch.zeros(0), persistent=False)

    def load_source(self):
        """Read the weights of the source.

        Raises UserError: if there are none, or others than its architecture has.
        """
        folder = source_folder(self.source)
        files = {
            name: (folder / name).read_text("utf-8") for name in (CONFIG, PREPROCESSOR)
        }
        self._build(folder, files)

    def states(self, piece: torch.Tensor) -> torch.Tensor:
        """Hidden states before the first and after each layer.

        piece: [time], at most the window.

        Returns: [layer + 1, frame, size]
        """
        return self.encoder.states([piece])[0]

    def pieces(self, waveform: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Parts of a recording of about the same length, none above the window."""
        most = round(self.window_s * self.sample_rate)
        return waveform.tensor_split(-(-len(waveform) // most))

    def get_extra_state(self):
        """What the encoder is built of, for the checkpoint: JSON as bytes, [n]."""
        return torch.tensor([*json.dumps(self.files).encode()], dtype=torch.uint8)

    def set_extra_state(self, state):
        """Build the encoder of a checkpoint; its weights are loaded after this."""
        files = json.loads(bytes(state.tolist()))
        if files == self.files:  # an optimiser may hold its weights already
            return
        with tempfile.TemporaryDirectory() as folder:
            for name in (CONFIG, PREPROCESSOR):
                Path(folder, name).write_text(files[name], "utf-8")
            self._build(Path(folder), files)

    @property
    def summary(self) -> dict:
        """Its architecture, and how many weights are "trained" and "frozen"."""
        counts = {"trained": 0, "frozen": 0}
        for weight in self.encoder.parameters():
            counts["trained" if weight.requires_grad else "frozen"] += weight.numel()
        return {"architecture": json.loads(self.files[CONFIG])["model_type"], **counts}

    @functools.cached_property
    def identity(self) -> str:
        """Digest of all that the hidden states depend on, for a feature cache."""
        digest = hashlib.sha256(f"{self.window_s:g} {self.sample_rate}".encode())
        for name, values in sorted(self.state_dict().items()):
            digest.update(name.encode() + values.cpu().numpy().tobytes())
        return digest.hexdigest()

    def _build(self, folder, files):
        transformers.utils.logging.disable_progress_bar()
        transformers.utils.logging.set_verbosity_error()
        kind = BUILT[json.loads(files[CONFIG])["model_type"]]
        with (
            torch.random.fork_rng(devices=[]),  # the rest of the model stays the same
            warnings.catch_warnings(),
        ):
            warnings.simplefilter("ignore")  # of what SpeechBrain calls
            built = kind(
                source=str(folder), save_path=str(folder), output_all_hiddens=True
            )
            built.set_window(self.window_s)
            self._choose_trained(built)
        self.encoder = built.eval().to(self.place.device)
        self.files = files

    def _choose_trained(self, built):
        """Let no training change it."""
        built.requires_grad_(False)


class LayerMeans(PretrainedEncoder):
    """The mean over a recording's frames of each layer's hidden states.

    Arguments as for `PretrainedEncoder`.
    """

    def __getstate__(self):
        """For a worker or a copy: hooks and parametrizations can't be pickled."""
        return {
            "arguments": (self.source, self.window_s, self.sample_rate),
            "weights": self.files and self.state_dict(),
        }

    def __setstate__(self, state):
        self.__init__(*state["arguments"])
        if state["weights"]:
            self.load_state_dict(state["weights"])
        self.eval()

    @fwd_default_precision(cast_inputs=torch.float32)
    @torch.no_grad()
    def forward(self, waveforms):
        """Recordings of one length, [batch, time] → [batch, layer + 1, size]"""
        return torch.stack([self._means(waveform) for waveform in waveforms])

    def _means(self, waveform):
        sums, n_frames = 0.0, 0
        for piece in self.pieces(waveform):
            states = self.states(piece)
            sums, n_frames = sums + states.sum(dim=1), n_frames + states.shape[1]
        return sums / n_frames

    def frame_lengths(self, lengths, n_samples):
        """Relative lengths of the features, [batch]: there is a frame per layer."""
        return torch.ones_like(lengths)


class LayerStandardisation(RobustStandardisation):
    """One layer's means, or the mean of all layers, standardised.

    ssl_layer: From 0, what enters the first layer; None: the mean of all.

    >>> norm = LayerStandardisation(ssl_layer=1)
    >>> norm.fit(np.array([[[9.0], [1.0]], [[9.0], [2.0]], [[9.0], [3.0]]]))
    >>> norm(torch.tensor([[[0.0], [2.0]]])).tolist()
    [[[0.0]]]
    """

    def __init__(self, ssl_layer: int | None = None):
        super().__init__()
        self.layer = ssl_layer

    def fit(self, features: np.ndarray):
        """Learn what is usual: [recording, layer, feature]."""
        super().fit(self._chosen(features))

    def forward(self, features, lengths=None):
        """[batch, layer, feature] → [batch, 1, feature]"""
        return super().forward(self._chosen(features))

    def _chosen(self, features):
        if self.layer is None:
            return features.mean(1, keepdims=True)
        return features[:, self.layer : self.layer + 1]


def _loaded(source, config):
    """The model of a folder.

    Raises UserError: for weights that can't be read or are not the architecture's.
    """
    try:
        model, report = transformers.AutoModel.from_pretrained(
            source, config=config, output_loading_info=True, dtype=torch.float32
        )
    except Exception as error:  # whatever reading damaged files may raise
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise UserError(
            f"ssl_source {source}: the weights can't be loaded ({reason}). Expected "
            f"those of the architecture that its {CONFIG} describes."
        ) from error
    prefix = f"{model.base_model_prefix}."
    parts = {name for name, _ in model.named_children()} - {"decoder"}
    surplus = {
        key  # others are of heads that an encoder has no use for
        for key in report["unexpected_keys"]
        if key.removeprefix(prefix).split(".")[0] in parts
    }
    problems = [
        f"{what}: {', '.join(sorted(keys)[:3])}"
        + (f" and {len(keys) - 3} more" if len(keys) > 3 else "")
        for what, keys in (
            ("missing", set(report["missing_keys"]) - NOT_READ),
            ("surplus", surplus),
        )
        if keys
    ]
    if problems:
        raise UserError(
            f"ssl_source {source}: the weights are not those of the architecture that "
            f"its {CONFIG} describes:",
            problems,
        )
    return model
