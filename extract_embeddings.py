"""Write the embeddings of a trained model to a parquet file.

    python extract_embeddings.py hparams/extract_embeddings.yaml
        --experiment_folder=DIR --split_csv=FILE --data_folder=DIR
        --embedding_type=pt|ft|st [--pooling_mode=mean|sum]
        --output_file=FILE.parquet
        [--shard=I/N] [--merge] [--ray=auto|ADDRESS]

The CSV (or parquet) needs a column `uid` only; of several, --split_csv=[a.csv,b.csv],
the rows come in their order. Rows of recordings that can't be used stay, with a null
embedding, and are listed in FILE.parquet.failed.csv.

Of many recordings, each process can make a share (--shard); whoever finishes last puts
them together, or --merge does: docs/archives.md.
"""

from local.storage.first_look import look

look(__name__)  # before what loads PyTorch

from pathlib import Path

from speechbrain.utils.distributed import run_on_main

from local.inference.extraction import check_options, extract
from local.storage.publishing import publish_files, results_destination
from local.training.experiment import later_options
from local.utils import cli


def main(argv):
    """Open the experiment, extract, copy to a bucket; the exit status."""
    options, arguments = later_options(argv)
    check_options(options)
    upload_to = results_destination(options, arguments.run_opts)
    n_failed, is_merged = extract(options, arguments.run_opts)
    problems = None
    if upload_to and is_merged:
        file = Path(options["output_file"])
        names = [f"{file.name}.failed.csv", file.name]
        problems = run_on_main(publish_files, [file.parent, names, upload_to])
    return cli.INCOMPLETE if n_failed or problems else cli.OK


if __name__ == "__main__":
    cli.run(main, goes_on=True)
