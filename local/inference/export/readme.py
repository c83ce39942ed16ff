"""README.md of an exported model: how to use it."""

import math

from local.data.labels import flatten

TEXT = """\
# A model for clinical speech

What it was made with, how well it tells what, and what it is not for: `model_card.md`.
It is no medical device. Embeddings can identify a speaker: treat them like recordings.

Labels, in the order of the logits: {labels}.
{flags}
## Python

    pip install -r requirements.txt

    from speechbrain.inference.interfaces import foreign_class

    model = foreign_class(
        source="FOLDER", pymodule_file="custom.py", classname="ClinicalClassifier"
    )
    model.classify_file("recording.wav")    # per label: logit, probability, …
    model.explain_file("recording.wav")     # where: a curve over time per label
    model.encode_file("recording.wav", kind="pt")    # or st, ft: [1, 1, size]
    model.classify_batch(wavs, wav_lens)    # [batch, time] at {sample_rate} Hz
    model.encode_batch(wavs, wav_lens, kind="ft", pooling_mode="sum")

`probability` is without the class weight used in training, and calibrated if the
experiment is; `predicted` is 1 from `threshold` on, and both are None where there were
too few subjects to choose one. Of a label that is a score there is `score` instead.
`st` is there if the model has a shared dense layer{has_st}. Recordings longer than
{max_duration:g} s (0: none) are cut into windows, whose outputs are pooled.
{crop}{stock}{onnx}
## Decisions

`labels.json` has what makes a decision of a logit: with w = positive_weight, the
probability is 1 / (1 + exp(-(slope · (logit - ln w) + intercept))), slope 1 and
intercept 0 unless calibrated; positive from the threshold's value on.

## Files

| | |
|---|---|
| `hyperparams.yaml` | the model, its settings, thresholds and calibration |
| `embedding_model.ckpt`, `classifier.ckpt` | weights |
| `labels.json` | labels with their heads, thresholds and calibration |
| `labels.txt`, `label_encoder.ckpt` | labels: by head, and for SpeechBrain |
| `custom.py`, `clinical_speech/` | the Python class, and modules that it needs |
| `requirements.txt` | versions that it works with |
{onnx_file}"""

ONNX = """
## ONNX

`model.onnx` takes `waveforms`, float32 [batch, time] at {sample_rate} Hz, mono, and
`lengths`, int64 [batch]: the samples of each recording, of which {min_samples} are the
least; what lies behind them does not count. It gives `logits` [batch, label], the
embeddings `pt`{st} [batch, size] and `ft` [batch, head, size], to be averaged or
summed over the heads. It cuts no windows.

    import numpy as np, onnxruntime

    session = onnxruntime.InferenceSession("FOLDER/model.onnx")
    inputs = {{"waveforms": waveform[None], "lengths": np.array([len(waveform)])}}
    logits, pt, *others = session.run(None, inputs)

Its metadata hold what `labels.json` does.
"""

ONNX_FILE = """\
| `model.onnx` | the same model for ONNX Runtime |
"""

STOCK = """
SpeechBrain's own class loads the folder as well, without `custom.py`: `pt` of a single
recording, mono at {sample_rate} Hz, and all logits of it.

    from speechbrain.inference.classifiers import EncoderClassifier

    model = EncoderClassifier.from_hparams(source="FOLDER")
    pt = model.encode_batch(waveform)    # [1, 1, size]
    logits = model.mods.classifier(pt)    # [1, 1, label]

Its `classify_file` and `classify_batch` name the largest logit only; where several
labels may hold at once, that is not what the model says. In padded batches its
embeddings depend on the padding; those of `ClinicalClassifier` don't.
"""

FLAGGED = """
**Flagged by the confound audit**: these labels can be told without the speech, from how
recordings were made or from their silence. That the model hears speech there has not
been shown (`model.flagged`, and `flagged` in `labels.json`).

{reasons}
"""

NOT_AUDITED = """
Whether labels can be told without the speech was not audited.
"""

CROP = """
Of every recording the model sees what `eval_crop` in `hyperparams.yaml` leaves of it;
`ClinicalClassifier`{and_onnx} that.
"""


def readme_text(
    hparams: dict, is_stock: bool, has_onnx: bool, flags: dict[str, list[str]] | None
) -> str:
    """Make the text.

    hparams: Of the experiment.
    is_stock: Whether SpeechBrain's EncoderClassifier loads the folder.
    has_onnx: Whether there is a model.onnx.
    flags: Labels that the confound audit flags, and why; None: there was no audit.

    Returns: Markdown.
    """
    rate, has_st = hparams["sample_rate"], hparams["shared_dense"]
    onnx = ONNX.format(
        sample_rate=rate,
        min_samples=math.ceil(hparams["min_duration"] * rate),
        st=", `st`" if has_st else "",
    )
    crop = CROP.format(and_onnx=" and `model.onnx` apply" if has_onnx else " applies")
    return TEXT.format(
        labels=", ".join(flatten(hparams["label_groups"])),
        flags=_flags_text(flags),
        sample_rate=rate,
        max_duration=hparams["max_duration"],
        has_st="" if has_st else ", which this one has not",
        crop=crop if hparams["eval_crop"] else "",
        stock=STOCK.format(sample_rate=rate) if is_stock else "",
        onnx=onnx if has_onnx else "",
        onnx_file=ONNX_FILE if has_onnx else "",
    )


def _flags_text(flags):
    if flags is None:
        return NOT_AUDITED
    reasons = "\n".join(f"- {name}: {' '.join(said)}" for name, said in flags.items())
    return FLAGGED.format(reasons=reasons) if flags else ""
