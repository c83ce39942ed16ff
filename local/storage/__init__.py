"""Local paths and gs:// addresses, read and written by the same calls.

Modules: `addresses`, `experiment_files`, `first_look`, `gcs`, `hub`, `inputs`,
`part_files`, `publishing`.
"""
