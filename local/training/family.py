"""How simple a model is, by the yaml that trains it.

Of two models that can't be told apart the simpler one is to be preferred: it needs
less data, less time, and has less room to learn what is chance. A family is read off
the yaml's values:

    features           `features` names a file: a head on features from elsewhere
    frozen encoder     `ssl_source` names a pretrained encoder, none of it is trained
    tuned encoder      some of it is (`ssl_trainable`, `lora_rank`), or training starts
                       from another model (`pretrained`)
    statistics         nothing is learned by gradients (`opt_class: null`)
    from scratch       all others
"""

from local.model.encoder_source import is_tuned

PREVALENCE = "prevalence"
STATISTICS, FEATURES = "statistics", "features"
FROZEN, TUNED = "frozen encoder", "tuned encoder"
SCRATCH = "from scratch"

#: The simplest first.
FAMILIES = (PREVALENCE, STATISTICS, FEATURES, FROZEN, TUNED, SCRATCH)


def family_of(values: dict) -> str:
    """The family of what a training yaml trains.

    values: Its plain values.

    Returns: One of `FAMILIES`.

    >>> family_of({"opt_class": None}), family_of({"opt_class": {}, "pretrained": None})
    ('statistics', 'from scratch')
    >>> family_of({"ssl_source": "wavlm", "ssl_trainable": "none", "opt_class": None})
    'frozen encoder'
    >>> family_of({"ssl_source": "wavlm", "ssl_trainable": 2})
    'tuned encoder'
    """
    if values.get("features"):
        return FEATURES
    if values.get("ssl_source"):
        tuned = is_tuned(values.get("ssl_trainable"), values.get("lora_rank"))
        return TUNED if tuned else FROZEN
    if values.get("pretrained"):
        return TUNED
    return STATISTICS if values.get("opt_class", ...) is None else SCRATCH
