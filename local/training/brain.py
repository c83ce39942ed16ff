"""The Brain that trains: how a batch becomes a loss, an epoch a checkpoint."""

import logging

import numpy as np
import speechbrain as sb
import torch
from speechbrain.utils.checkpoints import ckpt_recency
from speechbrain.utils.distributed import ddp_broadcast, run_on_main

from local.data.labels import flatten
from local.model import heads
from local.training.optimizers import SinceStep, set_encoder_lr
from local.training.scoring import SELECTION, Scores, ScoringBrain
from local.training.selection import macro_auroc, selection_value
from local.utils import signals
from local.utils.errors import RunError, UserError

logger = logging.getLogger(__name__)


class ClinicalBrain(ScoringBrain):
    """Trains several classifier heads over a shared embedding."""

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.epoch = None
        self.validates = True
        self.on_new_best = None
        self.lr_scheduler = None
        self.n_train_batches = None
        self.skipped_batches = 0
        self.since_step = SinceStep(self.modules)
        self.trained = None
        self.stops = False
        self.scores = None

    def on_fit_start(self):
        """Go on from the newest checkpoint, as the base class does."""
        super().on_fit_start()
        if self.checkpointer is not None:
            self.checkpointer.remove_partial()

    # From a batch to a loss

    def compute_forward(self, batch, stage):
        """Outputs of the model: in training of waveforms, which are augmented."""
        if stage != sb.Stage.TRAIN:
            return super().compute_forward(batch, stage)
        batch = batch.to(self.device)
        modules = self._frozen() if self.is_frozen else self.modules
        return heads.classify(modules, *self._training_features(batch))

    @property
    def is_frozen(self):
        """Whether the encoder stays as it is in this epoch (`freeze_epochs`)."""
        return self.epoch <= self.hparams.freeze_epochs

    def _frozen(self):
        """All modules, the encoder as in evaluation and without gradients.

        Its batch normalisation then learns nothing either. Without torchrun's wrapper,
        which would wait for gradients.
        """
        encoder = self.plain_modules["embedding_model"].eval()
        return {**self.modules, "embedding_model": torch.no_grad()(encoder.forward)}

    def _training_features(self, batch):
        """Features [batch, frame, channel] of augmented waveforms, and lengths."""
        waveforms, lengths = self.hparams.augment(*batch.waveform, batch.id, self.epoch)
        waveforms = self.hparams.mix(waveforms, lengths, batch.id, self.epoch)
        features, lengths = heads.compute_features(self.modules, waveforms, lengths)
        key = lengths, batch.id, self.epoch
        features = self.hparams.spectrogram_mask(features, *key)
        features = self.hparams.spectrogram_noise(features, *key)
        return features, lengths

    def compute_objectives(self, predictions, batch, stage):
        """The loss of a batch."""
        targets = batch.target.data
        if stage == sb.Stage.TRAIN:
            targets = self.hparams.mix.mix_targets(targets, batch.id, self.epoch)
        return self.hparams.compute_loss(predictions.logits.to(targets.device), targets)

    # Optimisation

    def init_optimizers(self):
        """The optimiser and its schedule, both in the checkpoint."""
        super().init_optimizers()
        if self.hparams.encoder_lr is not None:
            model = self.plain_modules["embedding_model"]
            encoder = getattr(model, "encoder", model)  # a part of it is pretrained
            set_encoder_lr(self.optimizer, encoder, self.hparams.encoder_lr)
        steps = -(-self.n_train_batches // self.grad_accumulation_factor)
        self.lr_scheduler = self.hparams.lr_scheduler(self.optimizer, steps)
        if self.lr_scheduler is not None and self.checkpointer is not None:
            self.checkpointer.add_recoverable("lr_scheduler", self.lr_scheduler)

    def fit_batch(self, batch):
        """One training step; gradients of an epoch's last batches are not dropped."""
        self.since_step.begin(batch.id)
        with self.no_sync(not self._is_step):
            with self.training_ctx:
                outputs = self.compute_forward(batch, sb.Stage.TRAIN)
                loss = self.compute_objectives(outputs, batch, sb.Stage.TRAIN)
            self.scaler.scale(loss / self.grad_accumulation_factor).backward()
        loss = loss.detach().cpu()
        self.since_step.loss_is_finite &= bool(torch.isfinite(loss))
        if self._is_step:
            self.optimizers_step()
            self.since_step.clear()
        return loss

    @property
    def _is_step(self):
        """Whether the optimiser steps after this batch."""
        return (
            self.step % self.grad_accumulation_factor == 0
            or self.step == self.n_train_batches
        )

    def optimizers_step(self):
        """Clip the norm over all weights and step; skip gradients that are no numbers.

        A `max_grad_norm` of 0 or less switches clipping off.
        """
        self.scaler.unscale_(self.optimizer)
        norm = torch.nn.utils.clip_grad_norm_(
            self.modules.parameters(),
            self.max_grad_norm if self.max_grad_norm > 0 else float("inf"),
        )
        # float16's scaler tries scales that are too large, which is no sign of trouble
        fine = torch.isfinite(norm) or self.scaler.is_enabled()
        if fine:
            self.scaler.step(self.optimizer)
        if not torch.isfinite(norm):
            self.since_step.restore_statistics()
        if not (fine and self.since_step.loss_is_finite):
            self._count_skipped()
        self.scaler.update()
        self.optimizer.zero_grad(set_to_none=True)
        self.optimizer_step += 1
        if self.lr_scheduler is not None:
            self.lr_scheduler.step()

    def _count_skipped(self):
        self.skipped_batches += 1
        logger.warning(
            "Loss or gradients are no finite numbers: this step is skipped, the %d. "
            "of this epoch",
            self.skipped_batches,
        )
        if self.skipped_batches > self.nonfinite_patience:
            raise RunError(
                f"{self.skipped_batches} steps of epoch {self.epoch} had a loss or "
                "gradients that are no finite numbers (more than "
                "--nonfinite_patience). A lower lr or max_grad_norm may help, if it is "
                f"no recording of the last batch: {', '.join(self.since_step.uids)}"
            )

    # Stopping

    def _is_asked_to_stop(self):
        """Whether this process is to stop, or any other one of this run."""
        asked = signals.asked()
        if torch.distributed.is_initialized():
            flag = torch.tensor(float(asked), device=self.device)
            torch.distributed.all_reduce(flag, torch.distributed.ReduceOp.MAX)
            asked = bool(flag)
        self.stops = asked
        return asked

    def _should_save_intra_epoch_ckpt(self, last_ckpt_time, steps_since_ckpt):
        """At the run options' intervals, and before stopping; but not between steps.

        Gradients that are gathered over several batches are in no checkpoint.
        """
        stops = self._is_asked_to_stop()
        due = super()._should_save_intra_epoch_ckpt(last_ckpt_time, steps_since_ckpt)
        return (stops or due) and self._is_step

    def _fit_train(self, train_set, epoch, enable):
        """Train for an epoch, which stops also while it waits for a batch."""

        def may_stop():
            return self.step == 0 or self._is_step

        def save():
            if self.step:  # else there is nothing that is in no checkpoint yet
                super(ClinicalBrain, self)._save_intra_epoch_ckpt()

        train_set = self._awaited(train_set, may_stop, save)
        super()._fit_train(train_set, epoch, enable)

    def _fit_valid(self, valid_set, epoch, enable):
        """Validate; may stop in the same way, and between batches."""
        if valid_set is None:
            return

        def save():
            # an epoch's training is done: it is not to be repeated
            self.step, self.avg_train_loss = self.trained
            super(ClinicalBrain, self)._save_intra_epoch_ckpt()

        self.on_stage_start(sb.Stage.VALID, epoch)
        loader = self._awaited(valid_set, lambda: True, save)

        def batches():
            for scored in self.run(loader, sb.Stage.VALID, enable):
                if self._is_asked_to_stop():
                    save()
                    signals.stop()
                yield scored

        self.scores = Scores.of(batches())
        self.on_stage_end(sb.Stage.VALID, None, epoch)

    def _awaited(self, loader, may_stop, save):
        """Batches; the wait for one may be ended, but for that of several processes."""
        if torch.distributed.is_initialized():
            return loader
        return signals.Awaited(loader, may_stop, save)

    def _save_intra_epoch_ckpt(self):
        super()._save_intra_epoch_ckpt()
        if self.stops:
            signals.stop()

    # Stages

    def on_stage_start(self, stage, epoch=None):
        """Start an epoch's crops."""
        if stage == sb.Stage.TRAIN:
            self.epoch = epoch
            self.hparams.train_crop.epoch = epoch
            self.skipped_batches = 0

    def on_stage_end(self, stage, stage_loss, epoch=None):
        """At the end of an epoch: log, tell the early stopper, save."""
        if stage == sb.Stage.TRAIN:
            self.train_loss = stage_loss
            self.trained = self.step, self.avg_train_loss
            if not self.validates:
                # as `fit` does right after this, but before they are saved
                self.step, self.avg_train_loss = 0, 0.0
                self._end_epoch(epoch, {}, selection=-epoch)
        elif stage == sb.Stage.VALID:
            stats = self._validation_stats(epoch)
            selection = selection_value(
                self.hparams.best_checkpoint, stats["loss"], stats["macro_auroc"]
            )
            self._end_epoch(epoch, stats, selection)

    def _validation_stats(self, epoch):
        """Loss and AUROC over all recordings of the validation split."""
        scores = self.scores
        loss = self.hparams.compute_loss(
            torch.from_numpy(scores.logits), torch.from_numpy(scores.targets)
        ).item()
        labels = np.array(flatten(self.hparams.label_groups))
        ranges = self.hparams.label_ranges or [None] * len(labels)
        binary = np.array([bounds is None for bounds in ranges])
        macro, per_label = macro_auroc(
            scores.targets[:, binary], scores.logits[:, binary]
        )
        if not np.isfinite(loss):
            raise RunError(
                f"The validation loss of epoch {epoch} is {loss}: training has "
                "diverged. Start again with a lower lr."
            )
        stats = {"loss": loss, "macro_auroc": macro}
        stats |= {
            f"auroc {label}": value
            for label, value in zip(labels[binary], per_label, strict=True)
        }
        errors = np.abs(scores.logits - scores.targets)
        return stats | {
            f"mae {labels[i]}": float(np.nanmean(errors[:, i]))
            for i in np.flatnonzero(~binary & ~np.isnan(errors).all(axis=0))
        }

    def _end_epoch(self, epoch, stats, selection):
        rate = {"lr": self.optimizer.param_groups[0]["lr"]} if self.optimizer else {}
        if rate and self.hparams.encoder_lr is not None:
            rate["encoder_lr"] = self.optimizer.param_groups[-1]["lr"]
        self.hparams.train_logger.log_stats(
            {"epoch": epoch, **rate},
            train_stats={"loss": float(self.train_loss)},
            valid_stats=stats or None,
        )
        selection = ddp_broadcast(selection)  # processes must stop together
        # the stopper's state belongs into the checkpoint: tell it before saving
        self.hparams.epoch_counter.update_metric(selection)
        self.checkpointer.save_and_keep_only(
            meta={"epoch": epoch, SELECTION: selection},
            num_to_keep=1,
            min_keys=[SELECTION],
            # a list of our own: SpeechBrain adds to its default for all callers
            importance_keys=[ckpt_recency],
            keep_recent=False,
        )
        if self.on_new_best and self.hparams.epoch_counter.best_limit == epoch:
            run_on_main(self.on_new_best)

    # Loaders and processes

    def _train_loader_specifics(self, dataset, loader_kwargs):
        """Let `fit` tell our batch sampler the epoch; it knows of other processes."""
        self.train_sampler = loader_kwargs["batch_sampler"]
        self.n_train_batches = len(self.train_sampler)
        return loader_kwargs

    def _compile(self):
        """Compile modules (`--compile`); a missing compiler is told before training.

        Raises UserError: if nothing can be compiled here.
        """
        if self.compile:
            try:
                torch.compile(lambda x: x + 1)(torch.zeros(2, device=self.device))
            except Exception as error:  # each backend raises its own
                reason = str(error).strip().splitlines() or [type(error).__name__]
                raise UserError(
                    "--compile: nothing can be compiled here. It needs a C++ compiler "
                    f"(g++), on a GPU also Triton: {reason[0]}. Leave --compile out, "
                    "or install them."
                ) from error
        super()._compile()

    def _wrap_distributed(self):
        """Wrap modules for torchrun; on a CPU without SyncBatchNorm, which has none."""
        if not (self.distributed_launch and self.device_type == "cpu"):
            super()._wrap_distributed()
            return
        for name, module in self.modules.items():
            if any(weight.requires_grad for weight in module.parameters()):
                self.modules[name] = torch.nn.parallel.DistributedDataParallel(module)
