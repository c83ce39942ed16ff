"""Training in one pass: heads that are fitted to all recordings at once."""

import logging

import numpy as np
import speechbrain as sb
import torch
from tqdm import tqdm

from local.training.brain import ClinicalBrain

logger = logging.getLogger(__name__)


class OnePassBrain(ClinicalBrain):
    """Trains modules that have a method `fit`, instead of by gradients.

    Features are read once, of whole recordings without augmentation. The embedding
    model is fitted to them, the classifier to its embeddings.

    subjects (dict of str to str): By uid, of the training recordings.
    """

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.optimizer, self.subjects = None, {}
        self.hparams.epoch_counter.limit = 1  # all is learned at once

    def init_optimizers(self):
        """There are no gradients."""

    def _fit_train(self, train_set, epoch, enable):
        """An epoch: all that there is to learn."""
        self.on_stage_start(sb.Stage.TRAIN, epoch)
        uids, features, targets = [], [], []
        for batch in tqdm(train_set, dynamic_ncols=True, disable=not enable):
            uids += batch.id
            features.append(batch.features.data)
            targets.append(batch.target.data)
            if self.debug and len(features) == self.debug_batches:
                break
        if features:  # else a stopped run goes on behind this pass
            self.avg_train_loss = self._learn(uids, features, targets)
        self.on_stage_end(sb.Stage.TRAIN, self.avg_train_loss, epoch)
        self.avg_train_loss = 0.0

    def _learn(self, uids, features, targets):
        """Fit the modules to all batches; the loss."""
        # in an order that no other setting changes
        order = np.argsort(uids)
        features, targets = torch.cat(features)[order], torch.cat(targets)[order]
        subjects = np.array([self.subjects[uids[i]] for i in order], dtype=object)
        modules = self.plain_modules
        modules["embedding_model"].fit(features.double().numpy())
        embeddings = modules["embedding_model"](features).squeeze(1)
        chosen = modules["classifier"].fit(
            embeddings.double().numpy(),
            targets.double().numpy(),
            subjects,
            self.hparams.positive_weights,
        )
        for label, choice in chosen.items():
            text = "{kernel}, inverse penalty {strength:g}"
            text = choice.get("reason") or text.format(**choice)
            logger.info("head of %s: %s", label, text)
        logits = modules["classifier"](embeddings.to(self.device))
        return self.hparams.compute_loss(logits, targets.to(self.device)).item()
