"""A person leaves everything.

Modules: `data_subject`, `rebuild`, `result_folders`, `under_way`, `withdraw`.
"""
