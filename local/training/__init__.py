"""A run up to its best checkpoint.

Modules: `brain`, `checkpoints`, `cross_validation`, `declared`, `evaluation_settings`,
`experiment`, `fit`, `one_pass`, `optimizers`, `planning`, `pool`, `pretrained`,
`safe_yaml`, `scoring`, `selection`, `settings`, `statistics`, `train_log`.
"""
