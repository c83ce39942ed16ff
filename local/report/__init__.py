"""An evaluation as a page, a model card, figures, and tables on the terminal.

Modules: `brief`, `card`, `checks`, `cohort`, `comparison`, `described`, `figures`,
`html`, `markdown`, `origin`, `results`, `sections`, `tables`, `terminal`,
`tripod`, `validation`, `writing`.
"""
