"""A pretrained speech encoder that training changes, and what chooses it.

`hparams/train_ssl.yaml` is two models. Heads alone learn, at once, from hidden states
that stay as they are; or `ssl_trainable` or `lora_rank` let gradients change the
encoder too. The functions here take these two keys, and give the module that has a
place then. An exported model has a copy of this.
"""

import torch
from speechbrain.lobes.models.ECAPA_TDNN import AttentiveStatisticsPooling
from speechbrain.nnet.adapters import AdaptedModel, LoRA

from local.model.ecapa import attentive_statistics
from local.model.encoder_source import ALL, ATTENTIVE, is_tuned
from local.model.front_end import frame_counts
from local.model.heads import ClassifierHeads, head_input_size
from local.model.kernel_heads import KernelHeads
from local.model.pretrained_encoder import (
    LayerMeans,
    LayerStandardisation,
    PretrainedEncoder,
)

#: Feed-forward layers of a transformer's layers, by their names in transformers.
ADAPTED = ["*_dense", "*.fc[12]"]


class Waveforms(torch.nn.Module):
    """The front end of an encoder that reads waveforms."""

    def forward(self, waveforms):
        """[batch, time] → [batch, time, 1]"""
        return waveforms.unsqueeze(2)


class TunedEncoder(PretrainedEncoder):
    """Embeddings by an encoder of which some or all is trained.

    A softmax over layers, pooling over a recording's own frames, standardisation and a
    linear layer follow it. It is always as in evaluation: without dropout, and without
    layers left out.

    ssl_source, ssl_window, sample_rate: As for `PretrainedEncoder`.
    ssl_trainable: How many of the last layers that are read are trained, `none` or
        `all`: then what is before them, too.
    lora_rank: Rank of adapters beside the feed-forward layers, which alone are trained
        then; 0: there are none.
    ssl_layer: From 0, what enters the first layer; None: all, with learned weights.
    ssl_pooling: `mean` or `attentive`: learned weights for frames, and their deviation.
    attention_channels: Of that.
    lin_neurons: Size of the embedding.
    """

    def __init__(
        self,
        ssl_source: str | None,
        ssl_window: float,
        sample_rate: int,
        ssl_trainable: int | str,
        lora_rank: int,
        ssl_layer: int | None,
        ssl_pooling: str,
        attention_channels: int,
        lin_neurons: int,
    ):
        super().__init__(ssl_source, ssl_window, sample_rate)
        self.trainable, self.lora_rank = ssl_trainable, lora_rank
        self.layer, self.pooling_mode = ssl_layer, ssl_pooling
        self.attention_channels, self.embedding_size = attention_channels, lin_neurons
        self.attention = self.layer_weights = None

    def train(self, mode: bool = True):
        """Into training, but for the encoder itself."""
        super().train(mode)
        if self.encoder is not None:
            self.encoder.eval()
        return self

    def forward(self, waveforms, lengths=None):
        """Embeddings.

        waveforms: [batch, time, 1]
        lengths: Relative, [batch]; None: nothing is padded.

        Returns: [batch, 1, lin_neurons]
        """
        n_samples = waveforms.shape[1]
        counts = [n_samples] * len(waveforms)
        if lengths is not None:
            counts = frame_counts(lengths, n_samples).tolist()
        pieces = [
            self.pieces(waveform[:count, 0])
            for waveform, count in zip(waveforms, counts, strict=True)
        ]
        states = iter(self.encoder.states([piece for own in pieces for piece in own]))
        frames = [torch.cat([self._read(next(states)) for _ in own]) for own in pieces]
        return self.projection(self.norm(self._pooled(frames))).unsqueeze(1)

    def _read(self, states):
        """[layer, frame, size] → [frame, size]"""
        if self.layer is not None:
            return states[self.layer]
        return torch.tensordot(self.layer_weights[0].softmax(dim=0), states, dims=1)

    def _pooled(self, frames):
        """Of recordings, [frame, size] each: [batch, size], or mean and deviation."""
        if self.attention is None:
            return torch.stack([own.float().mean(dim=0) for own in frames])
        padded = torch.nn.utils.rnn.pad_sequence(frames, batch_first=True)
        counts = torch.tensor([len(own) for own in frames], device=padded.device)
        lengths = (counts - 0.5) / padded.shape[1]
        pooled = attentive_statistics(self.attention, padded.transpose(1, 2), lengths)
        return pooled.squeeze(2)

    def _build(self, folder, files):
        super()._build(folder, files)
        with torch.random.fork_rng(devices=[]):
            self._add_layers()
        self.to(self.place.device)

    def _add_layers(self):
        """What follows the encoder, in the sizes that it needs."""
        config = self.encoder.model.config
        size = config.hidden_size
        if self.layer is None:
            n_layers = len(self.encoder.model.encoder.layers) + 1
            weights = torch.nn.Parameter(torch.zeros(n_layers))
            self.layer_weights = torch.nn.ParameterList([weights])
        if self.pooling_mode == ATTENTIVE:
            channels = self.attention_channels
            self.attention = AttentiveStatisticsPooling(size, channels)
            size *= 2
        self.norm = torch.nn.BatchNorm1d(size)
        self.projection = torch.nn.Linear(size, self.embedding_size)

    def _choose_trained(self, built):
        """Let what the keys say be trained."""
        weights = [weight for weight in built.parameters() if weight.requires_grad]
        super()._choose_trained(built)
        layers = built.model.encoder.layers
        layers = layers[: len(layers) if self.layer is None else self.layer]
        if self.lora_rank:
            rank = {"rank": self.lora_rank}
            AdaptedModel(layers, LoRA, target_layers=ADAPTED, adapter_kwargs=rank)
        elif self.trainable == ALL:
            self._train_what_is_read(built, weights)
        else:
            layers[len(layers) - self.trainable :].requires_grad_(True)

    def _train_what_is_read(self, built, weights):
        """Train these weights, without those that no gradient reaches.

        Of layers that are not read, and of masks.
        """
        for weight in weights:
            weight.requires_grad_(True)
        with torch.enable_grad():
            states = built.eval().states([torch.randn(self.sample_rate // 10)])[0]
            read = states if self.layer is None else states[self.layer]
            loss = (read * torch.randn_like(read)).sum()
            gradients = torch.autograd.grad(loss, weights, allow_unused=True)
        for weight, gradient in zip(weights, gradients, strict=True):
            weight.requires_grad_(gradient is not None and bool(gradient.any()))


def front_end(
    ssl_trainable: int | str,
    lora_rank: int,
    ssl_source: str | None,
    ssl_window: float,
    sample_rate: int,
) -> torch.nn.Module:
    """The front end: none, if the encoder is trained; else the encoder."""
    if is_tuned(ssl_trainable, lora_rank):
        return Waveforms()
    return LayerMeans(ssl_source, ssl_window, sample_rate)


def embedding_model(ssl_layer: int | None, **settings) -> torch.nn.Module:
    """The embedding model: the encoder, if it is trained; else a standardisation.

    settings: All other arguments of `TunedEncoder`.
    """
    if is_tuned(settings["ssl_trainable"], settings["lora_rank"]):
        return TunedEncoder(ssl_layer=ssl_layer, **settings)
    return LayerStandardisation(ssl_layer)


def classifier(
    ssl_trainable: int | str,
    lora_rank: int,
    label_groups: list[list[str]],
    label_ranges: list[list[float] | None] | None,
    kernel: str | None,
    seed: int,
    lin_neurons: int,
    shared_dense: bool,
    sd_bottleneck: int,
    **network,
) -> torch.nn.Module:
    """The heads, trained by gradients as the encoder is, or fitted at once.

    network: The other arguments of `ClassifierHeads`.
    """
    if is_tuned(ssl_trainable, lora_rank):
        size = head_input_size(lin_neurons, shared_dense, sd_bottleneck)
        return ClassifierHeads(size, label_groups, label_ranges=label_ranges, **network)
    return KernelHeads(label_groups, label_ranges, kernel, seed)
