"""CSVs and folders become manifests, datasets and batches.

Modules: `audio_files`, `contradictions`, `corpus`, `cross_fitted`, `dataset`,
`feature_cache`, `feature_table`, `folds`, `handover`, `label_cells`, `label_proposals`,
`labels`, `loaders`, `manifests`, `pooling`, `predictions_table`, `prepare`,
`prepared_split`, `pseudonyms`, `raters`, `recording_names`, `recordings`, `rows`,
`samplers`, `saved_preparations`, `short_windows`, `split`, `splits`, `summary`,
`windows`.
"""
