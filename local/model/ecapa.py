"""SpeechBrain's ECAPA-TDNN, computed with less, each recording by its own end.

Its class pads convolutions of one frame by nothing, which copies their input, and its
pooling repeats the mean and deviation of the whole recording for every frame, three
times the channels to be multiplied. A fifth of the time on a CPU goes into that.

Its convolutions mirror the last frames of their input at its end. In a padded batch
that is the batch's end: the last frames of a shorter recording, and after them its
attention and its embedding, then depend on what lies in its padding. Here the frames
behind each recording's end are written before every convolution, where that is asked
for, as the mirror image that the recording would have on its own.
"""

import torch
from speechbrain.dataio.dataio import length_to_mask
from speechbrain.lobes.models import ECAPA_TDNN as speechbrain_ecapa
from speechbrain.nnet.CNN import Conv1d
from speechbrain.utils.autocast import fwd_default_precision

#: Arguments with a value for each block.
PER_BLOCK = ("channels", "kernel_sizes", "dilations")


class ECAPA_TDNN(speechbrain_ecapa.ECAPA_TDNN):
    """SpeechBrain's class with the same weights under the same names.

    *args, **kwargs: As for `speechbrain.lobes.models.ECAPA_TDNN.ECAPA_TDNN`.
    margin: Frames that the widest convolution reaches to either side.

    Raises ValueError: for channels, kernel sizes and dilations of other numbers.

    >>> model = ECAPA_TDNN(20, lin_neurons=6, channels=[16, 16, 16, 16, 48]).eval()
    >>> model(torch.randn(2, 100, 20), n_frames=torch.tensor([100, 50])).shape
    torch.Size([2, 1, 6])
    """

    def __init__(self, *args, **kwargs):
        sizes = {name: len(kwargs[name]) for name in PER_BLOCK if name in kwargs}
        if len(set(sizes.values())) > 1:  # SpeechBrain's assertions are not always run
            given = ", ".join(f"{n} {name}" for name, n in sizes.items())
            raise ValueError(f"each block needs a value of each: found {given}")
        super().__init__(*args, **kwargs)
        convolutions = [
            module for module in self.modules() if isinstance(module, Conv1d)
        ]
        self.margin = max(map(_reach, convolutions))
        for convolution in convolutions:
            if convolution.kernel_size == 1:
                convolution.padding = "valid"

    def forward(
        self,
        x: torch.Tensor,
        lengths: torch.Tensor | None = None,
        n_frames: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """Compute embeddings.

        x: Features, [batch, frame, channel].
        lengths: Relative, [batch]: what lies behind takes no part in means over frames.
        n_frames: Frames of each recording, int64 [batch], instead of `lengths`: its
            embedding is then as if it were alone.

        Returns: [batch, 1, lin_neurons]
        """
        if n_frames is not None:
            x = torch.nn.functional.pad(x, (0, 0, 0, self.margin))
            # half a frame short: SpeechBrain's masks may round a whole number to one
            # frame too many
            lengths = (n_frames - 0.5) / x.shape[1]
        x = _tdnn(self.blocks[0], x.transpose(1, 2), n_frames)
        outputs = []
        for block in self.blocks[1:]:
            x = _se_res2net(block, x, lengths, n_frames)
            outputs.append(x)
        x = _tdnn(self.mfa, torch.cat(outputs, dim=1), n_frames)
        x = attentive_statistics(self.asp, x, lengths)
        return self.fc(self.asp_bn(x)).transpose(1, 2)


def _reach(convolution):
    """Frames that a convolution reaches to either side."""
    return convolution.dilation * (convolution.kernel_size - 1) // 2


def _tdnn(block, x, n_frames):
    """What a TDNNBlock gives: [batch, channel, frame] → the same."""
    reach = _reach(block.conv)
    if n_frames is not None and reach:
        steps = torch.arange(reach, device=x.device)
        ends = n_frames.view(-1, 1, 1)
        behind, before = (
            places.expand(-1, x.shape[1], -1)
            for places in (ends + steps, ends - 2 - steps)
        )
        x = x.scatter(2, behind, x.gather(2, before))
    return block(x)


def _se_res2net(block, x, lengths, n_frames):
    """What an SERes2NetBlock gives: [batch, channel, frame] → the same."""
    residual = block.shortcut(x) if block.shortcut else x
    res2net = block.res2net_block
    first, *others = torch.chunk(block.tdnn1(x), res2net.scale, dim=1)
    parts = [first]
    for i, (inner, part) in enumerate(zip(res2net.blocks, others, strict=True)):
        parts.append(_tdnn(inner, part + parts[-1] if i else part, n_frames))
    x = block.tdnn2(torch.cat(parts, dim=1))
    return block.se_block(x, lengths) + residual


@fwd_default_precision(cast_inputs=torch.float32)
def attentive_statistics(
    pooling, x: torch.Tensor, lengths: torch.Tensor | None = None
) -> torch.Tensor:
    """Attentive statistics pooling: Desplanques et al., ECAPA-TDNN, Interspeech 2020.

    Always in fp32: sums over thousands of frames overflow in fp16 and lose digits in
    bf16.

    pooling: speechbrain.lobes.models.ECAPA_TDNN.AttentiveStatisticsPooling
    x: [batch, channel, frame]
    lengths: Relative, [batch]; all frames count unless given.

    Returns: Mean and standard deviation, [batch, 2 * channel, 1].
    """
    n_frames = x.shape[-1]
    mask = None
    if lengths is not None:
        mask = length_to_mask(lengths * n_frames, max_len=n_frames, device=x.device)
        mask = mask.unsqueeze(1)
    hidden = _first_layer(pooling, x, mask)
    layer = pooling.tdnn
    hidden = layer.dropout(layer.norm(layer.activation(hidden)))
    attention = pooling.conv(pooling.tanh(hidden))
    if mask is not None:
        attention = attention.masked_fill(mask == 0, float("-inf"))
    weights = torch.softmax(attention, dim=2)
    return torch.cat(_statistics(x, weights, pooling.eps), dim=1).unsqueeze(2)


def _first_layer(pooling, x, mask):
    """The attention's first convolution: of the frames, and of all frames together.

    Mean and deviation are the same for every frame, and so is their part of the sum.
    """
    convolution = pooling.tdnn.conv.conv
    if not pooling.global_context:
        return torch.nn.functional.conv1d(x, convolution.weight, convolution.bias)
    weights = convolution.weight.split(x.shape[1], dim=1)
    if mask is None:
        shares = torch.full_like(x[:, :1], 1 / x.shape[-1])
    else:
        shares = mask / mask.sum(dim=2, keepdim=True).float()
    everywhere = sum(
        weight.squeeze(2) @ statistic.unsqueeze(2)
        for weight, statistic in zip(
            weights[1:], _statistics(x, shares, pooling.eps), strict=True
        )
    )
    return torch.nn.functional.conv1d(x, weights[0], convolution.bias) + everywhere


def _statistics(x, weights, eps):
    """Weighted mean and deviation over frames, [batch, channel] each.

    x : [batch, channel, frame]; weights, which sum to 1 : [batch, 1 or channel, frame]
    """
    mean = (weights * x).sum(dim=2)
    variance = (weights * (x - mean.unsqueeze(2)) ** 2).sum(dim=2)
    return mean, torch.sqrt(variance.clamp(min=eps))
