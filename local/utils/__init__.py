"""Files, yaml, the command line, locks, signals: knows nothing of speech.

Modules: `cli`, `errors`, `file_size`, `files`, `from_keys`, `hub`, `keyed_random`,
`keys`, `launch`, `memory`, `number_format`, `parallel`, `problems`, `progress`,
`ranking`, `repeated_script`, `run_lock`, `several_yamls`, `signals`, `spelling`,
`staging`, `streams`, `text_io`, `threads`, `usage`, `yaml_files`.
"""
