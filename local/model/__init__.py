"""A waveform becomes features, an embedding, logits; and the loss.

Modules: `acoustic_statistics`, `ecapa`, `encoder_source`, `feature_statistics`,
`front_end`, `given_features`, `heads`, `kernel_fitting`, `kernel_heads`,
`legacy_front_end`, `losses`, `pretrained_encoder`, `recording_statistics`,
`training_range`, `tuned_encoder`, `weight_files`.
"""
