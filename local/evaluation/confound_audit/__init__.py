"""The confound audit: can labels be told from anything but the speech?

A model that is right for the wrong reason, because affected people were recorded on
another ward's microphone, is as good on a test split as one that hears speech. The
audit looks for such reasons in four ways: how recordings were made (`capture`), what
is in them when nobody speaks (`silence`), the trained model on that silence, and who
or what is in two splits (`leakage`). `probes` has the statistics, `power` what they can
find, `tested` what may flag a label, `verdict` the tests, `reasons` the words.

    features, silence = extract(waveform, sample_rate, row)    # for each recording
    labels = audit_labels(manifest, features, names, silence_logits=…)
    audit = {"labels": labels, "summary": summary(labels)}
    audit |= leakage(splits, names)
"""

from local.evaluation.confound_audit.capture import extract
from local.evaluation.confound_audit.leakage import leakage
from local.evaluation.confound_audit.reasons import summary
from local.evaluation.confound_audit.verdict import audit_labels

__all__ = ["audit_labels", "extract", "leakage", "summary"]
