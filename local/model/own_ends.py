"""Convolutions that see a recording's own end, whatever it is batched with.

ECAPA-TDNN's convolutions mirror the last frames of their input at its end. In a padded
batch that is the batch's end: the last frames of a shorter recording, and after them
its attention and its embedding, then depend on what lies in its padding. Here the
frames behind each recording's end are written before every convolution, as the mirror
image that the recording would have on its own.
"""

import contextlib
import functools

import torch
from speechbrain.nnet.CNN import Conv1d


class OwnEnds:
    """Hooks on the convolutions of an embedding model; its class and weights stay.

    embedding_model (speechbrain.lobes.models.ECAPA_TDNN.ECAPA_TDNN): Gets the hooks.
        They do nothing outside of `of`.
    margin (int): Frames that the widest convolution reaches to either side.
    """

    def __init__(self, embedding_model):
        self._n_frames = None
        reaches = {
            module: module.dilation * (module.kernel_size - 1) // 2
            for module in embedding_model.modules()
            if isinstance(module, Conv1d) and module.kernel_size > 1
        }
        self.margin = max(reaches.values(), default=0)
        for convolution, reach in reaches.items():
            convolution.register_forward_pre_hook(functools.partial(self._fill, reach))

    @contextlib.contextmanager
    def of(self, features: torch.Tensor, n_frames: torch.Tensor):
        """What the embedding model should be called with, while the hooks work.

        Not for several threads at a time.

        features: [batch, frame, channel]
        n_frames: Frames of each recording, int64 [batch].

        Yields features: torch.Tensor: With room for the mirror images, [batch, frame +
            margin, channel].
        Yields lengths: torch.Tensor: Relative, [batch]: half a frame short, since
            SpeechBrain's masks may round a whole number to one frame too many.
        """
        padded = torch.nn.functional.pad(features, (0, 0, 0, self.margin))
        self._n_frames = n_frames
        try:
            yield padded, (n_frames - 0.5) / padded.shape[1]
        finally:
            self._n_frames = None

    def _fill(self, reach, convolution, inputs):
        """Mirror the frames before each recording's end to behind it, in place.

        Nothing else reads what lies there. inputs : ([batch, channel, frame],)
        """
        del convolution
        if self._n_frames is None:
            return
        values = inputs[0]
        rows = torch.arange(len(values), device=values.device).unsqueeze(1)
        steps = torch.arange(reach, device=values.device)
        ends = self._n_frames.unsqueeze(1)
        values[rows, :, ends + steps] = values[rows, :, ends - 2 - steps]
