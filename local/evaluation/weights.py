"""What linear heads make of each statistic, in words that a clinician knows.

Statistics are standardised, by how they vary over the training recordings: a weight is
the change of the log-odds (of a score: of the score) where a statistic is one usual
deviation higher and all others stay. So it needs the statistic's range there beside it.
"""

from collections.abc import Iterable, Mapping

import numpy as np

from local.model.acoustic_statistics import MODULATION_BANDS
from local.model.kernel_heads import KernelHeads, RobustStandardisation
from local.training.scoring import ScoringBrain

#: Statistics that are told of each label.
N_TOLD = 10

COMPARES = (
    "the head compares recordings with those of training (kernel rbf): no statistic "
    "has a weight of its own"
)
CONSTANT = "nothing could be learned of it"
FEW_FOLDS = "fewer than two folds have a linear head"

#: Units, as names of statistics end with them or have them before what is told.
UNITS = {"db": "dB", "hz": "Hz", "s": "s", "semitones": "semitones"}

#: What is measured, by the part of a name before what is told of it.
TRACKS = {
    "level_db": "level",
    "centroid_hz": "centre of the spectrum",
    "flatness_db": "noise-like spectrum",
    "f0_hz": "pitch, all frames",
    "harmonicity_db": "harmonics-to-noise ratio",
    "jitter_db": "jitter",
    "shimmer_db": "shimmer",
    "gne_db": "glottal-to-noise excitation",
    "spectral_centroid": "centre of the spectrum of a frame",
    "spectral_spread": "width of the spectrum",
    "spectral_skew": "skew of the spectrum",
    "spectral_kurtosis": "peakedness of the spectrum",
    "spectral_entropy": "evenness of the spectrum (entropy)",
    "spectral_flatness": "noise-like spectrum of a frame",
    "spectral_crest": "strongest tone over the spectrum's mean",
    "spectral_flux": "change of the spectrum from bin to bin",
    **{f"cepstrum_{i}": f"cepstrum of the voice, {i}" for i in range(4)},
    "mfcc_00": "overall energy (cepstral coefficient 0)",
    "mfcc_01": "tilt of the spectrum (cepstral coefficient 1)",
    **{
        f"mfcc_{i:02d}": f"shape of the spectrum (cepstral coefficient {i})"
        for i in range(2, 20)
    },
}

#: What is told of it.
KINDS = {
    "mean": "mean",
    "sd": "variation",
    "q10": "lowest tenth",
    "q50": "median",
    "q90": "highest tenth",
}

#: Those that are no tracks.
SINGLE = {
    "f0_median_hz": "pitch (median)",
    "f0_sd_semitones": "pitch (variation)",
    "voiced_share": "share of voiced sound",
    "duration_s": "length of the recording",
    "pause_share": "share of pauses",
    "n_pauses": "number of pauses",
    "alpha_ratio_db": "energy below 1 kHz over energy above (alpha ratio)",
    "hammarberg_db": "strongest tone below 2 kHz over those above (Hammarberg index)",
    "low_balance_db": "energy below 500 Hz over 500 to 1000 Hz",
    "slope_db": "slope of the spectrum",
    **{
        f"{track}_{band}_db": f"{word} changes {low:g} to {high:g} times a second"
        for track, word in (("f0", "pitch"), ("level", "level"))
        for band, (low, high) in MODULATION_BANDS.items()
    },
}


def in_words(statistic: str) -> str:
    """What a statistic is; the name itself of one that is not of this recipe.

    >>> in_words("acoustic_jitter_db_mean"), in_words("acoustic_f0_median_hz")
    ('jitter (mean)', 'pitch (median)')
    """
    name = statistic.removeprefix("acoustic_")
    track, _, kind = name.rpartition("_")
    if track in TRACKS and kind in KINDS:
        return f"{TRACKS[track]} ({KINDS[kind]})"
    return SINGLE.get(name, statistic)


def weights_of(modules: Mapping) -> dict[str, dict[str, tuple] | str] | None:
    """By label the weight of each statistic, and what is usual; or why there is none.

    Usual is from where to where nine of ten training recordings are.

    modules: Of a trained model.

    Returns: None of a model whose heads don't read statistics that have names.
    """
    heads, norm = modules["classifier"], modules["embedding_model"]
    names = getattr(modules["compute_features"], "names", None)
    fits = isinstance(heads, KernelHeads) and isinstance(norm, RobustStandardisation)
    if not fits or names is None:
        return None
    ranges = norm.quantiles[:, [5, 95]].T.tolist()  # there is one for each percent
    columns = heads.weight.T.tolist()
    compares = (heads.similarity_weight != 0).any(dim=0).tolist()
    return {
        label: dict(zip(names, zip(column, *ranges, strict=True), strict=True))
        if any(column)
        else (COMPARES if similarity else CONSTANT)
        for label, column, similarity in zip(
            heads.labels, columns, compares or [False] * len(columns), strict=True
        )
    }


def models_weights(brains: Iterable[ScoringBrain]) -> list[dict]:
    """`weights_of` of trained models that all have some, else none."""
    models = [weights_of(brain.plain_modules) for brain in brains]
    return [] if None in models else models


def heaviest(models: list[dict[str, dict[str, tuple] | str]]) -> dict[str, dict]:
    """What metrics.json says of the weights of each label.

    models: `weights_of` of one model, or of each fold's.

    Returns: By label "weights", [{"statistic", "words", "unit", "usual", "weight",
        "low", "high"}], the heaviest first: of folds the mean, the lowest and the
        highest of those that have a linear head, of one model without "low" and "high"
        (None); or none of them, and "weights_reason". "usual" is [low, high] of the
        statistic itself, of folds the mean.
    """
    entries = {}
    for label in models[0]:
        linear = [model[label] for model in models if isinstance(model[label], dict)]
        if len(linear) < min(2, len(models)):
            others = [model[label] for model in models if model[label] not in linear]
            reason = FEW_FOLDS if linear else others[0]
            entries[label] = {"weights": [], "weights_reason": reason}
            continue
        told = np.array([[*weights.values()] for weights in linear])
        values, usual = told[..., 0], told[..., 1:].mean(axis=0)
        means, several = values.mean(axis=0), len(models) > 1
        order = np.argsort(-np.abs(means), kind="stable")[:N_TOLD]
        names = [*linear[0]]
        entries[label] = {
            "weights": [
                {
                    "statistic": names[i],
                    "words": in_words(names[i]),
                    "unit": next(filter(None, map(UNITS.get, names[i].split("_"))), ""),
                    "usual": usual[i].tolist(),
                    "weight": float(means[i]),
                    "low": float(values[:, i].min()) if several else None,
                    "high": float(values[:, i].max()) if several else None,
                }
                for i in order
            ]
        }
    return entries
