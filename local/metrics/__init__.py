"""Arrays become estimates with intervals.

Modules: `calibration`, `cases`, `comparison`, `cross_validated`, `decisions`,
`estimate`, `fold_auroc`, `intervals`, `label_cases`, `logistic`, `macro`,
`measures`, `rater_agreement`, `recalibration`, `resampling`, `split_metrics`,
`subgroups`, `thresholds`.
"""
