"""An audio file becomes a mono waveform, or the reason why not.

Modules: `containers`, `decoding`, `description`, `ffmpeg`, `inspection`, `lengths`,
`loading`, `mpeg`, `pieces`, `probing`.
"""
