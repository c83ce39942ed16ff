"""Parts made by a Ray cluster: it schedules, and the files of the parts count."""

import contextlib
import logging
import os
import socket
from functools import partial

from speechbrain.utils.run_opts import RunOptions

from local.inference.maker import Maker
from local.inference.parts import Part, Plan
from local.training.experiment import open_experiment
from local.utils.errors import RunError, UserError
from local.utils.number_format import counted
from local.utils.progress import progress

logger = logging.getLogger(__name__)

#: How often a part is begun again whose node is lost: it may be what ends them.
N_ATTEMPTS = 5

#: What is begun before an actor's first part.
START = "the start of an actor"

#: Seconds in which the head of a cluster must answer.
PATIENCE_S = 10


def make_on_cluster(
    maker: Maker, plan: Plan, share: tuple[int, int], run_opts: RunOptions | dict
):
    """Make the parts of a share that are missing on the cluster that the options name.

    maker: With the options `ray` (auto, local or an address), and `ray_cpus` and
        `ray_gpus` of an actor.
    run_opts: Of the model in an actor.
    """
    options, kind = maker.options, type(maker.wanted)
    with _cluster(options["ray"]) as ray:
        # whoever loses an actor starts another
        actor = ray.remote(RayMaker).options(
            num_cpus=options["ray_cpus"], num_gpus=options["ray_gpus"], max_restarts=0
        )
        known = plan.seconds, maker.excluded
        start = partial(actor.remote, kind, options, run_opts, *known)
        n_recordings = -(-plan.n_rows // share[1])
        with progress(n_recordings, "extracting", "rec") as step:
            parts = maker.missing(plan, share, step)
            n_actors = _n_actors(ray, options)
            maker.n_failed += _work(ray, start, n_actors, parts, step)


@contextlib.contextmanager
def _cluster(address):
    """Connects to a cluster."""
    try:
        import ray
    except ImportError as error:
        raise UserError(
            "--ray needs the package ray: pip install -r requirements-ray.txt."
        ) from error
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    try:
        host, _, port = address.rpartition(":")
        if host and port.isdigit():  # Ray itself waits for minutes, and then aborts
            socket.create_connection((host, int(port)), PATIENCE_S).close()
        ray.init(address, log_to_driver=False, configure_logging=False)
    except (OSError, ValueError, RuntimeError, OverflowError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise UserError(
            f"--ray={address}: expected a Ray cluster (auto: the one of this machine; "
            f"HOST:6379; local: one is started here), found none: {reason}"
        ) from error
    try:
        yield ray
    finally:
        ray.shutdown()


def _n_actors(ray, options):
    """How many fit into the cluster as it is, at least one."""
    resources = ray.cluster_resources()
    fitting = [resources.get("CPU", 0) / options["ray_cpus"]]
    if options["ray_gpus"]:
        fitting.append(resources.get("GPU", 0) / options["ray_gpus"])
    return max(1, int(min(fitting)))


class RayMaker:
    """An actor that holds the model.

    kind: The class of what is wanted (see `maker.Wanted`).
    seconds, excluded: As of `Maker`.
    """

    def __init__(self, kind, options, run_opts, seconds, excluded):
        experiment = open_experiment(options, run_opts)
        self.maker = Maker(experiment, kind(experiment, options), options)
        self.maker.seconds, self.maker.excluded = seconds, excluded

    def ready(self):
        """Whether the model is there."""
        return 0, 0

    def make(self, part: Part) -> tuple[int, int]:
        """Make a part; how many recordings are done, and can't be used."""
        return len(part.rows), self.maker.make(part)


def _work(ray, start, n_actors, parts, step):
    """Have parts made; how many recordings can't be used.

    start: Starts an actor.
    """
    n_failed, attempts, again, idle = 0, {}, [], []
    parts = iter(parts)
    actors = [start() for _ in range(n_actors)]
    running = {actor.ready.remote(): (actor, None) for actor in actors}
    logger.info("%s on the cluster", counted(n_actors, "actor"))
    following = next(parts, None)
    # one that is started in place of another may wait for a node for ever
    while following or any(part for _, part in running.values()):
        if following and idle:
            actor = idle.pop()
            running[actor.make.remote(following)] = (actor, following)
            following = again.pop() if again else next(parts, None)
            continue
        (done, *_), _ = ray.wait(list(running), num_returns=1)
        actor, part = running.pop(done)
        try:
            n_done, n_bad = ray.get(done)
            step(n_done)
            n_failed += n_bad
            idle.append(actor)
            attempts.pop(START, None)  # only if none of them starts, that is why
        except ray.exceptions.RayTaskError as error:
            raise _own(error) from error
        except ray.exceptions.RayActorError as error:
            _count_loss(attempts, part, error)
            logger.warning("An actor was lost: another one is started")
            again += [part] if part else []
            actor = start()
            running[actor.ready.remote()] = (actor, None)
        following = following or (again.pop() if again else None)
    return n_failed


def _count_loss(attempts, part, error):
    """Count the actors that were lost with a part; RunError if there are too many."""
    name = part.name if part else START
    attempts[name] = attempts.get(name, 0) + 1
    if attempts[name] >= N_ATTEMPTS:
        raise RunError(
            f"Actors of the cluster ended {N_ATTEMPTS} times with {name}: {error}"
        ) from error


def _own(error):
    """What was raised in an actor, if it is of those that a user is told."""
    cause = error.cause
    return cause if isinstance(cause, UserError | RunError | OSError) else error
