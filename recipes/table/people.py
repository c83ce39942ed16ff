"""Who is who among recordings, and in which split everybody is."""

import re
from collections.abc import Iterable
from pathlib import Path

import pandas as pd

from local.data.contradictions import contradictions
from local.data.splits import draw_subjects
from local.utils.errors import UserError
from local.utils.number_format import counted
from local.utils.problems import Place, Problem, listed
from local.utils.spelling import alike, among, first_spellings
from recipes.table.audio_folder import AudioFolder
from recipes.table.source import Source

#: Kinds of problems that `--accept` goes on with.
SAME_AUDIO, TWO_PEOPLE = "same_audio", "two_people"

#: What columns of sex and age are called.
TRAITS = {
    "sex": re.compile(r"\W*(sex|gender|geschlecht|sexe|sesso|sexo)\W*", re.IGNORECASE),
    "age": re.compile(r"\W*(age|alter|età|edad)\b.*|age_.*", re.IGNORECASE),
}

#: What the splits of a column may be called.
SPLITS = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("test", "testing"), "test"),
    **dict.fromkeys(("val", "valid", "validation", "dev", "development"), "val"),
}


def check_people(source: Source, subjects: list[str], accepted: set[str]):
    """Find one code that may be two people, in two tables or folders.

    subjects: Patterns of subjects, as text, for the advice.
    accepted: Kinds of problems that are none.
    """
    _tell_spellings(source)
    rows = source.own[["subject"]].copy()
    if "session" in source.own:
        rows["session"] = source.own["session"]
    for trait, name in TRAITS.items():
        columns = [column for column in source.rows if name.fullmatch(column)]
        rows[trait] = ""
        for column in columns:
            rows[trait] = rows[trait].where(rows[trait] != "", source.rows[column])
    rows = rows.drop_duplicates()
    rows = rows[rows["subject"].duplicated(keep=False)]  # others contradict nobody
    folders = source.own["file"].str.rpartition("/")[0]
    table = source.own["table"] if "table" in source.own else source.own["place"]
    advice = {
        "tables": (table, f"--subject='{{table}}-{subjects[0] if subjects else ''}'"),
        "folders": (folders, "a --subject with the column that the folder is named by"),
    }
    for kind, (origin, how) in advice.items():
        n_origins = origin.groupby(source.own["subject"]).nunique()
        both = set(n_origins.index[n_origins > 1]) - {""}
        if not both:
            continue
        wrong = contradictions([rows[rows["subject"].isin(both)]], [])
        told = [
            f"{counted(len(one.subjects), 'code')} in several {kind} with {one.what}, "
            f"so maybe of two people: {listed(one.subjects)}; to tell them apart give "
            f"{how}; if each is one person: --accept={TWO_PEOPLE}"
            for one in wrong
        ]
        (source.said if TWO_PEOPLE in accepted else source.problems).extend(told)
        if not wrong:
            source.said.append(
                f"{counted(len(both), 'code')} in several {kind}, taken for one person "
                f"each: {listed(sorted(both))}"
            )
        else:
            return
    told = contradictions([rows], [])
    source.said += [f"{one.counted} {listed(one.subjects)}" for one in told]


def _tell_spellings(source):
    """Tell codes that may be one person's; `draw_splits` keeps them together."""
    first = first_spellings(source.own["subject"])
    pairs = [f"{name} = {other}" for name, other in first.items() if name != other]
    if pairs:
        source.said.append(
            f"{counted(len(pairs), 'code')} spelt nearly as another, counted as two "
            f"people and kept in one split: {listed(pairs)}"
        )


def check_audio(source: Source, folder: AudioFolder, accepted: set[str]):
    """Find recordings that are there under two names.

    Of one person they are told; of two, whose it is would be a guess.
    """
    subjects = source.own.groupby("file")["subject"].first()
    same, other = [], []
    for files in folder.same_audio(subjects.index):
        people = sorted(set(subjects[files].map(alike)))
        shown = " = ".join(f"{file} ({subjects[file]})" for file in files)
        (other if len(people) > 1 else same).append(Place(shown))
    if same:
        what = "under several names, of one person"
        source.said.append(str(Problem("recording", what, tuple(same))))
    if other:
        advice = f"remove the wrong one, or keep all: --accept={SAME_AUDIO}"
        problem = Problem("recording", "of two people", tuple(other), advice)
        if SAME_AUDIO in accepted:
            source.said.append(str(problem))
        else:
            source.problems.append(problem)


def splits_by_column(source: Source, column: str) -> pd.Series:
    """The split of each recording as a column says.

    Problems are other words than those of `SPLITS`, people in two splits, and a split
    that is not there.
    """
    cells = source.cells(column)
    splits = cells.str.casefold().str.strip().map(SPLITS)
    if splits.isna().any():
        what = f"in column {column!r} with no split: train, test and val (dev) are some"
        places = source.places(column, splits.isna())
        advice = "write one of them, or leave out --splits to have people drawn"
        source.problems.append(Problem("cell", what, places, advice))
    spelt = source.own["subject"].map(alike)
    n_splits = splits.groupby(spelt).nunique()
    both = source.own["subject"][spelt.isin(n_splits.index[n_splits > 1])].unique()
    if len(both):
        places = tuple(map(Place, both))
        source.problems.append(Problem("subject", "in several splits", places))
    for name in ("train", "test"):
        if name not in set(splits):
            source.problems.append(f"no recording is of the split {name}")
    return splits


def check_known(source: Source, known: Iterable[str], excluded: set[str], splits: Path):
    """Find people of a corpus who have no recording any more.

    Drawn again when they come back, they might be in another split.

    known: Subjects of the corpus.
    excluded: Those who have withdrawn their consent, and may be gone.
    splits: The corpus's folder of CSVs.
    """
    there = among(known, {*source.own["subject"], *excluded})
    gone = sorted(set(known) - there)
    if gone:
        advice = (
            "if they came back, they might be drawn into another split: bring their "
            "rows and files back and leave --subject as it was or, if they have left "
            f"for good, remove their rows from {splits}/*.csv"
        )
        what = f"of {splits} without a recording now"
        places = tuple(map(Place, gone))
        source.problems.append(Problem("subject", what, places, advice))


def draw_splits(
    source: Source,
    targets: pd.DataFrame,
    test_share: float,
    seed: int,
    known: dict[str, str] | None = None,
) -> pd.Series:
    """Draw test subjects, balanced over labels; the split of each recording.

    test_share: Share of the subjects, of at least one; 0: nobody.
    known: Subject → split, of people who stay where they are.
    """
    subjects = source.own["subject"].map(first_spellings(source.own["subject"]))
    stay = {alike(name): split for name, split in (known or {}).items()}
    of_people = {name: stay.get(alike(name)) for name in subjects.unique()}
    new = {name for name, split in of_people.items() if split is None}
    test = {name for name, split in of_people.items() if split == "test"}
    n_people = len(of_people)
    if n_people < 2:
        raise UserError(
            f"All recordings are of {counted(n_people, 'subject')}: training and test "
            "need people of their own. See --subject."
        )
    size = min(max(test_share > 0, round(test_share * n_people)), n_people - 1)
    size -= len(test)
    size = min(max(size, 0), len(new))
    if size:
        drawn = draw_subjects(subjects, targets, size, seed, test, new)
        test |= set(drawn)
    return subjects.map(
        lambda name: "test" if name in test else of_people[name] or "train"
    )


def describe_splits(
    source: Source, splits: pd.Series, targets: pd.DataFrame, types: dict
) -> list[str]:
    """People, recordings and labels of each split, in lines."""
    lines = []
    for name in ("train", "val", "test"):
        here = splits == name
        if not here.any():
            continue
        n = counted(source.own["subject"][here].nunique(), "subject")
        shares = [
            f"{label} {_share(targets.loc[here, label], label in types)}"
            for label in targets
        ]
        lines.append(
            f"{name}: {counted(int(here.sum()), 'recording')} of {n}; "
            f"{', '.join(shares)}"
        )
    return lines


def _share(values, is_score):
    n = int(values.notna().sum())
    if is_score:
        return f"{n:,} rated"
    return f"{int((values == 1).sum()):,} of {n:,}"
