"""What a split is worth: scored, decided, audited, beside baselines.

Modules: `after_training`, `baselines`, `beside_model`, `compared_systems`,
`confound_audit`, `evaluate`, `experiment_split`, `external_predictions`, `failures`,
`feature_files`, `flags`, `fold_results`, `learning_curve`, `measurements`,
`operating_points`, `parts`, `provenance`, `result`, `scored_csv`, `scored_split`,
`scoring`, `worst_errors`.
"""
