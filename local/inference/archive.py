"""A trained model over an archive: whose parts are whose, and what becomes of them."""

import contextlib
import json
import logging
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import torch
from speechbrain.utils.distributed import ddp_barrier, run_on_main
from speechbrain.utils.run_opts import RunOptions

from local.data.manifests import write_failed
from local.data.rows import Rows
from local.inference.maker import Maker, Wanted
from local.inference.on_ray import make_on_cluster
from local.inference.parts import (
    N_WINDOWS,
    REASON,
    Damaged,
    Plan,
    as_text,
    failures,
    refuse_incomplete,
)
from local.inference.shares import share_of_work
from local.storage.addresses import is_remote, several
from local.storage.gcs import Missing
from local.storage.part_files import is_there, publish, withdraw
from local.training.experiment import Experiment
from local.utils.errors import UserError
from local.utils.files import read_json
from local.utils.number_format import counted
from local.utils.run_lock import claimed_by_main

logger = logging.getLogger(__name__)

#: Beside the parts of several processes, once they are put together.
COMPLETE = "_complete.json"

#: What `merge` may be: parts become a file; they stay, as a data set; not now.
FILE, DATASET, LATER = "file", "dataset", "later"

#: Parts that are read ahead, where they are put together.
N_AHEAD = 16


def work_off(
    experiment: Experiment, wanted: Wanted, options: dict, run_opts: RunOptions | dict
) -> tuple[int, bool]:
    """Make the parts that are this process's, and put all together if these are there.

    options: Of extract_embeddings.yaml, or what predict.py has in their place.
    run_opts: For the actors of a Ray cluster, where `ray` names one.

    Returns n_failed: How many recordings can't be used.
    Returns is_merged: Whether the file is there.
    Raises UserError: for wrong tables, and parts that are missing or damaged where
        they should only be put together.
    """
    maker = Maker(experiment, wanted, options)
    own_data = maker.hparams["data_folder"] == experiment.hparams["data_folder"]
    tables = several(options["split_csv"], "split_csv")
    rows = Rows(tables, maker.hparams, own_data, wanted.columns, wanted.check)
    plan = Plan(rows, maker.state)
    maker.excluded, maker.seconds = rows.excluded.recordings, plan.seconds
    for note in rows.notes:
        run_on_main(logger.info, [note])
    shard = share_of_work(options)
    is_alone = shard is None and options["merge"] is None
    if is_alone:
        with _claimed(maker.place):
            _compute(maker, plan, (0, 1), run_opts)
            result = run_on_main(finish, [maker, plan, None, True])
        run_on_main(maker.files.remove, [[]])
        return result
    if (n_failed := _complete(maker, plan)) is not None:
        return n_failed, False
    try:
        if options["merge"] in (None, LATER):
            _compute(maker, plan, shard or (0, 1), run_opts)
        return run_on_main(finish, [maker, plan, shard, False])
    except (FileNotFoundError, Missing):
        # somebody else has put them together meanwhile, or has taken one away
        if (n_failed := _complete(maker, plan)) is None:
            raise
        return n_failed, False


def _claimed(place):
    """Nobody else makes the same parts, where this can be told."""
    return (
        contextlib.nullcontext() if is_remote(place) else claimed_by_main(Path(place))
    )


def _compute(maker, plan, shard, run_opts):
    """Make the missing parts of a share; processes of torchrun divide it again."""
    index, count = shard
    rank = 0
    if torch.distributed.is_initialized():
        rank, n = torch.distributed.get_rank(), torch.distributed.get_world_size()
        index, count = index * n + rank, count * n
        maker.engine  # noqa: B018 (all of them must try a backend at the same time)
    if maker.options["on_bad_recording"] == "stop":
        maker.refuse_bad(plan, (index, count))
    if maker.options["ray"]:
        make_on_cluster(maker, plan, (index, count), run_opts)
    else:
        maker.make_all(plan, (index, count), hidden=rank > 0)
    ddp_barrier()


def finish(
    maker: Maker, plan: Plan, shard: tuple[int, int] | None, is_alone: bool
) -> tuple[int, bool]:
    """Put parts together, if they are there and it is asked for.

    shard: Which share this process has made.
    is_alone: Whether nobody else makes parts of the same whole.

    Returns: As `work_off`.
    """
    merge, output = maker.options["merge"], maker.options["output_file"]
    if merge == LATER:
        print(f"Parts are in {maker.place}; --merge puts them together")
        return maker.n_failed, False
    there = maker.files.names()
    expected = plan.names
    missing = [name for name in expected if name not in there]
    if missing and not is_alone and (n_failed := _complete(maker, plan)) is not None:
        return n_failed, False
    if missing and merge is None and shard:
        n_made = len(expected) - len(missing)
        print(
            f"{n_made} of {len(expected)} parts are made; who makes the last one puts "
            "them together, or --merge does"
        )
        return maker.n_failed, False
    if missing and merge == DATASET and COMPLETE in there:
        raise UserError(
            f"{output} has been put together as a file, and its parts are gone. For a "
            "data set of parts delete it, run the shares again with --merge=later, and "
            "then --merge=dataset."
        )
    parts = {name for name in there if name.startswith("part-")}
    strange = sorted(parts - set(expected))
    failed, about = _check(maker, plan, missing, strange)
    if merge != DATASET:
        _merge(maker, plan, about)
    _write_failed(maker, failed)
    if not is_alone:
        _mark_complete(maker, plan, len(failed))
    if strange:
        what = counted(len(strange), "part")
        logger.warning(
            "%s of other rows, settings or another model: %s", what, strange[:20]
        )
    if merge == DATASET:
        print(
            f"{plan.n_rows} rows in {counted(len(expected), 'part')} in {maker.place}"
        )
    else:
        maker.files.remove(expected)
        maker.files.clean()
        print(f"{plan.n_rows - len(failed)} of {plan.n_rows} rows in {output}")
    if failed:
        print(f"{len(failed)} rows have none: see {output}.failed.csv")
    return len(failed), merge != DATASET


def _check(maker, plan, missing, strange):
    """Refuse parts that are not all there and whole; what they say of the whole."""
    failed, backends, windowed, n, damaged = [], set(), [], 0, {}
    for part, read in _each(maker, plan, [N_WINDOWS, REASON], set(missing)):
        try:
            table = read()
        except Damaged as reason:
            damaged[part.name] = str(reason)
            continue
        failed += [
            {"uid": uid, "reason": reason} for uid, reason in failures(table).items()
        ]
        backends.add((table.schema.metadata or {}).get(b"backend", b"").decode())
        counts = dict(
            zip(table["uid"].to_pylist(), table[N_WINDOWS].to_pylist(), strict=True)
        )
        windowed += [n + i for i, k in enumerate(counts.values()) if k and k > 1]
        n += len(counts)
    refuse_incomplete(missing, damaged, strange, maker.place)
    about = maker.about | {"backend": ", ".join(sorted(backends - {""}))}
    about["windowed"] = about["windowed"] | {"rows": windowed}
    return failed, about


def _merge(maker, plan, about):
    """Write the file of all parts."""
    tables = (read() for _, read in _each(maker, plan, None, set()))
    with maker.files.scratch() as path:
        maker.wanted.write(path, tables, as_text(about))
        publish(path, maker.options["output_file"])


def _each(maker, plan, columns, but):
    """Yields parts in order and what reads them; some are read ahead."""
    pool, waiting = ThreadPoolExecutor(N_AHEAD if is_remote(maker.place) else 1), []
    try:
        for part in plan.parts():
            if part.name in but:
                continue
            waiting.append((part, pool.submit(maker.read, part, columns).result))
            if len(waiting) > N_AHEAD:
                yield waiting.pop(0)
        yield from waiting
    finally:
        pool.shutdown(wait=False, cancel_futures=True)


def _write_failed(maker, failed):
    with maker.files.scratch() as path:
        write_failed(failed, path)
        address = f"{maker.options['output_file']}.failed.csv"
        publish(path, address) if failed else withdraw(address)


def _mark_complete(maker, plan, n_failed):
    """Let who comes late know that nothing is to be done."""
    with maker.files.scratch() as path:
        merged = maker.options["merge"] or FILE
        record = {"parts": plan.fingerprint, "n_failed": n_failed, "as": merged}
        path.write_text(json.dumps(record))
        publish(path, f"{maker.place}/{COMPLETE}")


def _complete(maker, plan):
    """How many recordings failed in the finished whole, None if there is none.

    What late or killed processes have left is removed.
    """
    options = maker.options
    if COMPLETE not in maker.files.names():
        return None
    try:
        with maker.files.opened(COMPLETE) as path:
            record = read_json(path)
        n_failed, merged, parts = (record[key] for key in ("n_failed", "as", "parts"))
    except (ValueError, LookupError, TypeError):  # not ours: all is made anew
        return None
    is_wanted = options["merge"] in (None, LATER, merged)
    if not is_wanted or parts != plan.fingerprint:
        return None
    if merged != DATASET:
        if not is_there(options["output_file"], options["gcs_project"]):
            return None
        maker.files.remove(maker.files.names() & set(plan.names))
        maker.files.clean()
    print(f"{options['output_file']} is complete already")
    return n_failed
