"""Model hubs: no network is asked, and nothing told to one, unless a user says so.

The libraries of Hugging Face read this when they are loaded, so `local/__init__.py`
settles it before. What the environment says already is left alone.
"""

import os

#: By default nothing leaves this computer.
OFFLINE, NO_TELEMETRY = "HF_HUB_OFFLINE", "HF_HUB_DISABLE_TELEMETRY"


def settle():
    """Stay offline; `HF_HUB_OFFLINE=0` lets an encoder be fetched."""
    for name in (OFFLINE, NO_TELEMETRY):
        os.environ.setdefault(name, "1")
