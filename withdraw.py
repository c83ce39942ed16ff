"""Remove a person who has withdrawn their consent from what was made of a corpus.

    python withdraw.py --subject=ID [--subject=ID …] --corpus_folder=DIR
        --experiment_folder=DIR [DIR …] [--embeddings=FILE …] [--dry_run]

    --subject            as in the CSVs; several with commas, or given several times. An
                         ID means the same person in all that is given
    --corpus_folder      its excluded_subjects.txt gets them, so that no later run reads
                         them; its CSVs tell what their recordings are called
    --experiment_folder  of train.py, cross_validate.py, or what evaluate.py wrote
    --embeddings         files of extract_embeddings.py
    --audio_cache        folders, beside those that the experiments name
    --pseudonymise_key   the key of results that name nobody
    --dry_run            only says what would be done

Their rows go from manifests, predictions and embeddings, their audio from caches, and
reports are made again without them. Checkpoints stay, and those that learned from them
are listed, as is what is to be done by hand. A run that was stopped is given
again, and goes on.
"""

from local.utils import cli
from local.utils.usage import Parser
from local.withdrawal import command

#: Options that take several values.
LISTS = ("--experiment_folder", "--embeddings", "--audio_cache")


def main(argv):
    """Find the person, remove them, say what is left to do."""
    return command.run(command.checked(_parse(argv)))


def _parse(argv):
    parser = Parser()
    parser.add_argument("--subject", action="append", required=True)
    parser.add_argument("--corpus_folder")
    for name in LISTS:
        parser.add_argument(name, nargs="+", action="extend", default=[])
    parser.add_argument("--pseudonymise_key")
    parser.add_argument("--dry_run", action="store_true")
    return parser.parse_args(list(_unjoined(argv)))


def _unjoined(argv):
    """--key=A B as --key A B, which argparse takes for several values."""
    for argument in argv:
        key, equals, value = argument.partition("=")
        yield from (key, value) if equals and key in LISTS else (argument,)


if __name__ == "__main__":
    cli.run(main, goes_on=True)
