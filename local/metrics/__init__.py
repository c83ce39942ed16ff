"""Arrays become estimates with intervals.

Modules: `calibration`, `cases`, `choice`, `comparison`, `decision_curve`, `decisions`,
`estimate`, `intervals`, `label_cases`, `linearised`, `logistic`, `macro`, `measures`,
`planning`, `prevalences`, `rater_agreement`, `recalibration`, `repeats`, `resampling`,
`score_metrics`, `split_metrics`, `subgroups`, `thresholds`.
"""
