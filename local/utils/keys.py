"""The keys of the yamls in one table: what each takes, and who may change it when.

Adding a key means a row here, a line in the yaml, and the code that uses it
(docs/extending.md). What else has to hold of values, the constructor of their object
checks, as `AudioFormat`'s.
"""

import dataclasses

#: Kinds of values.
TEXT = "text"  # whatever it looks like: a folder may be called 2024
TEXTS = "text or a list of texts"
WHOLE = "a whole number"
NUMBER = "a number"
SHARE = "a number from 0 to 1"
OTHER_NUMBER = "a number, checked where it is used"
LAYERS = "none, all or a whole number, checked where it is used"
SWITCH = "True or False"
CHOICE = "one of a few names"
RANGE = "[low, high] or one number"
LIST = "a list"
MAPPING = "a mapping"


@dataclasses.dataclass(frozen=True)
class Key:
    """A plain key of one or several yamls.

    kind: Of its value.
    low, high: The range of a number; None: no limit.
    null: Whether a number or a choice may be null, for one that the code makes.
    choices: The names of a choice.
    folder: Key of the folder that a share above 0 needs.
    prepares: Whether what preparation finds depends on it.
    resume: Whether an interrupted training may go on with another value: it neither
        shapes the model nor says what the data are.
    folds: Whether an interrupted cross-validation may: it changes no result.
    later: Whether a later command replaces an experiment's value: "chosen" unless it
        is null there, "always" where it says something of the machine.
    filled: Whether train.py fills it: "data" from what preparation finds, "place" from
        the output folder, "built" from the model, in yamls that have it.
    needed: Whether an experiment without it is none.
    bare: What `--key` without a value means.
    """

    kind: str
    low: float | None = None
    high: float | None = None
    null: bool = False
    choices: tuple[str, ...] = ()
    folder: str | None = None
    prepares: bool = False
    resume: bool = False
    folds: bool = False
    later: str | None = None
    filled: str | None = None
    needed: bool = False
    bare: str | None = None


def _choice(*names, **marks):
    return Key(CHOICE, choices=names, **marks)


def _machine(kind, **marks):
    return Key(kind, resume=True, folds=True, later="always", **marks)


KEYS = {
    "seed": Key(WHOLE, 0, 2**32 - 1, prepares=True, needed=True),
    # ---- Where the data are: the corpus may move, what is there is compared
    "corpus_folder": Key(TEXT, resume=True),
    "data_folder": Key(TEXT, resume=True, later="chosen"),
    "study": Key(TEXT),
    "split_folder": Key(TEXT, resume=True),
    "labels_file": Key(TEXT, resume=True),
    "audio_cache": _machine(TEXT),
    "audio_cache_gb": _machine(OTHER_NUMBER),
    "gcs_project": _machine(TEXT),
    "feature_cache": Key(TEXT, resume=True, folds=True),
    # ---- What they mean
    "label_types": Key(MAPPING, prepares=True),
    "derived_labels": Key(MAPPING, prepares=True),
    "label_values": Key(MAPPING, prepares=True),
    "missing_values": Key(LIST, prepares=True),
    "disjoint_by": Key(LIST, prepares=True),
    "val_size": Key(WHOLE, 0, prepares=True),
    "on_bad_recording": _choice("stop", "skip", prepares=True, later="chosen"),
    "check_only": Key(SWITCH, resume=True),
    # ---- Output
    "dataset_name": Key(TEXT, resume=True),
    "output_folder": Key(TEXT, resume=True, folds=True),
    "save_folder": Key(TEXT, filled="place"),
    "train_log": Key(TEXT, filled="place"),
    "upload_to": Key(TEXT, resume=True),
    "loggers": Key(LIST, resume=True, folds=True),
    "label_groups": Key(LIST, filled="data", needed=True),
    "positive_weights": Key(LIST, filled="data"),
    "label_ranges": Key(LIST, filled="data"),
    "pretrained_digest": Key(TEXT, filled="data"),
    "ssl_encoder": Key(MAPPING, filled="built"),
    # ---- Audio
    "sample_rate": Key(WHOLE, 0, 768_000, prepares=True, needed=True),
    "audio_backend": _choice("soundfile", "librosa", prepares=True),
    "mono": _choice("mean", "sum", prepares=True),
    "min_duration": Key(NUMBER, 0, prepares=True),
    "clip_length": Key(NUMBER, 0),
    # ---- Augmentation
    "speed": Key(SHARE),
    "speed_range": Key(RANGE),
    "stretch": Key(SHARE),
    "stretch_range": Key(RANGE),
    "pshift": Key(SHARE),
    "pshiftn": Key(RANGE),
    "tshift": Key(SHARE),
    "tshift_range": Key(RANGE),
    "reverb": Key(SHARE, folder="reverb_folder"),
    "reverb_folder": Key(TEXT),
    "background": Key(SHARE, folder="background_folder"),
    "background_folder": Key(TEXT),
    "background_snr": Key(RANGE),
    "gauss": Key(SHARE),
    "gauss_snr": Key(RANGE),
    "gauss_std": Key(RANGE),
    "gain": Key(SHARE),
    "gain_range": Key(RANGE),
    "codec": Key(SHARE),
    "drop_freq": Key(SHARE),
    "drop_chunk": Key(SHARE),
    "silence": Key(SHARE),
    "silence_range": Key(RANGE),
    "mixup": Key(SHARE),
    "mixup_equal_level": Key(SWITCH),
    "freqm": Key(WHOLE, 0),
    "timem": Key(WHOLE, 0),
    "noise": Key(SWITCH),
    "noise_level": Key(NUMBER, 0),
    "noise_roll": Key(WHOLE, 0),
    # ---- Front end
    "fbank": Key(SWITCH),
    "n_mels": Key(WHOLE, 1),
    "n_mfcc": Key(WHOLE, 1),
    "n_fft": Key(WHOLE, 1),
    "target_length": Key(WHOLE, 0),
    "dataset_mean": Key(NUMBER, null=True),
    "dataset_std": Key(NUMBER, null=True),
    # ---- Pretrained encoder
    "ssl_source": Key(TEXT),
    "ssl_window": Key(NUMBER, 0.1),
    "ssl_layer": Key(WHOLE, 0, null=True),
    "ssl_pooling": _choice("mean", "attentive"),
    "ssl_trainable": Key(LAYERS),
    "lora_rank": Key(WHOLE, 0),
    # ---- Model
    "pretrained": Key(TEXT),
    "encoder_lr": Key(NUMBER, 0, null=True),
    "freeze_epochs": Key(WHOLE, 0),
    "lin_neurons": Key(WHOLE, 1),
    "channels": Key(LIST),
    "kernel_sizes": Key(LIST),
    "dilations": Key(LIST),
    "attention_channels": Key(WHOLE, 1),
    "shared_dense": Key(SWITCH),
    "sd_bottleneck": Key(WHOLE, 1),
    "clf_bottleneck": Key(WHOLE, 1),
    "activation": Key(TEXT),
    "layernorm": Key(SWITCH),
    "final_dropout": Key(SHARE),
    "pooling_mode": _choice("mean", "sum"),
    "kernel": _choice("linear", "rbf", null=True),
    # ---- Objective and optimisation
    "positive_weight": Key(SWITCH),
    "soft_targets": Key(SWITCH),
    "loss": _choice("bce", "mse", prepares=True, needed=True),
    "batch_size": Key(WHOLE, 2),  # batch normalisation can't train on one recording
    "bucket_batches": Key(WHOLE, 1),
    "eval_batch_size": Key(WHOLE, 1, null=True, resume=True, later="chosen"),
    "eval_batch_frames": Key(WHOLE, 1, resume=True, later="chosen"),
    "num_workers": Key(WHOLE, 0, 256, resume=True, folds=True, later="chosen"),
    "number_of_epochs": Key(WHOLE, 1, resume=True),
    "optimizer_name": _choice("adam", "adamw"),
    "lr": Key(NUMBER, 0),
    "weight_decay": Key(NUMBER, 0),
    "scheduler": _choice("none", "onecycle"),
    "max_lr": Key(NUMBER, 0),
    "max_grad_norm": Key(NUMBER, 0),
    "compile_module_keys": Key(LIST),
    "compile_using_dynamic_shape_tracing": Key(SWITCH),
    "best_checkpoint": _choice("loss", "macro_auroc"),
    "patience": Key(WHOLE, 0, resume=True),
    # ---- Long recordings, outside training
    "max_duration": Key(NUMBER, 0, resume=True, later="chosen"),
    "window_overlap": Key(NUMBER, 0, resume=True, later="chosen"),
    "window_pooling": _choice("mean", "max", resume=True, later="chosen"),
    # ---- Evaluation
    "threshold": Key(OTHER_NUMBER, resume=True),  # or one per label
    "threshold_sensitivity": Key(OTHER_NUMBER, resume=True),
    "cross_fitted_csv": Key(TEXT, resume=True),
    # the last two are fitted on validation
    "calibration": _choice("none", "temperature", "platt", resume=True),
    "study_design": _choice("cohort", "case_control", resume=True),
    "decision_thresholds": Key(LIST, resume=True),
    "prevalences": Key(LIST, resume=True),
    "subgroups": Key(LIST, resume=True),
    "audit": Key(SWITCH, resume=True),
    "acoustic_baseline": Key(SWITCH, resume=True),
    "measured_recordings": Key(WHOLE, 0, resume=True),
    "report": Key(SWITCH, resume=True),
    "show_uids": Key(SWITCH, resume=True),
    "pseudonymise_key": Key(TEXT, resume=True, later="chosen"),
    "leave_one_out": Key(TEXT),
    "n_folds": Key(WHOLE, 2),
    "n_repeats": Key(WHOLE, 1),
    "learning_curve": Key(SWITCH, resume=True, folds=True),
    "fit_recommended": Key(SWITCH, resume=True, folds=True),
    # ---- Of evaluate.yaml, extract_embeddings.yaml and train_features.yaml
    "experiment_folder": Key(TEXT),
    "trust_experiment": Key(SWITCH),
    "split_csv": Key(TEXTS),
    "predictions_csv": Key(TEXT),
    "features": Key(TEXTS),
    "embedding_type": _choice("pt", "ft", "st"),
    "output_file": Key(TEXT),
    "backend": _choice("auto", "eager", "onnx"),
    "shard": Key(TEXT),
    "shard_count": Key(WHOLE, 1, null=True),
    "merge": _choice("file", "dataset", "later", null=True, bare="file"),
    "ray": Key(TEXT),
    "ray_cpus": Key(NUMBER, 0.01),
    "ray_gpus": Key(NUMBER, 0),
}

#: Keys of a training yaml that are no plain ones: each an object, or null.
OBJECT_OR_NULL = ("eval_crop", "opt_class", "lr_scheduler")


def keys_where(**marks) -> tuple[str, ...]:
    """Names of the keys whose rows say this, in the table's order.

    >>> keys_where(filled="data")
    ('label_groups', 'positive_weights', 'label_ranges', 'pretrained_digest')
    """
    return tuple(
        name
        for name, row in KEYS.items()
        if all(getattr(row, mark) == value for mark, value in marks.items())
    )
