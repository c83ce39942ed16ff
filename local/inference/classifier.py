"""The trained model as a SpeechBrain interface, from an experiment or an export.

    from local.inference.classifier import ClinicalClassifier

    model = ClinicalClassifier.from_hparams(source="results/mine")
    model.classify_file("recording.wav")["strained"]["probability"]
    model.encode_file("recording.wav", kind="pt")

Elsewhere, without this recipe, an exported folder has a copy of this module, and what
it needs.
"""

import contextlib
import sys
from pathlib import Path

import numpy as np
import torch
from speechbrain.inference.interfaces import Pretrained
from speechbrain.utils.run_opts import RunOptions

from local.audio.description import describe
from local.audio.loading import AudioFormat, decode, resample, to_mono
from local.data.pooling import cut_windows, pool_windows
from local.data.short_windows import score_windows
from local.inference.stacked_heads import StackedHeads
from local.metrics.decisions import decisions
from local.model.front_end import RecordingFeatures
from local.model.heads import POOLING_MODES, Outputs, score_features
from local.model.training_range import ABSTAIN, judged, known_range
from local.utils.errors import BadRecording

#: Embeddings: ECAPA-TDNN's output, after the shared dense layer, first layer of heads.
KINDS = ("pt", "st", "ft")


class ClinicalClassifier(Pretrained):
    """What a trained model says of recordings.

    A recording's results don't depend on what it is batched with. Recordings that are
    longer than the experiment's `max_duration` are cut into windows, as in evaluation.

    *args, **kwargs: As of SpeechBrain's `Pretrained`; use `from_hparams`.
    labels: list of str
    flagged (dict of str to list of str, or None): Labels that can be told without the
        speech, by the confound audit of the training, with the reasons; None: there was
        no audit.
    out_of_range (str): `abstain`: no decision about recordings that are not like those
        of the training; `decide`: there is one all the same.
    """

    MODULES_NEEDED = (
        *("compute_features", "mean_var_norm", "embedding_model", "classifier"),
    )
    HPARAMS_NEEDED = (
        *("label_groups", "label_ranges", "positive_weights", "operating_points"),
        *("flagged", "training_range", "sample_rate", "audio_backend", "mono"),
        *("min_duration", "max_duration", "window_overlap", "window_pooling"),
        *("eval_crop", "shared_dense", "pooling_mode"),
    )

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.labels = [label for group in self.hparams.label_groups for label in group]
        self.flagged = self.hparams.flagged
        self.out_of_range = ABSTAIN
        self._range = known_range(self.hparams.training_range)
        self._audio = AudioFormat.of(vars(self.hparams))
        self._features = RecordingFeatures(self.mods)
        heads = self.mods["classifier"]
        if isinstance(heads, torch.nn.Sequential):  # an exported model's
            n_heads = len(self.hparams.label_groups)
            heads = StackedHeads(heads, n_heads, self.hparams.shared_dense)
            shared_dense = heads.shared_dense
        else:  # an experiment's, or an export's of heads that were fitted at once
            known = dict(self.mods.items())
            shared_dense = known.get("shared_dense", torch.nn.Identity())
        self._modules = {
            "embedding_model": self.mods["embedding_model"],
            "shared_dense": shared_dense,
            "classifier": heads,
        }

    @classmethod
    def from_hparams(
        cls,
        source: str | Path,
        hparams_file: str = "hyperparams.yaml",
        trust_experiment: bool = False,
        **kwargs,
    ) -> "ClinicalClassifier":
        """Load a model.

        source: What train.py called output_folder, here or ``gs://…``, or a folder that
            export.py wrote.
        hparams_file: Of an exported folder, which runs its own modules: load only those
            of people whose programs you would run.
        trust_experiment: Whether to open an experiment whatever Python its yaml names.
        **kwargs: `run_opts`, as {"device": "cuda:0"}, and of an exported folder all
            that SpeechBrain's `pretrained_from_hparams` takes.

        Raises UserError: if the source is an experiment that can't be used.
        """
        source = str(source)
        is_experiment = Path(source, "save").is_dir()
        if Path(source, "custom.py").is_file() and not is_experiment:
            with _importable(source):
                return super().from_hparams(source, hparams_file, **kwargs)
        try:
            from local.training.experiment import open_experiment
        except ImportError:  # this is an exported copy
            return super().from_hparams(source, hparams_file, **kwargs)
        run_opts = kwargs.pop("run_opts", None) or {}
        if isinstance(run_opts, dict):
            run_opts = RunOptions.from_dictionary(run_opts)
        options = {"experiment_folder": source, "trust_experiment": trust_experiment}
        experiment = open_experiment(options, run_opts)
        return cls.of_experiment(experiment, run_opts=run_opts, **kwargs)

    @classmethod
    def of_experiment(cls, experiment, **kwargs) -> "ClinicalClassifier":
        """The model of an experiment that is open already.

        experiment (training.experiment.Experiment): With its best checkpoint.
        **kwargs: As for `speechbrain.inference.interfaces.Pretrained`.
        """
        experiment.check_hears()
        # what no exported model has, nor needs
        from local.evaluation.flags import known_flags, read_audit
        from local.evaluation.in_range import read_range
        from local.evaluation.operating_points import read_operating_points

        settings = {
            "operating_points": read_operating_points(experiment.folder),
            "flagged": known_flags(read_audit(experiment.folder)),
            "training_range": read_range(experiment.folder),
        }
        modules = dict(experiment.brain.modules.items())
        return cls(modules=modules, hparams=experiment.hparams | settings, **kwargs)

    # What the model says

    def classify_file(
        self,
        path: str | Path,
        channel: int | None = None,
        start_s: float | None = None,
        end_s: float | None = None,
    ) -> dict[str, dict]:
        """Classify one recording.

        path: An audio file of any format that libsndfile or FFmpeg reads.
        channel: The only channel to use, from 0; otherwise all are mixed.
        start_s, end_s: A segment of it, in s.

        Returns: By label: `logit`, the network's own output; `probability`, without a
            class weight used in training, and calibrated if the experiment is;
            `threshold` on it, and `predicted`, 0 or 1, both None where there is no
            threshold. Of a label that is a score there is `score` (which is `logit`),
            and these are None. `in_range`: whether the recording is like those of the
            training, None where these are not known; `out_of_range`: why not, list of
            str; `predicted` is None then, unless `model.out_of_range` is `decide`.
        Raises BadRecording: if the file can't be used; the message is the reason.
        """
        return self._decisions(*self._windows_of_file(path, channel, start_s, end_s))

    def explain_file(
        self,
        path: str | Path,
        channel: int | None = None,
        start_s: float | None = None,
        end_s: float | None = None,
    ) -> dict:
        """Where in one recording the model hears what it says.

        path, channel, start_s, end_s: As for `classify_file`.

        Returns: `times_s`, the middles of windows of 0.3 s, in s of the file; and
            `labels`, of each `values`, the logits of these windows (None in pauses), or
            scores, and `peak_s`, the time of the highest.
        Raises BadRecording.
        """
        mono, rate = self._mono(path, channel, start_s, end_s)
        self._check(mono, rate, path)
        return score_windows(
            resample(mono, rate, self._audio.sample_rate),
            self._audio.sample_rate,
            lambda windows: self.outputs(list(windows)).logits,
            self.labels,
            start_s or 0.0,
        )

    def classify_batch(
        self, wavs: torch.Tensor, wav_lens: torch.Tensor | None = None
    ) -> list[dict]:
        """Classify waveforms.

        wavs: At the model's rate, [batch, time] or [time].
        wav_lens: Relative to the longest, [batch]; None: nothing is padded.

        Returns: As `classify_file` gives it, one per recording.
        Raises BadRecording.
        """
        return [
            self._decisions(windows, duration_s)
            for windows, duration_s in self._windows_of_batch(wavs, wav_lens)
        ]

    def encode_file(
        self,
        path,
        kind="pt",
        pooling_mode=None,
        channel=None,
        start_s=None,
        end_s=None,
    ) -> torch.Tensor:
        """The embedding of one recording.

        path, channel, start_s, end_s: As for `classify_file`.
        kind, pooling_mode: As for `encode_batch`.

        Returns: [1, 1, size], as SpeechBrain's encoders have it.
        Raises BadRecording.
        """
        choose = self._embedding(kind, pooling_mode)
        windows, _ = self._windows_of_file(path, channel, start_s, end_s)
        return torch.from_numpy(self._pooled(windows, choose)).view(1, 1, -1)

    def encode_batch(
        self,
        wavs: torch.Tensor,
        wav_lens: torch.Tensor | None = None,
        kind: str = "pt",
        pooling_mode: str | None = None,
    ) -> torch.Tensor:
        """Embeddings of waveforms.

        wavs: At the model's rate, [batch, time] or [time].
        wav_lens: Relative to the longest, [batch]; None: nothing is padded.
        kind: `pt`: output of ECAPA-TDNN; `st`: after the shared dense layer; `ft`:
            output of each head's first layer, before normalisation and activation.
        pooling_mode: `mean` or `sum` over the heads, for `ft`; the experiment's unless
            given.

        Returns: [batch, 1, size], as SpeechBrain's encoders have it, on the CPU.
        Raises ValueError: for another kind or mode, or `st` of a model without a shared
            dense layer.
        Raises BadRecording.
        """
        choose = self._embedding(kind, pooling_mode)
        embeddings = [
            torch.from_numpy(self._pooled(windows, choose))
            for windows, _ in self._windows_of_batch(wavs, wav_lens)
        ]
        return torch.stack(embeddings).unsqueeze(1)

    def forward(self, wavs, wav_lens=None):
        """As `classify_batch`."""
        return self.classify_batch(wavs, wav_lens)

    def load_audio(self, path, channel=None, start_s=None, end_s=None):
        """A recording as the model wants it: mono, at its rate, float32 [time].

        path, channel, start_s, end_s: As for `classify_file`.

        Raises BadRecording.
        """
        mono, rate = self._mono(path, channel, start_s, end_s)
        return resample(mono, rate, self._audio.sample_rate)

    # From recordings to numbers

    def outputs(self, waveforms: list[torch.Tensor]) -> Outputs:
        """All outputs for recordings, none of which is cut into windows.

        waveforms: [time] each, at the model's rate.

        Returns: On the CPU, with `hidden`.
        """
        features = [self._features(self._cropped(waveform)) for waveform in waveforms]
        n_frames = torch.tensor([len(one) for one in features], device=self.device)
        padded = torch.nn.utils.rnn.pad_sequence(features, batch_first=True)
        with self.inference_ctx:
            return score_features(self._modules, padded.to(self.device), n_frames)

    def _cropped(self, waveform):
        """What the model hears of a window: [time] → [time]"""
        crop = self.hparams.eval_crop
        return crop(waveform, "") if crop else waveform

    def _pooled(self, windows, choose, described=False):
        """What is said of a recording, float32 [size], from its windows [time]."""
        said = [choose(self.outputs([window])).numpy()[0] for window in windows]
        if described:  # as well, behind it
            own = [self._cropped(window).numpy() for window in windows]
            own = [describe(samples, self._audio.sample_rate) for samples in own]
            said = list(map(np.append, said, own))
        return pool_windows(said, self.hparams.window_pooling)

    def _embedding(self, kind, pooling_mode):
        """What takes an embedding [batch, size] out of Outputs."""
        mode = pooling_mode or self.hparams.pooling_mode
        if kind not in KINDS or mode not in POOLING_MODES:
            raise ValueError(
                f"expected kind in {KINDS} and pooling_mode in {POOLING_MODES}, found "
                f"{kind!r} and {mode!r}"
            )
        if kind == "st" and not self.hparams.shared_dense:
            raise ValueError(
                "st is the output of the shared dense layer, and this model was "
                "trained without one: use pt"
            )
        if kind == "ft":
            return lambda outputs: getattr(outputs.hidden, mode)(dim=1)
        return lambda outputs: getattr(outputs, kind)

    def _decisions(self, windows, duration_s):
        """As `classify_file` gives it, of the windows [time] of a recording."""
        hparams = self.hparams
        heard = self._pooled(
            windows, lambda outputs: torch.hstack([outputs.logits, outputs.pt]), True
        )
        logits, heard = np.split(heard, [len(self.labels)])
        ranged = judged(self._range, duration_s, heard)
        if ranged["out_of_range"] and self.out_of_range == ABSTAIN:
            ranged["predicted"] = None
        said = decisions(
            logits,
            self.labels,
            hparams.positive_weights,
            hparams.label_ranges,
            hparams.operating_points,
        )
        return {label: entry | ranged for label, entry in said.items()}

    # From files and batches to windows

    def _windows_of_file(self, path, channel, start_s, end_s):
        """The windows of a file, at the model's rate, list of [time]; its duration."""
        mono, rate = self._mono(path, channel, start_s, end_s)
        self._check(mono, rate, path)
        cut, to = self._cut(mono, rate, start_s or 0.0), self._audio.sample_rate
        return [resample(window, rate, to) for window in cut], len(mono) / rate

    def _mono(self, path, channel, start_s, end_s):
        """A file's channels in one, [time], and its rate in Hz."""
        samples, rate = decode(path, self._audio.audio_backend, start_s, end_s)
        return to_mono(samples, channel, self._audio.mono), rate

    def _windows_of_batch(self, wavs, wav_lens):
        """The windows of every waveform, list of [time], and its duration."""
        wavs = torch.atleast_2d(torch.as_tensor(wavs)).float().cpu()
        if wavs.dim() != 2:
            raise ValueError(f"expected [batch, time], found {list(wavs.shape)}")
        lengths = torch.full((len(wavs),), wavs.shape[1])
        if wav_lens is not None:
            shares = torch.as_tensor(wav_lens).cpu()
            if shares.shape != (len(wavs),) or not ((shares > 0) & (shares <= 1)).all():
                raise ValueError(
                    "expected wav_lens [batch], each recording's share of the longest "
                    f"one, above 0 and at most 1; found {shares.tolist()} of "
                    f"{len(wavs)} recordings"
                )
            lengths = torch.round(shares * wavs.shape[1]).long()
        rate = self._audio.sample_rate
        for i, (wav, n) in enumerate(zip(wavs, lengths.tolist(), strict=True)):
            self._check(wav[:n], rate, f"waveform {i}")
            yield self._cut(wav[:n], rate), n / rate

    def _cut(self, mono, rate, begin_s=0.0):
        """The windows of a waveform [time] that begins at `begin_s` of its file."""
        how = self.hparams.max_duration, self.hparams.window_overlap
        return cut_windows(mono, rate, *how, begin_s)

    def _check(self, mono, rate, name):
        """Refuse what preparation refuses: too short, no numbers, silent; [time]."""
        shortest_s = self._audio.min_duration
        if len(mono) < max(2, shortest_s * rate):
            raise BadRecording(
                f"{name} is too short: expected at least {shortest_s:g} s, found "
                f"{len(mono) / rate:.4g} s"
            )
        if not bool(torch.isfinite(mono).all()):
            raise BadRecording(f"{name} holds samples that are NaN or infinite")
        if float(mono.min()) == float(mono.max()):
            raise BadRecording(f"{name} is silent: every sample is {float(mono[0]):g}")


@contextlib.contextmanager
def _importable(folder):
    """Let hyperparams.yaml find what it needs among the folder's own modules."""
    for name in [*sys.modules]:
        if name.partition(".")[0] == "clinical_speech":  # another model's
            del sys.modules[name]
    sys.path.insert(0, folder)
    try:
        yield
    finally:
        sys.path.remove(folder)
