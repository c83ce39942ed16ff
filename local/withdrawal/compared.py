"""Comparisons of yamls (comparison.json), which name nobody and are of everybody."""

from pathlib import Path

from local.evaluation.yamls import compare_yamls
from local.report.comparison import FILES, report_comparison
from local.storage.experiment_files import COMPARISON
from local.training.several import RECOMMENDED
from local.utils.files import read_json
from local.withdrawal.rebuild import COMMAND, FAILURES, REBUILT, remove


def with_parts(folders: list[Path]) -> list[Path]:
    """The same, in the place of a comparison its cross-validations and its model.

    folders: As the user names them.
    """
    parts = []
    for folder in folders:
        if (folder / COMPARISON).is_file():
            names = [*read_json(folder / COMPARISON)["yamls"], RECOMMENDED]
            parts += [folder / name for name in names if (folder / name).is_dir()]
        else:
            parts.append(folder)
    return list(dict.fromkeys(parts))


def rebuild_comparisons(folders: list[Path], dry_run: bool) -> dict[str, str]:
    """Make the comparisons again that cross-validations have a part in.

    folders: Of the cross-validations, without the person already.

    Returns: By comparison how it was rebuilt.
    """
    done = {}
    for folder in dict.fromkeys(folder.parent for folder in folders):
        if not (folder / COMPARISON).is_file():
            continue
        done[str(folder / COMPARISON)] = (
            "to be rebuilt" if dry_run else _rebuilt(folder)
        )
    return done


def _rebuilt(folder):
    yamls = read_json(folder / COMPARISON)["yamls"]
    families = {name: told["family"] for name, told in yamls.items()}
    try:
        report_comparison(compare_yamls(folder, families, list(COMMAND)), folder)
    except FAILURES as error:
        print(f"{folder / COMPARISON} can't be rebuilt: {error}")
        remove(folder, FILES)
        return "removed: one of its cross-validations has no results left"
    return REBUILT
