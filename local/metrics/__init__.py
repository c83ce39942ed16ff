"""Arrays become estimates with intervals.

Modules: `calibration`, `cases`, `comparison`, `cross_validated`, `decision_curve`,
`decisions`, `estimate`, `fold_auroc`, `intervals`, `label_cases`, `logistic`, `macro`,
`measures`, `prevalences`, `rater_agreement`, `recalibration`, `resampling`,
`split_metrics`, `subgroups`, `thresholds`.
"""
