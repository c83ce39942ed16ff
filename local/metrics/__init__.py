"""Arrays become estimates with intervals.

Modules: `calibration`, `cases`, `comparison`, `decisions`, `estimate`, `intervals`,
`label_cases`, `linearised`, `macro`, `measures`, `rater_agreement`, `repeats`,
`resampling`, `split_metrics`, `subgroups`, `thresholds`.
"""
