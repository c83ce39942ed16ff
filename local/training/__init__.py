"""A run up to its best checkpoint.

Modules: `brain`, `checkpoints`, `costs`, `cross_validation`, `declared`,
`evaluation_settings`, `experiment`, `family`, `fit`, `loggers`, `one_pass`,
`optimizers`, `planning`, `pool`, `pretrained`, `safe_yaml`, `scoring`, `selection`,
`settings`, `several`, `statistics`, `train_log`.
"""
