"""Spectrograms: what the audit took for silence, and the worst errors."""

import numpy as np
from matplotlib import colormaps
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from scipy.signal import spectrogram

from local.evaluation.result import EvaluationResult
from local.report.figures.drawing import SMALL, WIDTH, Sketch, panel_grid, shown
from local.utils.number_format import counted, measured, number

#: As for the front end, in seconds.
WINDOW_S, HOP_S = 0.025, 0.010

#: A power below that of any recording, so that digital silence has a level.
SILENT = 1e-15

#: What is drawn white, below the loudest, in dB.
RANGE_DB = 70.0

#: Few greys: the eye needs no more, and the files are small.
GREYS = colormaps["gray_r"].resampled(16)

#: Silences of a label, beside each other.
N_COLUMNS = 3


def draw_silences(evidence: EvaluationResult) -> Sketch | None:
    """What the audit took for silence, up to three recordings of each label.

    All have the same scale of loudness, so that noise floors can be compared.
    """
    silences = {label: heard for label, heard in evidence.silences.items() if heard}
    if not silences:
        return None
    figure = Figure(figsize=(WIDTH, 2.5 * len(silences)), layout="constrained")
    rows = figure.subfigures(len(silences), 1, squeeze=False).ravel()
    levels = {
        label: [_decibels(excerpt) for excerpt in excerpts]
        for label, excerpts in silences.items()
    }
    top = max(level.max() for row in levels.values() for level in row)
    for row, (label, excerpts) in zip(rows, silences.items(), strict=True):
        row.suptitle(shown(label, 60), fontsize=10)
        panels = row.subplots(1, N_COLUMNS, sharey=True)
        for panel in panels[len(excerpts) :]:
            panel.remove()
        for panel, excerpt, level in zip(panels, excerpts, levels[label], strict=False):
            _picture(panel, excerpt, level, top)
            lines = _name(evidence, excerpt), f"rated {measured(excerpt.target)}"
            title = "\n".join(shown(text, 19) for text in lines)
            panel.set_title(title, fontsize=SMALL)
            panel.set_xlabel("s")
            panel.xaxis.set_major_locator(MaxNLocator(2))
        panels[0].set_ylabel("kHz")
    n = sum(map(len, silences.values()))
    said = "; ".join(
        f"{label}: {', '.join(f'row {excerpt.row}' for excerpt in excerpts)}"
        for label, excerpts in silences.items()
    )
    alt = (
        f"Spectrograms of {counted(n, 'second')} in which nobody should speak, on one "
        f"scale of loudness, by row of predictions.csv. {said}."
    )
    return Sketch(figure, "What the audit took for silence", alt)


def draw_errors(evidence: EvaluationResult) -> Sketch | None:
    """The recordings that are most wrong."""
    if not evidence.errors:
        return None
    captions = [
        [excerpt.label, *_caption(evidence, excerpt)] for excerpt in evidence.errors
    ]
    figure, panels = panel_grid(len(captions), height=2.4)
    for panel, excerpt, lines in zip(panels, evidence.errors, captions, strict=True):
        level = _decibels(excerpt)
        _picture(panel, excerpt, level, level.max())
        panel.set(xlabel="s", ylabel="kHz")
        panel.set_title("\n".join(shown(text, 32) for text in lines), fontsize=SMALL)
    said = "; ".join(", ".join(lines) for lines in captions)
    alt = f"Spectrograms of the recordings that are most wrong, worst first: {said}."
    return Sketch(figure, "The worst errors", alt)


def _caption(evidence, excerpt):
    """Which recording it is; what was rated and what was predicted."""
    is_score = evidence.types[excerpt.label].is_score
    form = measured if is_score else number
    predicted = (
        f"{'predicted' if is_score else 'probability'} {form(excerpt.prediction)}"
    )
    return _name(evidence, excerpt), f"rated {measured(excerpt.target)}, {predicted}"


def _name(evidence, excerpt):
    """Which recording it is; by uid only where that was asked for."""
    uid = f", {excerpt.uid}" if evidence.show_uids else ""
    return f"row {excerpt.row}{uid}"


def _decibels(excerpt):
    """Levels of short-time spectra, [frequency, time], in dB."""
    rate = excerpt.sample_rate
    size, hop = round(WINDOW_S * rate), round(HOP_S * rate)
    samples = np.asarray(excerpt.waveform, dtype=float)
    samples = np.pad(samples, (0, max(0, size - len(samples))))
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


def _picture(panel, excerpt, level, top):
    """Draws a spectrogram: dark is loud, `top` dB the darkest."""
    duration = len(excerpt.waveform) / excerpt.sample_rate
    panel.imshow(
        level,
        origin="lower",
        aspect="auto",
        cmap=GREYS,
        interpolation_stage="data",  # greys between these few would make large files
        vmin=top - RANGE_DB,
        vmax=top,
        extent=(0, duration, 0, excerpt.sample_rate / 2000),
    )
