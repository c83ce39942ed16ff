"""Models of the Hugging Face hub: from its cache, or over the network if that is asked.

Nothing is asked over the network unless the environment has `HF_HUB_OFFLINE=0`.
"""

import os
import re
from pathlib import Path

from local.utils.errors import UserError

#: Names as the hub has them: of an owner and of a model.
HUB_ID = re.compile(r"[\w-][\w.-]*/[\w-][\w.-]*")


def is_hub_id(address: str) -> bool:
    """Whether an address may be a model of the hub: no folder here has that name.

    >>> is_hub_id("speechbrain/spkrec-ecapa-voxceleb"), is_hub_id("/models/ecapa")
    (True, False)
    """
    return bool(HUB_ID.fullmatch(address)) and not Path(address).exists()


def is_offline() -> bool:
    """Whether the hub may not be asked."""
    return os.environ.get("HF_HUB_OFFLINE", "1").lower() not in ("0", "false", "no")


def hub_folder(name: str, key: str, files: tuple[str, ...]) -> Path:
    """The folder with files of a model of the hub, in the cache of `huggingface_hub`.

    name: As `owner/model`.
    key: The yaml key it came from, for the message.
    files: Names or patterns of what is wanted.

    Raises UserError: if the cache does not have it and it can't be fetched.
    """
    from huggingface_hub import constants, snapshot_download

    try:
        folder = snapshot_download(
            name, allow_patterns=list(files), local_files_only=is_offline()
        )
    except Exception as error:  # the hub's own, the network's, the disk's
        cache = Path(constants.HF_HUB_CACHE, "models--" + name.replace("/", "--"))
        for half in cache.rglob("*.incomplete"):
            half.unlink(missing_ok=True)
        if is_offline():
            reason = (
                "and no model of that name is in the cache of huggingface_hub. The hub "
                "is not asked over the network unless the environment has "
                "HF_HUB_OFFLINE=0"
            )
        else:
            said = (str(error).strip() or type(error).__name__).splitlines()[0]
            reason = f"and the Hugging Face hub does not give a model of it ({said})"
        raise UserError(
            f"{key} {name}: there is no such folder here, {reason}. Give the path of a "
            "folder that has the model's files."
        ) from error
    return Path(folder)
