"""Load an exported model as its users will, and save what it gives for some recordings.

    python -I -B probe.py FOLDER PROBES.npz OUTPUT.npz STOCK

In a process of its own, with -I: nothing of this recipe can be imported there.
"""

import json
import sys

import numpy as np
import torch
from speechbrain.inference.classifiers import EncoderClassifier
from speechbrain.inference.interfaces import foreign_class


def main(folder, probes_file, output_file, is_stock):
    """Load, run, save."""
    torch.set_num_threads(1)
    with np.load(probes_file) as probes:
        waveforms = [torch.from_numpy(probes[key]) for key in probes.files]
    results = with_interface(folder, waveforms)
    if is_stock:
        results |= with_stock_classes(folder, waveforms)
    np.savez(output_file, **results)


def with_interface(folder, waveforms):
    """What custom.py's class gives: one by one, together, and its decisions."""
    model = foreign_class(
        source=folder,
        pymodule_file="custom.py",
        classname="ClinicalClassifier",
        run_opts={"device": "cpu"},
    )
    results = {"labels": np.array(model.labels)}
    alone = [model.outputs([waveform]) for waveform in waveforms]
    together = model.outputs(waveforms)
    for kind in ("logits", "pt", "st", "hidden"):
        results[kind] = torch.cat([getattr(outputs, kind) for outputs in alone]).numpy()
        results[f"batch {kind}"] = getattr(together, kind).numpy()
    decisions = [model.classify_batch(waveform)[0] for waveform in waveforms]
    results["decisions"] = np.array(json.dumps(decisions))
    return results


def with_stock_classes(folder, waveforms):
    """What SpeechBrain's own class gives, one by one."""
    model = EncoderClassifier.from_hparams(source=folder, run_opts={"device": "cpu"})
    with torch.no_grad():
        pt = torch.cat([model.encode_batch(waveform) for waveform in waveforms])
        logits = model.mods.classifier(pt)
    labels = model.hparams.label_encoder.decode_torch(torch.arange(logits.shape[-1]))
    return {
        "stock pt": pt.squeeze(1).numpy(),
        "stock logits": logits.squeeze(1).numpy(),
        "stock labels": np.array(labels),
    }


if __name__ == "__main__":
    main(*sys.argv[1:4], is_stock=sys.argv[4] == "True")
