"""Write the embeddings of a trained model to a parquet file.

    python extract_embeddings.py hparams/extract_embeddings.yaml
        --experiment_folder=DIR --split_csv=FILE --data_folder=DIR
        --embedding_type=pt|ft|st [--pooling_mode=mean|sum]
        --output_file=FILE.parquet

The CSV needs a column `uid` only; of several, --split_csv=[a.csv,b.csv], the rows come
in their order. Rows of recordings that can't be used stay, with
a null embedding, and are listed in FILE.parquet.failed.csv.
"""

from local.storage import first_look  # before what loads PyTorch

if __name__ == "__main__":
    first_look.look()

import contextlib
import dataclasses
import logging

import torch
from speechbrain.utils.distributed import (
    ddp_barrier,
    ddp_init_group,
    if_main_process,
    run_on_main,
)

from local.data.manifests import write_failed
from local.data.prepared_split import prepare_split
from local.data.pseudonyms import read_pseudonyms
from local.inference import embeddings
from local.inference.engine import Engine
from local.inference.extraction import Parts, extract_parts
from local.storage import publishing
from local.storage.addresses import local_path, output_path, several
from local.training.experiment import open_experiment
from local.training.settings import check_values
from local.utils import cli
from local.utils.errors import UserError
from local.utils.run_lock import claimed
from local.utils.yaml_files import load_hparams

logger = logging.getLogger(__name__)


def main(argv):
    """Open the experiment, prepare the recordings, extract, write."""
    arguments = cli.parse_arguments(argv)
    ddp_init_group(arguments.run_opts)
    options = load_hparams(arguments.hparams_file, arguments.overrides)
    check_values(options, {})
    output_file = _output_file(options)
    split_csvs = several(options["split_csv"], "split_csv")
    embeddings.EmbeddingKind(options["embedding_type"])  # refuses others
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
    pseudonyms = read_pseudonyms(hparams["pseudonymise_key"])

    own_data = hparams["data_folder"] == experiment.hparams["data_folder"]
    split = run_on_main(
        prepare_split,
        [split_csvs, hparams, ("uid",)],
        {"own_data": own_data, "may_be_empty": True},
    )
    for note in split.notes:
        logger.info(note)
    windows = hparams["windows"].cut(split.manifest)
    duration_s = windows.manifest["duration"].sum()
    engine = Engine(experiment.brain, options["backend"], duration_s)
    parts = _parts(
        output_file, split, windows, kind, experiment, engine, hparams, pseudonyms
    )
    failed_file = output_file.with_name(f"{output_file.name}.failed.csv")
    failed = split.failed
    failed = pseudonyms.hidden_failures(failed) if pseudonyms else failed
    with claimed(parts.folder) if if_main_process() else contextlib.nullcontext():
        run_on_main(parts.discard_others)
        extract_parts(
            parts, engine, kind, windows, split.recordings, hparams, _share_of_work()
        )
        ddp_barrier()
        run_on_main(write_failed, [failed, failed_file])
        run_on_main(parts.merge)
    run_on_main(parts.remove_folder)
    run_on_main(print, [f"{len(split.manifest)} embeddings in {output_file}"])
    if failed:
        run_on_main(print, [f"{len(failed)} rows have none: see {failed_file.name}"])
    problems = upload_to and run_on_main(
        publishing.publish_files,
        [output_file.parent, [failed_file.name, output_file.name], upload_to],
    )
    return cli.INCOMPLETE if split.failed or problems else cli.OK


def _output_file(options):
    """The path of the file to be written."""
    output_file = local_path(options["output_file"], "output_file")
    if output_file.suffix != ".parquet":
        raise UserError(f"output_file must end in .parquet, found {output_file}.")
    if output_file.is_dir():
        raise UserError(f"output_file {output_file} is a folder: name a file.")
    output_path(output_file.parent, "output_file")
    return output_file


def _parts(output_file, split, windows, kind, experiment, engine, hparams, pseudonyms):
    """The parts of the file, and all that they depend on."""
    uids = split.rows["uid"].tolist()
    windowed = dataclasses.asdict(hparams["windows"])
    windowed["rows"] = [row for row, uid in enumerate(uids) if uid in windows.counts]
    about = embeddings.describe(kind, experiment, engine.backend, windowed)
    if pseudonyms:
        about["pseudonyms"] = pseudonyms.fingerprint
    return Parts(
        output_file,
        uids,
        kind.size_in(experiment.brain.plain_modules),
        about,
        state="\n".join(
            [
                hparams["data_folder"],
                f"{experiment.brain.device} {experiment.brain.eval_precision}",
                split.manifest.to_csv(index=False),
            ]
        ),
        pseudonyms=pseudonyms,
    )


def _share_of_work():
    """Which process this is, of how many."""
    if torch.distributed.is_initialized():
        return torch.distributed.get_rank(), torch.distributed.get_world_size()
    return 0, 1


if __name__ == "__main__":
    cli.run(main, goes_on=True)
