"""A model that is not trained, over an archive: for tests and benchmarks."""

from pathlib import Path

import pandas as pd

from local.data.rows import Rows
from local.inference.archive import finish
from local.inference.extraction import Embeddings
from local.inference.maker import Maker
from local.inference.parts import Plan

#: What extract_embeddings.yaml says unless told otherwise.
OPTIONS = {
    "backend": "eager",
    "embedding_type": "pt",
    "gcs_project": None,
    "merge": None,
    "on_bad_recording": "skip",
    "pooling_mode": "mean",
    "ray": None,
    "shard": None,
    "shard_count": None,
}


class Untrained:
    """What an `Experiment` is to an archive.

    brain: A ClinicalBrain.
    hparams: `audio`, `eval_crop`, `score_batches`, `windows`, `sample_rate`.
    """

    address, checkpoint = "untrained", "CKPT+0"

    def __init__(self, folder: Path, brain, hparams: dict, data_folder: Path):
        self.folder, self.brain = folder, brain
        (folder / "hyperparams.yaml").write_text("")
        nothing = dict.fromkeys(
            [
                *("audio_cache", "audio_cache_gb", "gcs_project", "labels_file"),
                *("features", "pseudonymise_key", "split_folder"),
            ]
        )
        own = {"data_folder": str(data_folder), "num_workers": 0}
        self.hparams = {**nothing, "pooling_mode": "mean", **hparams, **own}

    def hparams_for(self, options):
        """Its own."""
        del options
        return self.hparams


def archive(experiment: Untrained, uids: list, output_file: Path, **options):
    """A maker and a plan of these recordings.

    uids: Or a table.
    """
    table = uids if isinstance(uids, pd.DataFrame) else pd.DataFrame({"uid": uids})
    csv = output_file.with_suffix(".csv")
    csv.parent.mkdir(parents=True, exist_ok=True)
    table.to_csv(csv, index=False)
    options = OPTIONS | {"output_file": str(output_file)} | options
    maker = Maker(experiment, Embeddings(experiment, options), options)
    plan = Plan(Rows([str(csv)], experiment.hparams), maker.state)
    maker.seconds = plan.seconds
    return maker, plan


def merged(maker, plan):
    """Put the parts together."""
    return finish(maker, plan, None, True)
