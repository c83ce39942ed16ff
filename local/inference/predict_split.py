"""Predictions of the recordings of a CSV of any length, as evaluate.py reads them."""

from argparse import Namespace
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import torch

from local.data.label_cells import CellCodes
from local.data.labels import flatten, parse_label_types
from local.data.predictions_table import (
    DEVIATION,
    IN_RANGE,
    RANGE_COLUMNS,
    predictions_table,
    write_rows,
)
from local.data.raters import targets_with_raters
from local.evaluation.in_range import read_range, with_deviations
from local.evaluation.operating_points import (
    apply_operating_points,
    read_operating_points,
)
from local.evaluation.usable_points import for_windows
from local.inference.archive import work_off
from local.inference.embeddings import described_model
from local.inference.extraction import check_output
from local.inference.parts import REASON
from local.inference.predict_files import ONLY_OF_A_SPLIT
from local.inference.shares import share_of_work
from local.model.heads import Outputs
from local.model.training_range import DECIDE, Heard
from local.storage.addresses import last_name, several
from local.training.experiment import (
    FREE_LATER,
    OF_THIS_MACHINE,
    Experiment,
    open_experiment,
)
from local.utils.errors import UserError
from local.utils.yaml_files import parse_paths

#: Options that are keys of the yamls, beside those of `predict_files`.
KEYS = (*ONLY_OF_A_SPLIT, "ray_cpus", "ray_gpus")

#: The columns of predictions.csv, as the parts have them.
SCHEMA = pa.schema(
    [
        *((name, pa.string()) for name in ("uid", "subject", "label")),
        *((name, pa.float64()) for name in ("target", "logit", "probability")),
        *((name, pa.string()) for name in ("session", "split")),
        ("predicted", pa.int8()),
        *((IN_RANGE, pa.int8()), (DEVIATION, pa.float64())),
    ]
)


class Predictions:
    """What a model says of each label of each recording (see `maker.Wanted`).

    A recording that can't be used has one row, without a label.
    """

    columns, described = None, True

    def __init__(self, experiment: Experiment, options: dict):
        experiment.check_hears()
        self.hparams = experiment.hparams_for(options)
        self.labels = flatten(self.hparams["label_groups"])
        types, loss = self.hparams["label_types"], self.hparams["loss"]
        self.types = parse_label_types(types, self.labels, loss)
        self.split = Path(last_name(several(options["split_csv"], "split_csv")[0])).stem
        # one that is longer than all windows may be among them
        endless = pd.DataFrame({"duration": [np.inf]})
        here, before = self.hparams["windows"], experiment.hparams["windows"]
        points = read_operating_points(experiment.folder)
        self.points, self.notes = for_windows(points, before, here, endless)
        self.range = read_range(experiment.folder)
        self.decides = options["out_of_range"] == DECIDE
        self.about = described_model(experiment) | {
            "out_of_range": options["out_of_range"],
            "operating_points": {
                name: [point["threshold"].get("value"), point["calibration"]]
                for name, point in self.points.items()
            },
        }

    def check(self, table: pd.DataFrame, name: str) -> list:
        """What is wrong with the labels' cells."""
        return self._targets(table, name)[1]

    def of(self, outputs: Outputs):
        """Logits and, behind them, what says whether a recording is in range."""
        return torch.hstack([outputs.logits, outputs.pt])

    def table(
        self,
        rows: pd.DataFrame,
        values: dict[str, np.ndarray],
        durations: dict[str, float],
    ) -> pa.Table:
        """Rows as predictions.csv has them."""
        targets, _ = self._targets(rows, "")
        usable = rows["uid"].isin(values).to_numpy()
        tables = []
        if usable.any():
            names, weights = self.labels, self.hparams["positive_weights"]
            table = predictions_table(
                rows[usable],
                names,
                targets[names].to_numpy(dtype="float32")[usable],
                np.stack([values[uid][: len(names)] for uid in rows["uid"][usable]]),
                np.log(weights or np.ones(len(names))),
                self.split,
                self.hparams["label_ranges"],
            )
            table = apply_operating_points(table, self.points)
            heard = {
                uid: Heard.of(durations[uid], value[len(names) :])
                for uid, value in values.items()
            }
            table, _ = with_deviations(table, pd.Series(heard), self.range)
            if self.range and not self.decides:
                table["predicted"] = table["predicted"].mask(table[IN_RANGE] == 0)
            tables = [table]
        names = ["uid", "subject", "session"]
        tables.append(rows.loc[~usable, names].assign(split=self.split))
        table = pd.concat([one for one in tables if len(one)], ignore_index=True)
        table = table.reindex(columns=SCHEMA.names)
        places = {uid: place for place, uid in enumerate(rows["uid"])}
        table = table.sort_values("uid", key=lambda c: c.map(places), kind="stable")
        return pa.Table.from_pandas(table, SCHEMA, preserve_index=False)

    def write(self, path: Path, tables: Iterable[pa.Table], metadata: dict):
        """Write predictions.csv."""
        del metadata
        with path.open("w", encoding="utf-8", newline="") as file:
            for number, table in enumerate(tables):
                usable = table.filter(table[REASON].is_null())
                known = usable.select(SCHEMA.names).to_pandas()
                known = known.astype({"predicted": "Int8", IN_RANGE: "Int8"})
                if self.range is None:
                    known = known.drop(columns=[*RANGE_COLUMNS])
                write_rows(known, file, not number)

    def _targets(self, table, name):
        """Targets of the rows, NaN where a table says nothing; and problems."""
        derived = self.hparams["derived_labels"] or {}
        sources = {source for label in derived.values() for source in label}
        known = {str(column).partition("@")[0] for column in table.columns}
        if not known & {*self.labels, *sources}:
            return pd.DataFrame(np.nan, table.index, self.labels), []
        absent = [label for label in self.labels if label not in {*known, *derived}]
        table = table.assign(**dict.fromkeys(absent, ""))
        codes = CellCodes.of(self.hparams)
        return targets_with_raters(table, self.types, derived, codes, name)


def predict(options: Namespace) -> int:
    """Write predictions of the recordings of a CSV, or make a share of their parts.

    options: Of predict.py.

    Returns: How many recordings can't be used.
    Raises UserError: for wrong tables or choices.
    """
    if options.paths or options.json or options.explain is not None:
        raise UserError("--split_csv goes with no files, folders, --json or --explain.")
    values = dict.fromkeys((*FREE_LATER, *OF_THIS_MACHINE)) | vars(options)
    values["split_csv"] = parse_paths(options.split_csv)
    check_output(values, ".csv")
    share_of_work(values)
    run_opts = {"device": options.device} if options.device else {}
    experiment = open_experiment(values, run_opts)
    wanted = Predictions(experiment, values)
    for note in wanted.notes:
        print(note)
    return work_off(experiment, wanted, values, run_opts)[0]
