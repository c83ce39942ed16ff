"""Arrays become estimates with intervals.

Modules: `calibration`, `cases`, `comparison`, `cross_validated`, `decision`,
`estimate`, `intervals`, `measures`, `rater_agreement`, `split_metrics`, `subgroups`,
`thresholds`.
"""
