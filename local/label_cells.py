"""Cells of label columns: what they say, and settings for those that say nothing."""

import dataclasses
import difflib
import math
import re

import numpy as np
import pandas as pd

from local.errors import UserError
from local.labels import NOT_RATED, LabelType
from local.problems import Place, Problem, merged, options

#: Words for 1 and 0, in any case.
WORDS = {
    **dict.fromkeys(("yes", "y", "true", "t"), 1.0),
    **dict.fromkeys(("no", "n", "false", "f"), 0.0),
}

#: Words that may be proposed as 1 and as 0.
POSITIVE = {
    *("present", "positive", "pos", "+", "abnormal", "pathological", "pathologic"),
    *("impaired", "affected", "patient", "case", "x", "ja", "j", "oui", "si", "sí"),
}
NEGATIVE = {
    *("absent", "negative", "neg", "normal", "healthy", "unimpaired", "unaffected"),
    *("control", "nein", "non"),
}

#: Words that are 0 beside a word for 1, and else mean that nothing is known.
NOTHING = {"-", "none"}

#: Words that may be proposed as "not rated".
UNKNOWN = {
    *("null", "na", "n/a", "n.a.", "nan", "<na>", "#n/a", "#null!", "#value!", "nil"),
    *("#div/0!", "#ref!", "#name?", "#num!", "?", "??", "--", "..", "...", "*", "inf"),
    *("unknown", "missing", "unrated", "not rated", "unsure", "unclear"),
}

#: Numbers that may stand for "not rated", where they lie far off the others.
CODES = re.compile(r"-?(9+|8+|7+)|-1")

#: A scale of whole numbers with more steps is proposed as a score.
MAX_STEPS = 10

#: Of more words nobody can say what they mean.
MAX_WORDS = 8


@dataclasses.dataclass(frozen=True)
class CellCodes:
    """What cells mean beside numbers.

    Attributes
    ----------
    missing : frozenset of str
        Codes for "not rated", beside `NOT_RATED`.
    values : dict of str to dict
        Column → code → number, or NaN for "not rated".
    given : dict
        The settings that all this is made of.
    """

    missing: frozenset = frozenset()
    values: dict = dataclasses.field(default_factory=dict)
    given: dict = dataclasses.field(default_factory=dict)

    @classmethod
    def of(cls, values):
        """As a yaml's `missing_values` and `label_values` say.

        Arguments
        ---------
        values : dict
            Of a yaml; either may be None or absent, as in experiments made earlier.

        Raises
        ------
        UserError
            Naming every entry of `label_values` that can't be used.
        """
        missing_values = list(values.get("missing_values") or ())
        label_values = dict(values.get("label_values") or {})
        given = {
            "label_types": dict(values.get("label_types") or {}),
            "label_values": label_values,
            "missing_values": missing_values,
        }
        missing = {_code(value) for value in missing_values}
        if "null" in missing:  # what yaml makes of NULL, None and ~ without quotes
            missing |= {"none", "~"}
        numbers, problems = {}, []
        for column, entry in label_values.items():
            try:
                numbers[str(column)] = _numbers(entry)
            except ValueError as error:
                problems.append(f"{column}: {error}")
        if problems:
            raise UserError(
                "label_values can't be used; expected e.g. "
                "label_values: {strained: {present: 1, absent: 0}}",
                problems,
            )
        return cls(frozenset(missing), numbers, given)

    def unused(self, labels, columns, name):
        """Entries of `label_values` for what is neither a label nor a column.

        Arguments
        ---------
        labels, columns : iterable of str
        name : str
            The file's name.

        Returns
        -------
        list of Problem
        """
        places = [
            Place(column, name) for column in self.values if column not in columns
        ]
        places = tuple(place for place in places if place.value not in labels)
        what = "of label_values that is no label and no column"
        return [Problem("entry", what, places)] if places else []

    def of_raters(self, label, columns):
        """The same, with a label's own codes for columns of its raters."""
        own = dict.fromkeys(columns, self.values.get(label, {}))
        return dataclasses.replace(self, values={**own, **self.values})

    def number(self, cell, column, has_words):
        """What a cell says: a number, or NaN for "not rated".

        Arguments
        ---------
        cell : str
        column : str
        has_words : bool
            Whether `WORDS` count.

        Raises
        ------
        ValueError
            If it says nothing.

        Example
        -------
        >>> codes = CellCodes.of({"label_values": {"low": {"present": 1, 9: None}}})
        >>> codes.number("Present", "low", False), codes.number("9.0", "low", True)
        (1.0, nan)
        """
        cell = cell.strip()
        code = _code(cell)
        own = self.values.get(column, {})
        if code in own:
            return own[code]
        if cell in NOT_RATED or code in self.missing:
            return math.nan
        if has_words and code in WORDS:
            return WORDS[code]
        number = _number(cell)
        if math.isnan(number):
            raise ValueError("no number")
        return number


def _code(value):
    """A code in the one form that is compared: in small letters, numbers as such."""
    text = "null" if value is None else str(value).strip().casefold()
    try:
        return repr(_number(text))
    except ValueError:
        return text


def _number(cell):
    """Python's `float` takes 1_0 for 10, too, and digits of other scripts."""
    if not cell.isascii() or "_" in cell:
        raise ValueError("no number")
    return float(cell)


def _numbers(entry):
    """An entry of `label_values`: code → number."""
    if not isinstance(entry, dict):
        raise ValueError(f"expected {{CODE: NUMBER, …}}, found {entry!r}")
    found = {}
    for code, value in entry.items():
        if value is not None and not isinstance(value, int | float):
            raise ValueError(f"{code!r} must be a number, or null for 'not rated'")
        found[_code(code)] = math.nan if value is None else float(value)
    return found


def targets_from_table(table, labels, types, derived_labels, codes, name):
    """Read the targets of every row of a split's CSV.

    Arguments
    ---------
    table : pandas.DataFrame
        One row per recording, all cells text; its index is what rows are called.
    labels : list of str
    types : dict of str to LabelType
    derived_labels : dict of str to list of str
        Label → source columns: 1 if any source is above 0; otherwise not rated if
        any source is; otherwise 0. A label that is itself a column is not derived,
        one that is derived must be binary.
    codes : CellCodes
    name : str
        The file's name, for messages.

    Returns
    -------
    targets : pandas.DataFrame
        One column of float per label, NaN where not rated.
    problems : list of (str or problems.Problem)
        Everything that can't be read.
    """
    derived_labels = derived_labels or {}
    problems = [
        f"derived_labels needs LABEL: [COLUMN, …], found {label}: {sources!r}"
        for label, sources in derived_labels.items()
        if label not in labels or not isinstance(sources, list) or not sources
    ]
    if problems:
        return None, problems
    targets = {}
    for label in labels:
        if label in table.columns:
            targets[label] = _column(
                table[label], types[label], codes, name, problems, label
            )
        elif label in derived_labels:
            if types[label].type != "binary":
                problems.append(
                    f"{name}: {label!r} is derived and so 0 or 1, but label_types "
                    f"calls it {types[label].type}: leave it out there"
                )
            sources = derived_labels[label]
            targets[label] = _derive(table, label, sources, codes, name, problems)
        else:
            problems.append(_no_column(label, table, name))
    return pd.DataFrame(targets, index=table.index, dtype=float), problems


class _Source(LabelType):
    """What a column may hold that a label is derived from."""

    def target(self, value):
        if not 0 <= value < math.inf:
            raise ValueError("below 0")
        return value

    def describe(self):
        return "a number from 0 on"


def _column(cells, kind, codes, name, problems, column):
    """Targets of one column, [n]; what it can't hold is one problem."""
    values, wrong, fine = np.full(len(cells), math.nan), [], set()
    for i, (row, cell) in enumerate(cells.items()):
        try:
            number = codes.number(cell, column, kind.type == "binary")
            if not math.isnan(number):
                values[i] = kind.target(number)
                fine.add(number)
        except ValueError:
            wrong.append(Place(cell.strip(), name, row))
    if wrong:
        what = f"in column {column!r} with something else than {kind.describe()}"
        problems.append(
            WrongCells(
                *("cell", what, tuple(wrong)),
                column=column,
                allowed=kind,
                given=codes.given,
                fine=frozenset(fine),
            )
        )
    return values


def _derive(table, label, sources, codes, name, problems):
    absent = [source for source in sources if source not in table.columns]
    if absent:
        of = f"of {label!r} "
        problems += [_no_column(one, table, name, "source", of) for one in absent]
        return np.full(len(table), math.nan)
    columns = np.stack(
        [
            _column(table[source], _Source(), codes, name, problems, source)
            for source in sources
        ]
    )
    positive = (np.nan_to_num(columns) > 0).any(axis=0)
    unrated = np.isnan(columns).any(axis=0)
    return np.where(positive, 1.0, np.where(unrated, math.nan, 0.0))


def _no_column(label, table, name, noun="label", of=""):
    """What is said of a label without a column: the columns that the file has."""
    columns = table.attrs.get("columns", list(table.columns))
    folded = {column.casefold(): column for column in columns}
    near = difflib.get_close_matches(label.casefold(), folded, n=1)
    note = f", did you mean {folded[near[0]]!r}?" if near else ""
    advice = f"there are the columns {', '.join(columns)}"
    if noun == "label":
        advice += "; derived_labels can make a label of others"
    place = Place(label, name, note=note)
    return Problem(noun, f"{of}without a column", (place,), advice)


@dataclasses.dataclass(frozen=True)
class WrongCells(Problem):
    """Cells of a label's column that say nothing, and what would make them.

    Attributes
    ----------
    column : str
        The label, or what it is derived from.
    allowed : LabelType
    given : dict
        The settings that there are.
    fine : frozenset of float
        What the column's other cells say.
    """

    column: str = ""
    allowed: LabelType = dataclasses.field(default_factory=LabelType)
    given: dict = dataclasses.field(default_factory=dict)
    fine: frozenset = frozenset()

    def with_places_of(self, other):
        """As `Problem.with_places_of`."""
        both = super().with_places_of(other)
        return dataclasses.replace(both, fine=self.fine | other.fine)

    def to_do(self):
        """The settings that would make them right, ready to paste."""
        advice = [
            f"{when} {options(merged([self._given(found), found]))}"
            for when, found in self._proposals()
        ]
        return "; ".join(advice) or f"expected {self.allowed.describe()}"

    def settings(self):
        """All that is proposed, beside what is given."""
        found = merged(proposal for _, proposal in self._proposals())
        return merged([self._given(found), found])

    def _given(self, keys):
        return {key: value for key, value in self.given.items() if key in keys}

    def _proposals(self):
        """When, and which settings: for codes, for words, for a scale."""
        texts, numbers = [], set()
        for cell in dict.fromkeys(place.value for place in self.places):
            number = float(cell) if _is_number(cell) else math.nan
            numbers |= {number} if math.isfinite(number) else set()
            texts += [cell] * (not math.isfinite(number))
        outliers = _outliers(numbers, self.fine | numbers)
        scale = (self.fine | numbers) - outliers
        words, unknown = _words_and_unknown(texts, has_numbers=bool(scale))
        found = []
        if codes := [*sorted(map(_plain, outliers)), *unknown]:
            found.append(("if they mean 'not rated':", {"missing_values": codes}))
        if words and len(words) <= MAX_WORDS:
            meant, said = _meanings(words)
            found.append((said, {"label_values": {self.column: meant}}))
        if scale and numbers - outliers and not isinstance(self.allowed, _Source):
            entry, said = self._scale(scale)
            found.append((said, {"label_types": {self.column: entry}}))
        return found

    def _scale(self, numbers):
        """An entry of `label_types` for these numbers, and what is to be said of it."""
        low, high = min(numbers), max(numbers)
        said = "if it is a scale, with its own ends"
        if self.allowed.type != "binary":
            known = self.allowed.range
            ends = [_plain(min(low, known[0])), _plain(max(high, known[1]))]
            given = self.given.get("label_types", {}).get(self.column, {})
            return {**given, "range": ends}, f"{said}:"
        if all(map(float.is_integer, numbers)) and high - low <= MAX_STEPS:
            ends = [_plain(min(low, 1)), _plain(high)]
            entry = {"type": "ordinal", "range": ends, "positive_from": ends[0] + 1}
            return entry, f"{said}, and from where on it is present:"
        step = 10 if high > MAX_STEPS else 1
        ends = [min(0, math.floor(low)), math.ceil(high / step) * step]
        said += " (or with type: ordinal and positive_from, to learn 0 and 1 of it):"
        return {"type": "score", "range": ends}, said


def _is_number(cell):
    try:
        return math.isfinite(_number(cell))
    except ValueError:
        return False


def _plain(number):
    """A number as somebody would write it."""
    return int(number) if float(number).is_integer() else number


def _outliers(wrong, everything):
    """Those of the wrong numbers that look like codes for "not rated", set."""
    maybe = {number for number in wrong if CODES.fullmatch(f"{number:g}")}
    others = everything - maybe
    if not others:
        return {number for number in maybe if number < 0 or number > MAX_STEPS}
    return {
        number
        for number in maybe
        if number > 1.5 * max(others) + 1 or (number < 0 <= min(others))
    }


def _words_and_unknown(texts, has_numbers):
    """Texts that say what is there, and those that say that nobody knows."""
    folded = {text: text.casefold() for text in texts}
    says = {text for text in texts if folded[text] in POSITIVE | NEGATIVE}
    if any(folded[text] in POSITIVE for text in texts):
        says |= {text for text in texts if folded[text] in NOTHING}
    unknown = [
        text
        for text in texts
        if text not in says and (has_numbers or folded[text] in UNKNOWN | NOTHING)
    ]
    return [text for text in texts if text not in unknown], unknown


def _meanings(words):
    """What words may mean, and what is to be said of it."""
    known = {
        word: 1 if word.casefold() in POSITIVE else 0
        for word in words
        if word.casefold() in POSITIVE | NEGATIVE | NOTHING
    }
    if not known:
        first = min(words)
        said = "say which number each word means, as"
        return {word: int(word != first) for word in sorted(words)}, said
    said = "if that is what they mean"
    said += ":" if len(known) == len(words) else ", null being 'not rated':"
    return {word: known.get(word) for word in sorted(words)}, said
