"""`--compile`: whether this machine can, and what is compiled when."""

import logging

import torch
from speechbrain import Stage

logger = logging.getLogger(__name__)


def is_possible(device: str | torch.device) -> bool:
    """Whether `torch.compile` works here, found by compiling a little.

    It needs a C++ compiler on a CPU and Triton on a GPU, and looks for them only when
    the first batch is computed; found missing there, it would end the run.

    Returns: If not, a warning says why.
    """
    try:
        torch.compile(_little)(torch.zeros(2, device=device))
    except Exception as error:  # each backend raises its own
        reason = str(error).strip().splitlines() or [type(error).__name__]
        logger.warning(
            "--compile: nothing can be compiled here, and training goes on without. "
            "A C++ compiler (g++) is needed: %s",
            reason[0],
        )
        torch.compiler.reset()
        return False
    return True


def _little(x):
    return x + 1


def choose(stage):
    """Run what is compiled in training only.

    In evaluation modules compute something else (batch normalisation, no gradients),
    which would have to be compiled as well; and so the scores are the same that later
    commands give, which compile nothing.

    stage: speechbrain.Stage
    """
    torch.compiler.set_stance("default" if stage == Stage.TRAIN else "force_eager")
