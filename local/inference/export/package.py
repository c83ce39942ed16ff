"""What an exported model runs without this recipe: copies of some of its modules.

`custom.py`, which SpeechBrain's `foreign_class` loads, imports them from the package
`clinical_speech` beside it.
"""

import re
from pathlib import Path

from local.utils.errors import UserError

ROOT = Path(__file__).parents[3]

#: The package here, and in an exported folder.
OWN, EXPORTED = "local", "clinical_speech"

#: All that `ClinicalClassifier` and the front ends import. Always all of them: Python
#: loads a package once per process, so that of one model has to do for another.
MODULES = (
    *("utils.errors", "utils.file_size", "utils.from_keys"),
    *("utils.number_format", "utils.problems"),
    *("audio.containers", "audio.decoding", "audio.description", "audio.ffmpeg"),
    *("audio.lengths", "audio.loading", "audio.mpeg", "audio.pieces", "audio.probing"),
    *("data.pooling", "data.short_windows"),
    *("model.ecapa", "model.front_end", "model.heads"),
    *("model.legacy_front_end", "metrics.decisions", "inference.classifier"),
    *("inference.stacked_heads", "model.kernel_heads", "model.encoder_source"),
    *("model.pretrained_encoder", "model.training_range", "model.tuned_encoder"),
    *("model.acoustic_statistics", "model.recording_statistics"),
)

CUSTOM = '''"""A model for clinical speech, for use without the recipe that trained it.

    from speechbrain.inference.interfaces import foreign_class

    model = foreign_class(
        source="FOLDER", pymodule_file="custom.py", classname="ClinicalClassifier"
    )

Licence: Apache-2.0.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))

from clinical_speech.inference.classifier import ClinicalClassifier  # noqa: E402

__all__ = ["ClinicalClassifier"]
'''


def write_package(folder: Path):
    """Write custom.py and the modules that it needs."""
    (folder / "custom.py").write_text(CUSTOM, encoding="utf-8", newline="\n")
    for module in MODULES:
        path = Path(*module.split(".")).with_suffix(".py")
        text = (ROOT / OWN / path).read_text(encoding="utf-8")
        target = folder / EXPORTED / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(renamed(text), encoding="utf-8", newline="\n")
        for package in (target.parent, folder / EXPORTED):
            (package / "__init__.py").touch()


def renamed(source: str) -> str:
    """A module's source, which imports from the exported package.

    >>> renamed("from local.utils.errors import BadRecording")
    'from clinical_speech.utils.errors import BadRecording'
    """
    return re.sub(rf"^(\s*from ){OWN}\.", rf"\g<1>{EXPORTED}.", source, flags=re.M)


def exported_name(path: str) -> str:
    """What a class or function of this recipe is called in an exported folder.

    path: As a yaml names it.

    Raises UserError: if its module is not among those that are copied.

    >>> exported_name("local.model.front_end.KaldiFbank")
    'clinical_speech.model.front_end.KaldiFbank'
    """
    module, _, _ = path.removeprefix(f"{OWN}.").rpartition(".")
    if module not in MODULES:
        raise UserError(
            f"The experiment's yaml builds {path}, which can't be exported: its module "
            f"is not among MODULES of {__name__}, which are copied. Add it "
            "there, with all that it imports."
        )
    return f"{EXPORTED}.{path.removeprefix(f'{OWN}.')}"
