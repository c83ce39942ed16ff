"""Spectrograms: what the audit took for silence, the worst errors, one recording."""

import numpy as np
from matplotlib import colormaps
from matplotlib.figure import Figure
from matplotlib.patheffects import withStroke
from matplotlib.ticker import MaxNLocator
from scipy.signal import spectrogram

from local.data.short_windows import WINDOW_S
from local.evaluation.result import EvaluationResult
from local.report.figures.drawing import (
    COLOURS,
    SMALL,
    WIDTH,
    Sketch,
    panel_grid,
    shown,
)
from local.utils.number_format import counted, measured, number

#: As for the front end, in seconds.
FRAME_S, HOP_S = 0.025, 0.010

#: A power below that of any recording, so that digital silence has a level.
SILENT = 1e-15

#: What is drawn white, below the loudest, in dB.
RANGE_DB = 70.0

#: Few greys: the eye needs no more, and the files are small.
GREYS = colormaps["gray_r"].resampled(16)

#: Silences of a label, beside each other.
N_COLUMNS = 3

#: Columns of a spectrogram at most: an hour has 360,000, and a page no room for them.
MAX_FRAMES = 4000

#: What a curve is, for a reader who has the picture alone.
LEGEND = (
    f"Each point: the model's output for {WINDOW_S:g} s alone, higher is more like the "
    "label.\nShaded: the highest, whether or not the label is present. Grey: not "
    "decided to be present.\nA peak is a place to listen to, not a cause."
)

#: What a recording of so many seconds has room for; longer ones are drawn wider, up to
#: so many times.
SECONDS_IN_WIDTH, WIDEST = 10.0, 3.0


def draw_silences(evidence: EvaluationResult) -> Sketch | None:
    """What the audit took for silence, up to three recordings of each label.

    All have the same scale of loudness, so that noise floors can be compared.
    """
    silences = {label: heard for label, heard in evidence.silences.items() if heard}
    if not silences:
        return None
    figure = Figure(figsize=(WIDTH, 2.5 * len(silences)), layout="constrained")
    rows = figure.subfigures(len(silences), 1, squeeze=False).ravel()
    heard = [excerpt for excerpts in silences.values() for excerpt in excerpts]
    top = max(_decibels(each.waveform, each.sample_rate).max() for each in heard)
    for row, (label, excerpts) in zip(rows, silences.items(), strict=True):
        row.suptitle(shown(label, 60), fontsize=10)
        panels = row.subplots(1, N_COLUMNS, sharey=True)
        for panel in panels[len(excerpts) :]:
            panel.remove()
        for panel, excerpt in zip(panels, excerpts, strict=False):
            _picture(panel, excerpt.waveform, excerpt.sample_rate, top)
            lines = _name(evidence, excerpt), f"rated {measured(excerpt.target)}"
            title = "\n".join(shown(text, 19) for text in lines)
            panel.set_title(title, fontsize=SMALL)
            panel.set_xlabel("s")
            panel.xaxis.set_major_locator(MaxNLocator(2))
        panels[0].set_ylabel("kHz")
    said = "; ".join(
        f"{label}: {', '.join(f'row {excerpt.row}' for excerpt in excerpts)}"
        for label, excerpts in silences.items()
    )
    alt = (
        f"Spectrograms of {counted(len(heard), 'second')} in which nobody should "
        f"speak, on one scale of loudness, by row of predictions.csv. {said}."
    )
    return Sketch(figure, "What the audit took for silence", alt)


def draw_errors(evidence: EvaluationResult) -> Sketch | None:
    """The recordings that are most wrong."""
    if not evidence.errors:
        return None
    captions = [
        [excerpt.label, *_caption(evidence, excerpt)] for excerpt in evidence.errors
    ]
    peaks = [_peak(excerpt) for excerpt in evidence.errors]
    height = 2.7 if any(excerpt.curves for excerpt in evidence.errors) else 2.4
    figure, panels = panel_grid(len(captions), height)
    for panel, excerpt, lines in zip(panels, evidence.errors, captions, strict=True):
        _picture(panel, excerpt.waveform, excerpt.sample_rate)
        panel.set(xlabel="s", ylabel="kHz")
        panel.set_title("\n".join(shown(text, 32) for text in lines), fontsize=SMALL)
        if excerpt.curves:
            below = panel.inset_axes((0, -0.5, 1, 0.4), sharex=panel)
            is_score = evidence.types[excerpt.label].is_score
            _curve(below, excerpt.curves, excerpt.label, is_score)
            panel.tick_params(labelbottom=False)
            panel.set_xlabel("")  # the peak tells the unit
    said = "; ".join(
        ", ".join(lines) + peak for lines, peak in zip(captions, peaks, strict=True)
    )
    alt = f"Spectrograms of the recordings that are most wrong, worst first: {said}."
    return Sketch(figure, "The worst errors", alt)


def draw_explained(
    name: str, waveform: np.ndarray, rate: int, explained: dict, captions: dict
) -> Sketch:
    """A recording, and below it what a model says of each of its short windows.

    name: Of the recording.
    waveform: [time], at `rate` in Hz.
    explained: As `ClinicalClassifier.explain_file` gives it, of each label with what is
        said of the whole recording; what is not `predicted` to be there is grey.
    captions: Of each label what is said of the whole recording.
    """
    labels = explained["labels"]
    width = len(waveform) / rate / SECONDS_IN_WIDTH
    size = WIDTH * min(max(1.0, width), WIDEST), 2.8 + 1.1 * len(labels)
    figure = Figure(figsize=size, layout="constrained")
    ratios = [2, *[1] * len(labels)]
    first, *panels = figure.subplots(
        len(ratios), 1, sharex=True, squeeze=False, height_ratios=ratios
    ).ravel()
    _picture(first, waveform, rate)
    first.set_ylabel("kHz")
    first.set_title(shown(name, 60), fontsize=SMALL)
    for panel, label in zip(panels, labels, strict=True):
        _curve(panel, explained, label, "score" in labels[label])
        title = shown(f"{label}: {captions[label]}", 64)
        panel.set_title(title, fontsize=SMALL, loc="left")
    panels[-1].set_xlabel("time (s)")
    figure.supxlabel(LEGEND, fontsize=SMALL)
    figure.align_ylabels(panels)
    peaks = {label: _peak_s(entry) for label, entry in labels.items()}
    said = (f"{k} {'nowhere' if s is None else f'{s:.2f} s'}" for k, s in peaks.items())
    return Sketch(figure, name, f"Where each label is heard most: {', '.join(said)}.")


def _curve(panel, explained, label, is_score):
    """Draws a label's values over time; the highest window is shaded and told."""
    entry = explained["labels"][label]
    values, peak_s = np.array(entry["values"], dtype=float), _peak_s(entry)
    line, peak = COLOURS[:2] if entry.get("predicted", 1) else ("0.6", "0.6")
    panel.plot(explained["times_s"], values, color=line, marker=".", markersize=3)
    if peak_s is not None:
        reach_s = WINDOW_S / 2
        panel.axvspan(peak_s - reach_s, peak_s + reach_s, color=peak, alpha=0.25)
        panel.axvline(peak_s, color=peak, linestyle="--", linewidth=1)
        panel.annotate(
            f"{peak_s:.2f} s",
            (peak_s + reach_s, 0.05),
            xycoords=panel.get_xaxis_transform(),
            fontsize=SMALL,
            path_effects=[withStroke(linewidth=3, foreground="white")],
        )
    panel.set_ylabel("score" if is_score else "logit", fontsize=SMALL)
    panel.yaxis.set_major_locator(MaxNLocator(3))
    panel.grid(color="0.9")


def _caption(evidence, excerpt):
    """Which recording it is; what was rated and what was predicted."""
    is_score = evidence.types[excerpt.label].is_score
    form = measured if is_score else number
    predicted = (
        f"{'predicted' if is_score else 'probability'} {form(excerpt.prediction)}"
    )
    return _name(evidence, excerpt), f"rated {measured(excerpt.target)}, {predicted}"


def _peak(excerpt):
    """Where its label is heard, in words."""
    curves = excerpt.curves
    peak_s = curves and _peak_s(curves["labels"][excerpt.label])
    return "" if peak_s is None else f", heard most at {peak_s:.2f} s"


def _peak_s(entry):
    """When the highest window is; None where all are alike."""
    values = [value for value in entry["values"] if value is not None]
    return entry["peak_s"] if max(values) - min(values) > 0.001 else None


def _name(evidence, excerpt):
    """Which recording it is; by uid only where that was asked for."""
    uid = f", {excerpt.uid}" if evidence.show_uids else ""
    return f"row {excerpt.row}{uid}"


def _decibels(waveform, rate):
    """Levels of short-time spectra, [frequency, time], in dB."""
    size, hop = round(FRAME_S * rate), round(HOP_S * rate)
    samples = np.asarray(waveform, dtype=float)
    samples = np.pad(samples, (0, max(0, size - len(samples))))
    hop = max(hop, len(samples) // MAX_FRAMES)
    *_, power = spectrogram(
        samples,
        rate,
        window="hann",
        nperseg=size,
        noverlap=size - hop,
        detrend=False,
        scaling="spectrum",
    )
    return 10 * np.log10(power + SILENT)


def _picture(panel, waveform, rate, top=None):
    """Draws a spectrogram: dark is loud, `top` dB (else the loudest) the darkest."""
    level = _decibels(waveform, rate)
    top = level.max() if top is None else top
    panel.imshow(
        level,
        origin="lower",
        aspect="auto",
        cmap=GREYS,
        interpolation_stage="data",  # greys between these few would make large files
        vmin=top - RANGE_DB,
        vmax=top,
        extent=(0, len(waveform) / rate, 0, rate / 2000),
    )
