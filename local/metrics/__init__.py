"""Arrays become estimates with intervals.

Modules: `calibration`, `cases`, `comparison`, `cross_validated`, `estimate`,
`intervals`, `measures`, `rater_agreement`, `split_metrics`, `subgroups`, `thresholds`.
"""
