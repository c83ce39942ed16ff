"""Measure which curve over time leads to the breakdowns that the demo corpus plants.

    python recipes/demo/places.py --corpus_folder=DIR --experiment_folder=DIR

Of each true positive of the test split: does the curve's peak lie within 0.3 s of a
planted breakdown? `explain_file` computes the windows of 0.3 s.
"""

import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from sklearn.metrics import roc_auc_score

sys.path.insert(0, str(Path(__file__).parents[2]))

from local.data.predictions_table import read_predictions
from local.data.short_windows import score_windows
from local.inference.classifier import ClinicalClassifier
from local.report.terminal import pipe_table
from local.utils import cli
from local.utils.errors import UserError, told_if_damaged
from local.utils.usage import Parser

LABEL, NEAR_S = "irregular artic breakdowns", 0.3

#: Seconds of a window that is heard alone, and of what is hidden.
WINDOWS_S, HIDDEN_S = (0.3, 0.5, 1.0), 0.3


def main(argv):
    """Measure each curve; print a table."""
    parser = Parser()
    parser.add_argument("--corpus_folder", type=Path, required=True)
    parser.add_argument("--experiment_folder", type=Path, required=True)
    given = parser.parse_args(argv)
    spans = read_spans(given.corpus_folder / "breakdowns.csv")
    model = ClinicalClassifier.from_hparams(given.experiment_folder)
    said = read_predictions(given.experiment_folder / "predictions.csv")
    said = said[(said["label"] == LABEL) & (said["target"] == 1)]
    true = said.loc[said["predicted"] == 1, "uid"]
    uids = [uid for uid in true if uid in spans.groups]
    print(f"{len(said)} positives, {len(true)} found, {len(uids)} with breakdowns.")
    if not uids:
        raise UserError(
            "No recording is left to measure: expected an experiment of this corpus "
            f"that finds `{LABEL}`."
        )
    heard = [_recording(model, given.corpus_folder, uid) for uid in uids]
    planted = [
        _distances(times, spans.get_group(uid))
        for uid, (_, times) in zip(uids, heard, strict=True)
    ]
    rows = [["curve", "near", "chance", "shuffled", "inside", "AUROC", "s each"]]
    for name, curve in _curves(model).items():
        begin = time.perf_counter()
        curves = [curve(*recording) for recording in heard]
        each = (time.perf_counter() - begin) / len(uids)
        rows.append([name, *measures(curves, planted), f"{each:.1f}"])
        print(pipe_table(rows[:1] + rows[-1:]).splitlines()[-1], flush=True)
    print(f"\n{pipe_table(rows)}")


def read_spans(path: Path):
    """The breakdowns that are planted in each recording, by `uid`.

    Raises UserError: if the file is not there or damaged.
    """
    expected = (
        "uid, start_s and end_s of each breakdown, as recipes/demo/prepare.py writes "
        "them (0.1.0 did not). Make the corpus anew, in another folder."
    )
    with told_if_damaged(path, expected):
        spans = pd.read_csv(path, dtype={"uid": str})
        spans[["start_s", "end_s"]] = spans[["start_s", "end_s"]].astype(float)
        return spans.groupby("uid")


def measures(curves: list[np.ndarray], planted: list[np.ndarray]) -> list[str]:
    """How well peaks agree with what was planted.

    curves: Of each recording [time].
    planted: Of the same times the distance to the nearest breakdown in s, 0 inside.

    Returns: The share of peaks near one; of times near one; of peaks that are, if each
        is moved to the same place of every other recording; the share of peaks inside;
        the mean AUROC of the curve for inside against outside.

    >>> far = np.array([0.0, 0.5, 0.5])
    >>> measures([np.array([3, 1, 2]), np.array([2, 1, 3])], [far, far])
    ['0.50', '0.33', '0.50', '0.50', '0.75']
    """
    peaks = [int(np.argmax(curve)) for curve in curves]
    places = [peak / len(curve) for peak, curve in zip(peaks, curves, strict=True)]
    at = [d[peak] for d, peak in zip(planted, peaks, strict=True)]
    moved = [
        d[int(place * len(d))]
        for i, d in enumerate(planted)
        for j, place in enumerate(places)
        if i != j
    ]
    areas = [
        roc_auc_score(d == 0, curve)
        for d, curve in zip(planted, curves, strict=True)
        if 0 < (d == 0).sum() < len(d)
    ]
    values = (
        np.mean(np.array(at) <= NEAR_S),
        np.mean([np.mean(d <= NEAR_S) for d in planted]),
        np.mean(np.array(moved) <= NEAR_S),
        np.mean(np.array(at) == 0),
        np.mean(areas),
    )
    return [f"{value:.2f}" for value in values]


def _recording(model, corpus, uid):
    """Its waveform [time] and the middles in s of its windows that are no pauses."""
    path = next((corpus / "audio" / uid).glob("waveform.*"), None)
    if path is None:
        raise UserError(f"{corpus / 'audio' / uid} holds no recording: expected one.")
    waveform, rate = model.load_audio(path), model.hparams.sample_rate
    said = score_windows(
        waveform, rate, lambda some: torch.zeros(len(some), 1), [LABEL]
    )
    is_pause = np.array([value is None for value in said["labels"][LABEL]["values"]])
    return waveform, np.array(said["times_s"])[~is_pause]


def _distances(times_s, spans):
    """From each time to the nearest of the spans; 0 inside: [time] in s."""
    begin, end = spans["start_s"].to_numpy(), spans["end_s"].to_numpy()
    middle = times_s[:, None]
    return np.maximum(np.maximum(begin - middle, middle - end), 0).min(axis=1)


def _curves(model):
    """By name what takes a waveform [time] and times in s, and gives a curve [time]."""
    rate, index = model.hparams.sample_rate, model.labels.index(LABEL)

    def logits(waveforms):
        some = [waveforms[i : i + 8] for i in range(0, len(waveforms), 8)]
        return np.concatenate([model.outputs(w).logits[:, index] for w in some])

    def bounds(waveform, times_s, length_s):
        for time_s in times_s:
            begin = max(0, round((time_s - length_s / 2) * rate))
            yield begin, min(len(waveform), begin + round(length_s * rate))

    def windows(length_s):
        return lambda waveform, times_s: logits(
            [waveform[b:e] for b, e in bounds(waveform, times_s, length_s)]
        )

    def hidden(hide):
        def curve(waveform, times_s):
            pieces = bounds(waveform, times_s, HIDDEN_S)
            return -logits([hide(waveform, b, e, rate) for b, e in pieces])

        return curve

    def attention(waveform, times_s):
        kept = []
        pooling = model.embedding_model.asp
        hook = pooling.conv.register_forward_hook(lambda *all_: kept.append(all_[2]))
        model.outputs([waveform])
        hook.remove()
        weights = torch.softmax(kept[0][0], dim=1).mean(dim=0).cpu().numpy()
        frames = (times_s * len(weights) / len(waveform) * rate).astype(int)
        return weights[frames]

    curves = {f"windows of {length_s} s": windows(length_s) for length_s in WINDOWS_S}
    curves |= {"hidden by noise": hidden(_noise), "cut out": hidden(_cut)}
    if hasattr(model.embedding_model, "asp"):
        curves["attention"] = attention
    return curves


def _noise(waveform, begin, end, rate):
    """The waveform with white noise as loud as its pauses in a stretch's place."""
    frames = waveform[: len(waveform) // (rate // 50) * (rate // 50)]
    levels = frames.view(-1, rate // 50).square().mean(dim=1).sqrt()
    noise = torch.randn(end - begin, generator=torch.Generator().manual_seed(0))
    filled = waveform.clone()
    filled[begin:end] = noise * torch.quantile(levels, 0.1)
    return filled


def _cut(waveform, begin, end, _rate):
    """The waveform without a stretch."""
    return torch.cat([waveform[:begin], waveform[end:]])


if __name__ == "__main__":
    cli.run(main)
