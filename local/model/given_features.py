"""Features that were computed elsewhere, in the place of a front end."""

import json

import torch

from local.data.feature_table import FeatureTable


class GivenFeatures(torch.nn.Module):
    """Hands the features of a file on: [batch, feature] → [batch, 1, feature].

    Which features it was trained on is in the checkpoint.

    features: The parquet file (see `feature_table.FeatureTable`).

    >>> GivenFeatures("features.parquet")(torch.ones(2, 5)).shape
    torch.Size([2, 1, 5])
    """

    def __init__(self, features: str | None):
        super().__init__()
        self.source, self.names = features, None

    def load_source(self):
        """Learn what the features are called, for training."""
        self.names = FeatureTable.of({"features": self.source}).names

    def forward(self, features):
        """As they are."""
        return features.unsqueeze(1)

    def frame_lengths(self, lengths, n_samples):
        """Relative lengths of the features, [batch]: there is one frame."""
        return torch.ones_like(lengths)

    def get_extra_state(self):
        """The features' names, for the checkpoint: JSON as bytes, [n]."""
        return torch.tensor([*json.dumps(self.names).encode()], dtype=torch.uint8)

    def set_extra_state(self, state):
        """The names of a checkpoint."""
        self.names = json.loads(bytes(state.tolist()))
