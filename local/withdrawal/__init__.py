"""A person leaves everything.

Modules: `command`, `data_subject`, `rebuild`, `result_folders`, `under_way`,
`withdraw`.
"""
