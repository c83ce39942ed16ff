"""What a split is worth: scored, decided, audited, beside baselines.

Modules: `after_training`, `baselines`, `confound_audit`, `evaluate`,
`experiment_split`, `external_predictions`, `failures`, `flags`, `fold_points`,
`fold_results`, `measurements`, `operating_points`, `parts`, `provenance`, `result`,
`scored_csv`, `scored_split`, `scoring`, `two_systems`, `usable_points`, `worst_errors`.
"""
