"""What a split is worth: scored, decided, audited, beside baselines.

Modules: `after_training`, `baselines`, `beside_model`, `compared_systems`,
`confound_audit`, `evaluate`, `experiment_split`, `external`, `external_predictions`,
`failures`, `feature_files`, `flags`, `fold_points`, `in_range`, `learning_curve`,
`measurements`, `operating_points`, `out_of_fold`, `parts`, `provenance`, `result`,
`scored_csv`, `scored_split`, `scoring`, `test_log`, `usable_points`, `weights`,
`worst_errors`, `yamls`.
"""
