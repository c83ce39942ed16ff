"""Compare trained systems on the same recordings.

    python compare.py EXPERIMENT_A EXPERIMENT_B … [--split=NAME]
        [--output_file=FILE.json]

An experiment is a folder that train.py, evaluate.py or cross_validate.py wrote, or a
file like its predictions.csv, such as one of a baseline (baselines/acoustic.csv); each
may be gs://bucket/…. For each pair, each label and on average the AUROC of A less that
of B is printed, with an interval by subject and a p-value, and written to the output
file. Labels that only some of them have are named and left out.
"""

from local.storage.first_look import look

look(__name__)  # before what loads PyTorch


from local.evaluation import compared_systems
from local.metrics.comparison import compare
from local.report.terminal import format_comparison
from local.utils import cli
from local.utils.errors import UserError
from local.utils.files import write_json
from local.utils.usage import Parser


def main(argv):
    """Read all, compare, print, write."""
    options = _parse(argv)
    addresses = compared_systems.predictions_files(options.experiments)
    given = options.output_file
    output_file = given and compared_systems.comparison_file(given)
    tables, folds = compared_systems.read_systems(addresses, options.split)
    result = compare(tables, folds)
    print(format_comparison(result))
    if output_file:
        result["predictions"] = dict(zip(tables, addresses, strict=True))
        write_json(output_file, result)
        print(f"\nSaved in {output_file}")


def _parse(argv):
    parser = Parser()
    parser.add_argument("experiments", nargs="+", metavar="EXPERIMENT")
    parser.add_argument("--split")
    parser.add_argument("--output_file")
    options = parser.parse_args(argv)
    if len(options.experiments) < 2:
        raise UserError(
            f"Expected two experiments or more, found one: {options.experiments[0]}."
        )
    return options


if __name__ == "__main__":
    cli.run(main)
