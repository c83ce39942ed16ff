"""A person leaves everything.

Modules: `command`, `compared`, `data_subject`, `rebuild`, `result_folders`,
`under_way`, `withdraw`.
"""
