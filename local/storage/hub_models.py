"""Models of the Hugging Face hub: from its cache, or, if asked, over the network."""

import contextlib
import re
from pathlib import Path

from local.utils import hub
from local.utils.errors import UserError

#: What the hub calls a model: its owner, its name.
HUB_ID = re.compile(r"[\w-][\w.-]*/[\w-][\w.-]*")


def is_hub_id(address: str) -> bool:
    """Whether an address may be a model of the hub: nothing here has that name.

    >>> is_hub_id("speechbrain/spkrec-ecapa-voxceleb"), is_hub_id("/models/ecapa")
    (True, False)
    """
    return bool(HUB_ID.fullmatch(address)) and not Path(address).exists()


def hub_folder(name: str, key: str, files: tuple[str, ...]) -> Path:
    """The folder with files of a model, fetched only if the network may be asked.

    name: As `owner/model`.
    key: The yaml key it came from, for the message.
    files: Names or patterns of what is wanted.

    Raises UserError: if there is no such model, or no way to it; what was fetched by
        halves is removed.
    """
    from huggingface_hub import snapshot_download
    from huggingface_hub.constants import HF_HUB_CACHE

    try:
        folder = snapshot_download(
            name, allow_patterns=[*files], local_files_only=hub.is_offline()
        )
    except Exception as error:  # of the network, the hub, the disk
        cache = Path(HF_HUB_CACHE, "models--" + name.replace("/", "--"))
        for leftover in cache.rglob("*.incomplete"):
            with contextlib.suppress(OSError):
                leftover.unlink()
        if hub.is_offline():
            raise UserError(
                f"{key} {name}: there is no folder of that name, the model is not in "
                "the cache of the hub, and no network is asked by default. Give a "
                "folder, or fetch it once with HF_HUB_OFFLINE=0 in the environment."
            ) from error
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise UserError(
            f"{key} {name}: there is no folder of that name, and the model can't be "
            f"fetched from the hub ({reason}). Give a folder, or the name of a public "
            "model."
        ) from error
    return Path(folder)
