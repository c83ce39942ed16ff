"""A waveform becomes features, an embedding, logits; and the loss.

Modules: `acoustic_statistics`, `ecapa`, `feature_statistics`, `front_end`, `heads`,
`kernel_heads`, `legacy_front_end`, `losses`, `recording_statistics`,
`weight_files`.
"""
