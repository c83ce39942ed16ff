"""How many threads compute, and how they wait for each other.

OpenMP reads this when PyTorch is loaded, so `local/__init__.py` settles it before any
other module of ours; scripts import ours first. No number changes.
"""

import os
from pathlib import Path, PurePosixPath

#: Where Linux tells the limits of containers and of batch systems.
CGROUPS, OWN_CGROUPS = Path("/sys/fs/cgroup"), Path("/proc/self/cgroup")

#: What a user may have decided about waiting: any of them, and nothing is settled.
WAITING = ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "KMP_BLOCKTIME")


def settle():
    """Let threads sleep while they wait, and be no more than the cores there are.

    By default one that has finished its part of a sum looks for the next one over and
    over for some milliseconds. Where other programs need the cores, it takes them from
    the thread that it waits for. What the environment says already is left alone.
    """
    if not any(name in os.environ for name in WAITING):
        os.environ["OMP_WAIT_POLICY"] = "PASSIVE"
        # GNU's looks some microseconds first, which saves most waits a sleep
        os.environ["GOMP_SPINCOUNT"] = "1000"
    # OpenMP counts the cores itself, and knows nothing of cgroups
    if n_usable() < n_cores():
        os.environ.setdefault("OMP_NUM_THREADS", str(n_usable()))


def n_cores() -> int:
    """How many cores this process may run on."""
    if hasattr(os, "sched_getaffinity"):  # not on macOS
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def n_usable() -> int:
    """How many cores this process may run on and keep busy, whole ones."""
    limit = cpu_limit() or n_cores()
    return max(1, min(n_cores(), int(limit)))


def cpu_limit(own_cgroups: Path = OWN_CGROUPS, cgroups: Path = CGROUPS) -> float | None:
    """How many cores' time the control groups of this process let it have.

    own_cgroups, cgroups: As the system has them.

    Returns: The least that any of them says; None without a limit.
    """
    try:
        lines = own_cgroups.read_text().splitlines()
    except OSError:
        return None
    limits = []
    for line in lines:
        _, controllers, place = line.split(":", 2)
        root = cgroups / controllers  # of version 2 there is but one, without a name
        if controllers and "cpu" not in controllers.split(","):
            continue
        # in a container the place may be one that is seen from outside only
        inside = PurePosixPath(place.lstrip("/"))
        limits += [_limit(root / group) for group in (inside, *inside.parents)]
    return min((limit for limit in limits if limit), default=None)


def _limit(group):
    """What one group says, by version 2 or 1 of the interface; None without a limit."""
    try:
        if (group / "cpu.max").exists():
            quota, period = (group / "cpu.max").read_text().split()
        else:
            quota = (group / "cpu.cfs_quota_us").read_text()
            period = (group / "cpu.cfs_period_us").read_text()
        return int(quota) / int(period) if int(quota) > 0 else None
    except (OSError, ValueError):  # no such group; "max"
        return None
