"""Arrays become estimates with intervals.

Modules: `calibration`, `cases`, `comparison`, `decisions`, `estimate`, `intervals`,
`label_cases`, `linearised`, `logistic`, `macro`, `measures`, `rater_agreement`,
`recalibration`, `repeats`, `resampling`, `split_metrics`, `subgroups`, `thresholds`.
"""
