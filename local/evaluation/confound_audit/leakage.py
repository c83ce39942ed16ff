"""What is in two splits, and how common labels are in each."""

import pandas as pd

from local.data.split import Split
from local.utils.spelling import alike


def leakage(splits: dict[str, Split], names: list[str]) -> dict:
    """Finds subjects and audio that are in two splits, and label shares by split.

    splits: By name; recordings of which nothing was measured may lack their audio.
    names: The labels that are 0 or 1.

    Returns: "shared_subjects": list of str; "shared_audio": list of {"splits", "uids"},
        one for each waveform, with "shared_audio_reason" if not all were compared;
        "measured": {split: {"n_recordings", "n_measured", "n_subjects",
        "n_subjects_measured"}}; "label_shares": {split: {label: {"n", "n_positive",
        "share"}}}, the share None, with a reason, if no recording is rated.

    >>> one = pd.DataFrame({"ID": ["r1"], "subject": ["p1"], "x": [1.0]})
    >>> two = pd.DataFrame({"ID": ["r2"], "subject": ["p1"], "x": [0.0]})
    >>> splits = {"train": Split(name="train", manifest=one),
    ...     "test": Split(name="test", manifest=two)}
    >>> leak = leakage(splits, ["x"])
    >>> leak["shared_subjects"], leak["shared_audio"]
    (['p1'], [])
    """
    rows = _rows(splits)
    measured = {
        split: _count(group) for split, group in rows.groupby("split", sort=False)
    }
    result = {
        "shared_subjects": sorted(
            # as it is spelt first
            shared["subject"].iloc[0]
            for _, shared in _in_two(rows, rows["subject"].map(alike))
        ),
        "shared_audio": [
            {"splits": shared["split"].unique().tolist(), "uids": list(shared["uid"])}
            for _, shared in _in_two(rows, rows["hash"])
        ],
        "measured": measured,
        "label_shares": {
            name: {label: _share(split.manifest[label]) for label in names}
            for name, split in splits.items()
        },
    }
    if missing := not_measured(measured):
        result["shared_audio_reason"] = f"not all was compared: {missing}"
    return result


def _rows(splits):
    """The recordings of all splits: columns `split`, `uid`, `subject` and `hash`."""
    parts = [
        pd.DataFrame(
            {
                "split": name,
                "uid": split.manifest["ID"].astype(str).to_list(),
                "subject": split.manifest["subject"].astype(str).to_list(),
                "hash": split.hashes(),
            }
        )
        for name, split in splits.items()
    ]
    return pd.concat(parts, ignore_index=True)


def not_measured(measured: dict) -> str:
    """Which splits were measured in part, or not at all.

    measured: As audit.json has it.

    Returns: Nothing where all were.

    >>> not_measured({"train": {"n_recordings": 9000, "n_measured": 5000}})
    '5,000 of 9,000 recordings of train were measured'
    """
    return "; ".join(
        f"{counts['n_measured']:,} of {counts['n_recordings']:,} recordings of {split} "
        "were measured"
        for split, counts in measured.items()
        if counts["n_measured"] < counts["n_recordings"]
    )


def _count(rows):
    """How many recordings and subjects a split has, and of how many the audio."""
    measured = rows[rows["hash"].notna()]
    return {
        "n_recordings": len(rows),
        "n_measured": len(measured),
        "n_subjects": rows["subject"].nunique(),
        "n_subjects_measured": measured["subject"].nunique(),
    }


def _in_two(rows, values):
    """Yields the values [n] that are in two splits, each with its rows."""
    for value, group in rows.groupby(values, sort=False):
        if group["split"].nunique() > 1:
            yield value, group


def _share(targets):
    """How many of the targets [n] are rated, and how many of those positive."""
    n, n_positive = int(targets.notna().sum()), int((targets == 1).sum())
    if not n:
        return {"n": 0, "n_positive": 0, "share": None, "reason": "no rating"}
    return {"n": n, "n_positive": n_positive, "share": n_positive / n}
