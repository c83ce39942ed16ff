"""Print the demo's results beside what could be reached at best and without a model.

python recipes/demo/results.py --corpus_folder=DIR --experiment_folder=DIR
"""

import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

from local.evaluation.flags import read_audit
from local.report.terminal import format_results
from local.utils.usage import Parser


def main():
    """Read the experiment's metrics and the corpus's references; print a table."""
    parser = Parser(description=__doc__)
    parser.add_argument("--corpus_folder", type=Path, required=True)
    parser.add_argument("--experiment_folder", type=Path, required=True)
    arguments = parser.parse_args()
    metrics = json.loads(
        (arguments.experiment_folder / "metrics.json").read_text("utf-8")
    )
    reached = json.loads((arguments.corpus_folder / "ceiling.json").read_text("utf-8"))
    references = {
        name: {
            **{label: values[name] for label, values in reached["labels"].items()},
            "macro": reached["macro"][name],
        }
        for name in ("ceiling", "baseline")
    }
    print("\nTest split: voices and sentences that training never met.\n")
    audit = read_audit(arguments.experiment_folder)
    print(format_results(metrics, references, audit))
    print(
        "ceiling: AUROC of the true severity against the raters' labels; baseline: "
        "AUROC of\nduration and pauses alone. The speech is synthetic: this shows that "
        "the software\nworks, nothing clinical.\n"
    )
    print(f"Results: {arguments.experiment_folder.absolute()}")
    print(
        "  metrics.json, predictions.csv, figures/, embeddings.parquet, train_log.txt"
    )


if __name__ == "__main__":
    main()
