"""Random numbers that depend on what they are for, not on when they are drawn.

Crops and augmentation draw from a generator keyed by seed, epoch and recording, so
that neither dataloader workers nor a restart in the middle of an epoch change them.
"""

import hashlib

import torch


def keyed_generator(*key) -> torch.Generator:
    """A generator whose numbers depend on its key alone.

    *key (str or int): For example purpose, seed, epoch and uid.

    Returns: On the CPU.

    >>> draw = lambda *key: torch.rand(1, generator=keyed_generator(*key)).item()
    >>> draw("crop", 1, 2, "uid") == draw("crop", 1, 2, "uid")
    True
    >>> draw("crop", 1, 2, "uid") == draw("crop", 1, 3, "uid")
    False
    """
    digest = hashlib.blake2b(repr(key).encode(), digest_size=8).digest()
    # torch takes seeds below 2**63 on every platform
    return torch.Generator().manual_seed(int.from_bytes(digest, "big") >> 1)


def uniform(low, high, generator):
    """One number drawn uniformly from [low, high), as float.

    >>> 2 <= uniform(2, 3, keyed_generator("example")) < 3
    True
    """
    return low + (high - low) * torch.rand((), generator=generator).item()


def integer_below(n, generator):
    """One of 0, …, n - 1, each as likely as the others.

    >>> integer_below(3, keyed_generator("example")) in (0, 1, 2)
    True
    """
    return int(torch.randint(n, (), generator=generator))
