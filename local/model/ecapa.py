"""SpeechBrain's ECAPA-TDNN, computed with less: the same numbers from the same weights.

Its class pads convolutions of one frame by nothing, which copies their input, and its
pooling repeats the mean and deviation of the whole recording for every frame, three
times the channels to be multiplied. A fifth of the time on a CPU goes into that.
"""

import functools

import torch
from speechbrain.dataio.dataio import length_to_mask
from speechbrain.nnet.CNN import Conv1d
from speechbrain.utils.autocast import fwd_default_precision


def make_lean(embedding_model):
    """Have an ECAPA-TDNN compute the same with less, and its pooling in fp32.

    Sums over thousands of frames overflow in fp16 and lose digits in bf16.

    embedding_model (speechbrain.lobes.models.ECAPA_TDNN.ECAPA_TDNN): Changed in place;
        its weights, their names and its class stay as they are.
    """
    for module in embedding_model.modules():
        if isinstance(module, Conv1d) and module.kernel_size == 1:
            module.padding = "valid"
    pooling = embedding_model.asp
    pooling.forward = fwd_default_precision(
        functools.partial(attentive_statistics, pooling), torch.float32
    )


def attentive_statistics(
    pooling, x: torch.Tensor, lengths: torch.Tensor | None = None
) -> torch.Tensor:
    """Attentive statistics pooling: Desplanques et al., ECAPA-TDNN, Interspeech 2020.

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
