"""All faults at all moments of all stages; hours, or less with --every.

    python tests/faults/matrix.py [--stages=training,…] [--faults=kill,…] [--every=1]

Every stage is run once undisturbed, to count the moments at which it changes its output
folder. Then it is disturbed at each of them (or every n-th), checked for lost or broken
files, started again, and compared with the undisturbed run.
"""

import argparse
import sys
import tempfile
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parents[1]), str(Path(__file__).parents[2])]

from conftest import make_corpus  # noqa: E402
from running import succeeded, train  # noqa: E402

from tests.faults.stages import EXPECTED, STAGES, Place  # noqa: E402


def main():
    """Run the matrix and print a table; status 1 if anything was lost."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--stages", default=",".join(STAGES))
    parser.add_argument("--faults", default=",".join(EXPECTED))
    parser.add_argument("--every", type=int, default=1)
    options = parser.parse_args()
    problems = []
    with tempfile.TemporaryDirectory() as folder:
        corpus = make_corpus(Path(folder) / "corpus")
        experiment = Path(folder) / "experiment"
        succeeded(train(corpus, experiment))
        for name in options.stages.split(","):
            place = Place(Path(folder) / name, STAGES[name], corpus, experiment)
            for fault in options.faults.split(","):
                problems += run_all(place, name, fault, options.every)
    print("\n".join(problems) or "nothing was lost")
    return bool(problems)


def run_all(place, name, fault, every):
    """Disturb a stage at its moments, one after the other; what went wrong."""
    problems = []
    moments = range(1, place.n_changes + 1, every)
    for number in moments:
        try:
            place.disturb(fault, number)
            place.check_end()
        except AssertionError as error:
            problems.append(f"{name}, {fault} at {number}: {str(error)[-2000:]}")
    print(
        f"{name}: {fault} at {len(moments)} of {place.n_changes} moments, "
        f"{len(moments) - len(problems)} survived",
        flush=True,
    )
    return problems


if __name__ == "__main__":
    sys.exit(main())
