"""A trained model on any audio: Python, files, archives, exports.

Modules: `archive`, `backends`, `classifier`, `embeddings`, `engine`, `explain`,
`export`, `extraction`, `maker`, `on_ray`, `parts`, `predict_files`, `predict_split`,
`shares`, `stacked_heads`.
"""
