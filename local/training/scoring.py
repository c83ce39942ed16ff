"""Scoring: the one way in which a model says something of recordings.

Validation, evaluation, extraction, predictions for files and the confound audit all
run a model by `ScoringBrain`.
"""

import dataclasses
import itertools
from collections.abc import Iterable, Iterator

import numpy as np
import speechbrain as sb
import torch
from speechbrain.dataio.batch import PaddedBatch
from speechbrain.utils.distributed import if_main_process
from tqdm import tqdm

from local.model import heads
from local.model.front_end import RecordingFeatures
from local.utils.errors import UserError
from local.utils.parallel import in_parallel

#: Checkpoint meta key by which the best one is found; lower is better.
SELECTION = "selection"


@dataclasses.dataclass(frozen=True)
class Scores:
    """What the model says of every recording of a split.

    logits: [recording, label]
    targets: [recording, label], NaN where not rated.
    embeddings: `pt`, [recording, size].
    described: What each is like (see `local.audio.description`), where that was read.
    """

    uids: list[str]
    logits: np.ndarray
    targets: np.ndarray
    embeddings: np.ndarray | None = None
    described: np.ndarray | None = None

    @classmethod
    def of(cls, scored: Iterable[tuple[PaddedBatch, heads.Outputs]]) -> "Scores":
        """Those of batches, as `ScoringBrain.run` yields them."""
        uids, rows = [], []
        for batch, outputs in scored:
            uids += batch.id
            own = [outputs.logits, batch.target.data, outputs.pt]
            if hasattr(batch, "described"):
                own.append(batch.described.data)
            rows.append([values.cpu() for values in own])
        return cls(
            uids, *(torch.cat(values).numpy() for values in zip(*rows, strict=True))
        )

    def rows(self, chosen: list[int]) -> "Scores":
        """Those of some recordings, in this order."""
        arrays = (self.logits, self.targets, self.embeddings, self.described)
        own = (None if values is None else values[chosen] for values in arrays)
        return Scores([self.uids[i] for i in chosen], *own)


class ScoringBrain(sb.Brain):
    """A trained model that scores recordings.

    stand_ins: By name what is to score recordings in a module's place.
    feature_cache (feature_cache.FeatureCache): Where features are kept that no training
        changes; None: nowhere.
    """

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.stand_ins, self.feature_cache = {}, None

    def compute_forward(self, batch, stage):
        """All outputs for a batch of `features`, each recording as if it were alone."""
        features, lengths = batch.to(self.device).features
        n_frames = torch.round(lengths * features.shape[1]).long()
        return self._score(features, n_frames)

    def _score(self, features, n_frames):
        """All outputs for features [batch, frame, channel] of so many frames."""
        modules = self.plain_modules | self.stand_ins
        return heads.score_features(modules, features, n_frames)

    @property
    def plain_modules(self) -> dict[str, torch.nn.Module]:
        """Its modules as they score recordings: a single process may run them."""
        return heads.unwrapped(self.modules)

    @property
    def recording_features(self) -> RecordingFeatures:
        """What computes the features that it scores."""
        return RecordingFeatures(self.plain_modules, self.feature_cache)

    @property
    def n_streams(self) -> int:
        """How many batches are scored at the same time, on one thread each."""
        # autocast's state is one for all threads
        parallel = self.device_type == "cpu" and self.eval_precision == "fp32"
        return torch.get_num_threads() if parallel else 1

    def run(
        self, loader: Iterable, stage: sb.Stage = sb.Stage.TEST, enable: bool = False
    ) -> Iterator[tuple[PaddedBatch, heads.Outputs]]:
        """Run the model, with the weights as they are, over the batches of a loader.

        loader: Its batches have `features`.
        enable: Whether a bar shows how far it is.

        Yields: Batches in their order, and their outputs, on the CPU.
        """

        def score(batch):
            with self.evaluation_ctx:
                return batch, self.compute_forward(batch, stage)

        self.modules.eval()
        colour = self.tqdm_barcolor[stage.name.lower()]
        if self.debug:
            loader = itertools.islice(loader, self.debug_batches)
        loader = tqdm(loader, dynamic_ncols=True, disable=not enable, colour=colour)
        yield from in_parallel(score, loader, self.n_streams)

    def run_over(
        self, dataset, loader_kwargs: dict, enable: bool = False
    ) -> Iterator[tuple[PaddedBatch, heads.Outputs]]:
        """Run the model over a dataset, as `run` does.

        dataset (DynamicItemDataset): With `id` and `features`.
        loader_kwargs: As `ScoreBatches.longest_first` gives them.
        """
        loader = self.make_dataloader(
            dataset, sb.Stage.TEST, ckpt_prefix=None, **loader_kwargs
        )
        return self.run(loader, enable=enable)

    def score(self, dataset, loader_kwargs: dict) -> Scores:
        """Score every recording of a dataset with the best checkpoint.

        dataset: DynamicItemDataset

        Returns: In the order of the dataset.
        """
        self.load_best()
        enable = not self.noprogressbar and if_main_process()
        scores = Scores.of(self.run_over(dataset, loader_kwargs, enable))
        places = {uid: place for place, uid in enumerate(scores.uids)}
        order = [places[uid] for uid in dataset.data_ids if uid in places]
        return scores.rows(order)

    def score_waveforms(self, waveforms: torch.Tensor) -> torch.Tensor:
        """Score waveforms of one length, with the weights as they are.

        Under torchrun a single process may call this.

        waveforms: [batch, time]

        Returns: Logits, float32 [batch, label], on the CPU.
        """
        features = torch.stack([*map(self.recording_features, waveforms)])
        features = features.to(self.device)
        n_frames = torch.full(features.shape[:1], features.shape[1])
        self.modules.eval()
        with self.evaluation_ctx:
            return self._score(features, n_frames).logits

    def on_evaluate_start(self, max_key=None, min_key=None):
        """Load the best checkpoint; without one there is nothing to evaluate."""
        self.load_best()

    def load_best(self):
        """Load the best end-of-epoch checkpoint.

        Returns speechbrain.utils.checkpoints.Checkpoint
        Raises UserError: if there is none: untrained weights are never evaluated.
        """
        checkpoint = self.checkpointer.recover_if_possible(min_key=SELECTION)
        if checkpoint is None:
            raise UserError(
                f"There is no checkpoint in {self.checkpointer.checkpoints_dir}: "
                "expected a folder CKPT+… that training saved."
            )
        self.checkpoint = checkpoint
        return checkpoint
