"""Train ECAPA-TDNN with several classifier heads, then score the test split.

    python train.py hparams/train.yaml --corpus_folder=DIR [--output_folder=DIR]
    python train.py hparams/train.yaml --corpus_folder=DIR --check_only=True
    torchrun --nproc_per_node=2 train.py hparams/train.yaml --corpus_folder=DIR

Any key of the yaml can be given as --key=value, as can SpeechBrain's run options
(--device, --precision, --debug, …). A run that was interrupted continues when the
same command is given again.
"""

import logging
from pathlib import Path

import speechbrain as sb
import torch
from speechbrain.utils.distributed import get_rank, run_on_main

from local import cli, dataio, figures, inventory, metrics, prepare
from local.brain import ClinicalBrain
from local.config import load_hparams
from local.errors import UserError
from local.evaluation import evaluate_split
from local.experiment import MANIFESTS, plan_training
from local.files import write_json

logger = logging.getLogger(__name__)


def main(argv):
    """Prepare, train, evaluate."""
    arguments = cli.parse_arguments(argv)
    sb.utils.distributed.ddp_init_group(arguments.run_opts)
    plan = run_on_main(plan_training, [arguments])
    output_folder = Path(plan.values["output_folder"])
    if plan.values["check_only"]:
        return run_on_main(report_only, [plan.preparation, output_folder])
    if plan.values["on_bad_recording"] == "stop":
        prepare.stop_on_failed(plan.preparation.failed)

    hparams = load_hparams(arguments.hparams_file, plan.overrides)
    brain = build_brain(hparams, arguments.run_opts)
    sb.create_experiment_directory(
        experiment_directory=str(output_folder),
        hyperparams_to_save=str(arguments.hparams_file),
        overrides=plan.overrides,
    )
    for note in plan.preparation.notes:
        logger.info(note)
    run_on_main(prepare.save_preparation, [plan.preparation, output_folder / MANIFESTS])
    fit(brain, hparams, plan.preparation)
    return finish(brain, hparams, plan.preparation, output_folder)


def report_only(preparation, output_folder):
    """Print and save what the data are like."""
    found = inventory.take_inventory(preparation)
    print(inventory.format_inventory(found))
    output_folder.mkdir(parents=True, exist_ok=True)
    write_json(output_folder / "inventory.json", found)
    print(f"\nSaved in {output_folder / 'inventory.json'}")
    return cli.INCOMPLETE if preparation.failed else cli.OK


def build_brain(hparams, run_opts):
    """The Brain that the yaml describes, before any weight is trained."""
    try:
        return ClinicalBrain(
            modules=hparams["modules"],
            opt_class=hparams["opt_class"],
            hparams=hparams,
            run_opts=run_opts,
            checkpointer=hparams["checkpointer"],
        )
    except (ValueError, RuntimeError) as error:  # e.g. a device that is not there
        raise UserError(f"This configuration can't be run here: {error}") from error


def fit(brain, hparams, preparation):
    """Train until the last epoch or until validation no longer improves."""
    labels = preparation.labels
    datasets = {
        split: dataio.build_dataset(
            preparation.manifests[split],
            labels,
            hparams,
            crop=hparams["random_crop"] if split == "train" else None,
        )
        for split in ("train", "valid")
    }
    batches = dataio.ShuffledBatches(
        len(datasets["train"]),
        hparams["batch_size"],
        hparams["seed"],
        rank=get_rank() or 0 if brain.distributed_launch else 0,
        world_size=torch.distributed.get_world_size()
        if brain.distributed_launch
        else 1,
    )
    brain.fit(
        hparams["epoch_counter"],
        datasets["train"],
        datasets["valid"],
        train_loader_kwargs={
            "batch_sampler": batches,
            "num_workers": hparams["num_workers"],
            # of its own, so that workers don't draw from the global random state
            "generator": torch.Generator().manual_seed(hparams["seed"]),
        },
        valid_loader_kwargs=dataio.loader_kwargs(hparams),
    )


def finish(brain, hparams, preparation, output_folder):
    """Score the test split with the best checkpoint, write and print the results."""
    result = evaluate_split(
        brain, hparams, preparation.manifests["test"], "test", output_folder
    )
    run_on_main(write_extras, [hparams, preparation, output_folder])
    logger.info(
        "Test split, %s:\n%s", result["checkpoint"], metrics.format_results(result)
    )
    logger.info("Everything is in %s", output_folder)
    return cli.INCOMPLETE if preparation.failed else cli.OK


def write_extras(hparams, preparation, output_folder):
    """The training curves, and the list of recordings that were left out."""
    curves = output_folder / "figures" / "training_curves.png"
    figures.training_curves_figure(Path(hparams["train_log"]), curves)
    prepare.write_failed(preparation.failed, output_folder / "failed.csv")


if __name__ == "__main__":
    cli.run(main)
