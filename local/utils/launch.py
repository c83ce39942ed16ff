"""One process, or several that torchrun starts: which of them this one is."""

import os

from local.utils.errors import UserError

#: What torchrun tells each process; all of it is needed.
LAUNCHED = ("RANK", "LOCAL_RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")

#: By these, too, SpeechBrain takes a process for one that leaves writing to another.
BATCH_SYSTEMS = ("SLURM_PROCID", "JSM_NAMESPACE_RANK")


def backend_option(run_arguments: list[str]) -> list[str]:
    """The run option that says how processes talk, unless it is given already.

    run_arguments: Run options as SpeechBrain's parser takes them.

    Returns: gloo where torchrun has no GPU to give; else nothing.
    Raises UserError: if the environment tells of several processes, but not all that
        they need, or of more than there are GPUs.
    """
    if not _ranks():
        _check_alone()
        return []
    _check_launch(_ranks())
    import torch  # which takes long: for most runs not before all else is checked

    given = [argument.split("=")[0] for argument in run_arguments]
    if "--distributed_backend" in given:
        return []
    if "--device=cpu" in run_arguments or not torch.cuda.is_available():
        return ["--distributed_backend=gloo"]
    n_gpus = torch.cuda.device_count()
    if int(os.environ["LOCAL_RANK"]) >= n_gpus:
        raise UserError(
            f"torchrun starts more processes here than there are GPUs ({n_gpus}): give "
            "a lower --nproc_per_node."
        )
    return []


def n_processes() -> int:
    """Of how many processes this is one, once `backend_option` has checked it."""
    return int(os.environ["WORLD_SIZE"]) if _ranks() else 1


def _ranks():
    """What the environment has that makes this one of several processes."""
    return [name for name in ("RANK", "LOCAL_RANK") if name in os.environ]


def _check_launch(ranks):
    """Refuse a part of what torchrun says: processes would wait, or do nothing."""
    missing = [name for name in LAUNCHED if not os.environ.get(name)]
    if missing:
        raise UserError(
            f"The environment has {' and '.join(ranks)}, as torchrun sets for each of "
            f"several processes, but not {', '.join(missing)}. Start with `torchrun "
            "--nproc_per_node=N …`, which sets all, or unset them for one process."
        )
    wrong = [
        f"{name}={os.environ[name]}"
        for name in LAUNCHED
        if name != "MASTER_ADDR" and not os.environ[name].isdecimal()
    ]
    if wrong:
        raise UserError(
            "The environment tells of several processes, as torchrun does, in values "
            "that are no whole numbers:",
            wrong,
        )


def _check_alone():
    """Refuse copies that a batch system started: each but one would write nothing."""
    for name in BATCH_SYSTEMS:
        if os.environ.get(name, "0") != "0":
            raise UserError(
                "This is one of several processes that a batch system started "
                f"({name}={os.environ[name]}) and that do not know of each other. "
                "Start one, with `torchrun --nproc_per_node=N …` in it for several."
            )
