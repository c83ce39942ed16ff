"""A trained model on any audio: Python, files, archives, exports.

Modules: `backends`, `classifier`, `embeddings`, `engine`, `explain`, `export`,
`extraction`, `predict_files`, `stacked_heads`.
"""
