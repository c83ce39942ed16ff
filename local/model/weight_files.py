"""Files of weights from elsewhere: tensors are read, nothing is executed."""

import re
import warnings
from pathlib import Path

import torch

from local.utils.errors import UserError
from local.utils.file_size import file_size


def read_state_dict(file: Path, save_it: str) -> dict[str, torch.Tensor]:
    """Read weights, and nothing but tensors.

    file: As `torch.save(model.state_dict(), file)` writes it.
    save_it: What was expected and what to do, for messages.

    Raises UserError: if the file is missing or damaged, holds anything else, or numbers
        that are not finite.

    >>> file = getfixture("tmp_path") / "model.ckpt"
    >>> torch.save(torch.nn.Linear(2, 1).state_dict(), file)
    >>> sorted(read_state_dict(file, "Expected weights."))
    ['bias', 'weight']
    """
    try:
        file_size(file)  # no pipe, which would never be read to its end
        with warnings.catch_warnings():  # of kinds of pickles
            warnings.simplefilter("ignore")
            state = torch.load(file, map_location="cpu", weights_only=True)
    # whatever reading damaged or foreign files may raise
    except Exception as error:
        name = re.search(r"GLOBAL ([\w.]+)", str(error))
        held = f"holds {name[1]}" if name else "can't be read as weights"
        raise UserError(
            f"{file} {held}; nothing of it was executed. {save_it}"
        ) from error
    if not isinstance(state, dict) or not state:
        raise UserError(f"{file} holds a {type(state).__name__}. {save_it}")
    others = [
        f"{key!r}: {type(value).__name__}"
        for key, value in state.items()
        if not (isinstance(key, str) and _is_plain_tensor(value))
    ]
    if others:
        raise UserError(f"{file} holds more than tensors. {save_it}", others)
    not_finite = [key for key, value in state.items() if not value.isfinite().all()]
    if not_finite:
        raise UserError(f"{file} has weights that are not finite numbers:", not_finite)
    return dict(state)


def _is_plain_tensor(value):
    return (
        isinstance(value, torch.Tensor)
        and value.layout == torch.strided
        and value.device.type == "cpu"
        and not (value.is_quantized or value.is_complex())
    )
