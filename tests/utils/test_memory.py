"""utils.memory: large tensors do not ask the system for memory again and again."""

import subprocess
import sys

#: Counts the page faults of a hundred tensors of 40 MB, one after the other.
SCRIPT = """
import resource, sys, torch
from local.utils.memory import keep_freed_memory
if sys.argv[1] == "kept":
    assert keep_freed_memory()
torch.ones(10_000_000)
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(100):
    torch.ones(10_000_000)
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def faults(how):
    result = subprocess.run(
        [sys.executable, "-c", SCRIPT, how], capture_output=True, text=True, check=True
    )
    return int(result.stdout)


def test_freed_memory_is_kept():
    """40 MB are 10,000 pages of 4 KiB, or 20 of 2 MiB."""
    assert faults("kept") * 10 < faults("as ever")
