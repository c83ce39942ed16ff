"""Arrays become estimates with intervals.

Modules: `calibration`, `cases`, `comparison`, `cross_validated`, `decisions`,
`estimate`, `fold_auroc`, `intervals`, `label_cases`, `macro`, `measures`,
`rater_agreement`, `repeats`, `resampling`, `split_metrics`, `subgroups`, `thresholds`.
"""
