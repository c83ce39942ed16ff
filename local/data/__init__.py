"""CSVs and folders become manifests, datasets and batches.

Modules: `audio_files`, `contradictions`, `corpus`, `dataset`, `folds`,
`handover`, `label_cells`, `label_proposals`, `labels`, `manifests`, `pooling`,
`predictions_table`, `prepare`, `pseudonyms`, `raters`, `recordings`, `samplers`,
`saved_preparations`, `splits`, `summary`, `windows`.
"""
