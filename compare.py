"""Compare two trained systems on the same recordings.

    python compare.py EXPERIMENT_A EXPERIMENT_B [--split=NAME] [--seed=N]
        [--output_file=FILE.json]

An experiment is a folder that train.py or evaluate.py wrote, or a file like its
predictions.csv; each may be gs://bucket/…. For each label and on average the AUROC of A
less that of B is printed, with an interval by subject and a p-value, and written to the
output file. Labels that only one of them has are named and left out.
"""

from local.storage.first_look import look

look(__name__)  # before what loads PyTorch

import argparse

from local.evaluation import two_systems
from local.metrics.comparison import compare
from local.report.terminal import format_comparison
from local.utils import cli
from local.utils.files import write_json


def main(argv):
    """Read both, compare, print, write."""
    options = _parse(argv)
    addresses = two_systems.predictions_files(options.experiments)
    given = options.output_file
    output_file = given and two_systems.comparison_file(given)
    tables = [two_systems.read_split(place, options.split) for place in addresses]
    names = two_systems.short_names(addresses)
    result = compare(*tables, options.seed, names)
    print(format_comparison(result))
    if output_file:
        result["predictions"] = dict(zip(names, addresses, strict=True))
        write_json(output_file, result)
        print(f"\nSaved in {output_file}")


def _parse(argv):
    parser = argparse.ArgumentParser(prog="compare.py", allow_abbrev=False)
    parser.add_argument("experiments", nargs=2, metavar="EXPERIMENT")
    parser.add_argument("--split")
    parser.add_argument("--seed", type=_whole_number, default=1986)
    parser.add_argument("--output_file")
    return parser.parse_args(argv)


def _whole_number(text):
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"expected a whole number, found {text!r}")
    return int(text)


if __name__ == "__main__":
    cli.run(main)
