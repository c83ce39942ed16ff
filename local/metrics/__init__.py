"""Arrays become estimates with intervals.

Modules: `calibration`, `cases`, `comparison`, `cross_validated`, `decisions`,
`estimate`, `fold_auroc`, `intervals`, `label_cases`, `macro`, `measures`,
`planning`, `rater_agreement`, `resampling`, `split_metrics`, `subgroups`,
`thresholds`.
"""
