"""What a split is worth: scored, decided, audited, beside baselines.

Modules: `after_training`, `baselines`, `confound_audit`, `evaluate`,
`experiment_split`, `external_predictions`, `failures`, `flags`, `fold_results`,
`measurements`, `operating_points`, `parts`, `provenance`, `result`, `scored_csv`,
`scored_split`, `scoring`, `test_log`, `two_systems`, `worst_errors`.
"""
