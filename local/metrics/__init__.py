"""Arrays become estimates with intervals.

Modules: `calibration`, `cases`, `comparison`, `cross_validated`, `decisions`,
`estimate`, `intervals`, `measures`, `rater_agreement`, `resampling`, `split_metrics`,
`subgroups`, `thresholds`.
"""
