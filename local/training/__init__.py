"""A run up to its best checkpoint.

Modules: `brain`, `checkpoints`, `cross_validation`, `evaluation_settings`,
`experiment`, `fit`, `one_pass`, `optimizers`, `planning`, `pool`, `safe_yaml`,
`scoring`, `selection`, `settings`, `statistics`, `train_log`.
"""
