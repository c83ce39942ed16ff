"""Write the embeddings of a trained model to a parquet file.

    python extract_embeddings.py hparams/extract_embeddings.yaml
        --experiment_folder=DIR --split_csv=FILE --data_folder=DIR
        --embedding_type=pt|ft|st [--pooling_mode=mean|sum]
        --output_file=FILE.parquet

The CSV needs a column `uid` only. Rows of recordings that can't be used stay, with
a null embedding, and are listed in FILE.parquet.failed.csv.
"""

import logging

from speechbrain.utils.distributed import ddp_init_group, run_on_main

from local import cli, dataio, embeddings, publishing
from local.addresses import absolute, local_path, output_path
from local.config import load_hparams
from local.errors import UserError
from local.experiment import open_experiment
from local.features import RecordingFeatures
from local.manifests import write_failed
from local.prepare import prepare_split

logger = logging.getLogger(__name__)


def main(argv):
    """Open the experiment, prepare the recordings, extract, write."""
    arguments = cli.parse_arguments(argv)
    ddp_init_group(arguments.run_opts)
    options = load_hparams(arguments.hparams_file, arguments.overrides)
    output_file = local_path(options["output_file"], "output_file")
    if output_file.suffix != ".parquet":
        raise UserError(f"output_file must end in .parquet, found {output_file}.")
    if output_file.is_dir():
        raise UserError(f"output_file {output_file} is a folder: name a file.")
    output_path(output_file.parent, "output_file")
    upload_to = publishing.destination(
        options["upload_to"], options["gcs_project"], arguments.run_opts
    )
    publishing.check_no_experiment(upload_to)
    experiment = open_experiment(options, arguments.run_opts)
    hparams = experiment.hparams_for(options)
    kind = embeddings.EmbeddingKind(
        options["embedding_type"], options["pooling_mode"] or hparams["pooling_mode"]
    )
    embeddings.check_available(kind, experiment.brain.modules)

    split_csv = absolute(options["split_csv"], "split_csv")
    own_data = hparams["data_folder"] == experiment.hparams["data_folder"]
    split = run_on_main(
        prepare_split, [split_csv, hparams, ("uid",)], {"own_data": own_data}
    )
    for note in split.notes:
        logger.info(note)
    vectors = embeddings.extract(
        experiment.brain,
        dataio.build_dataset(
            split.manifest,
            [],
            split.recordings,
            hparams,
            hparams["eval_crop"],
            RecordingFeatures(experiment.brain.modules),
        ),
        dataio.loader_kwargs(hparams),
        kind,
    )
    metadata = embeddings.describe(kind, experiment)
    uids = split.table["uid"].tolist()
    run_on_main(embeddings.write_embeddings, [output_file, uids, vectors, metadata])
    failed_file = output_file.with_name(f"{output_file.name}.failed.csv")
    run_on_main(write_failed, [split.failed, failed_file])
    logger.info("%d embeddings in %s", len(vectors), output_file)
    problems = upload_to and run_on_main(
        publishing.publish_files,
        [output_file.parent, [failed_file.name, output_file.name], upload_to],
    )
    return cli.INCOMPLETE if split.failed or problems else cli.OK


if __name__ == "__main__":
    cli.run(main)
