"""A waveform becomes features, an embedding, logits; and the loss.

Modules: `ecapa`, `feature_statistics`, `front_end`, `heads`, `legacy_front_end`,
`losses`.
"""
