"""Settings that would have cells of label columns say something, ready to paste."""

import dataclasses
import math
import re

from local.data.labels import LabelType
from local.utils.problems import Problem, merged, options

#: Words that may be proposed as 1 and as 0.
POSITIVE = {
    *("present", "positive", "pos", "+", "abnormal", "pathological", "pathologic"),
    *("impaired", "affected", "patient", "case", "x", "ja", "j", "oui", "si", "sí"),
    *("yes", "y", "true", "t"),  # wrong only in a scale
}
NEGATIVE = {
    *("absent", "negative", "neg", "normal", "healthy", "unimpaired", "unaffected"),
    *("control", "nein", "non", "no", "n", "false", "f"),
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

#: A number as many countries write it, and no code for "not rated".
DECIMAL_COMMA = re.compile(r"-?[0-9]+,[0-9]+")

#: A scale of whole numbers with more steps is proposed as a score.
MAX_STEPS = 10

#: Of more words nobody can say what they mean.
MAX_WORDS = 8


def number_in(cell):
    """Python's `float` takes 1_0 for 10, too, and digits of other scripts."""
    if not cell.isascii() or "_" in cell:
        raise ValueError("no number")
    return float(cell)


@dataclasses.dataclass(frozen=True)
class WrongCells(Problem):
    """Cells of a label's column that say nothing, and what would make them.

    column: The label, or what it is derived from.
    given: The settings that there are.
    fine: What the column's other cells say.
    may_be_scale: Whether `label_types` can be given for it.
    """

    column: str = ""
    allowed: LabelType = dataclasses.field(default_factory=LabelType)
    given: dict = dataclasses.field(default_factory=dict)
    fine: frozenset = frozenset()
    may_be_scale: bool = True

    def with_places_of(self, other):
        """As `Problem.with_places_of`."""
        both = super().with_places_of(other)
        return dataclasses.replace(both, fine=self.fine | other.fine)

    def to_do(self):
        """The settings that would make them right, ready to paste."""
        advice = [
            f"{when} {options(merged([self._given(settings), settings]))}"
            for when, settings in self._proposals()
        ]
        if any(DECIMAL_COMMA.fullmatch(place.value) for place in self.places):
            advice.insert(0, "write numbers with a point, as 0.5")
        return "; ".join(advice) or f"expected {self.allowed.describe()}"

    def settings(self):
        """All that is proposed, beside what is given."""
        proposed = merged(proposal for _, proposal in self._proposals())
        return merged([self._given(proposed), proposed])

    def _given(self, keys):
        return {key: value for key, value in self.given.items() if key in keys}

    def _proposals(self):
        """When, and which settings: for codes, for words, for a scale."""
        texts, numbers = [], set()
        for cell in dict.fromkeys(place.value for place in self.places):
            if _is_number(cell):
                numbers.add(number_in(cell))
            elif not DECIMAL_COMMA.fullmatch(cell):
                texts.append(cell)
        codes = codes_among(numbers, self.fine | numbers)
        scale = (self.fine | numbers) - codes
        words, unknown = _words_and_unknown(texts, has_numbers=bool(scale))
        proposals = []
        if missing := [*sorted(map(_plain, codes)), *unknown]:
            proposals.append(("if they mean 'not rated':", {"missing_values": missing}))
        if words and len(words) <= MAX_WORDS:
            meant, said = _meanings(words)
            proposals.append((said, {"label_values": {self.column: meant}}))
        if scale and numbers - codes and self.may_be_scale:
            entry, said = self._scale(scale)
            proposals.append((said, {"label_types": {self.column: entry}}))
        return proposals

    def _scale(self, numbers):
        """An entry of `label_types` for these numbers, and what is to be said of it."""
        low, high = min(numbers), max(numbers)
        said = "if it is a scale, with its own ends"
        if self.allowed.is_scale:
            known = self.allowed.range
            ends = [_plain(min(low, known[0])), _plain(max(high, known[1]))]
            given = self.given.get("label_types", {}).get(self.column, {})
            return {**given, "range": ends}, f"{said}:"
        ends = proposed_range(numbers)
        if has_steps(numbers):
            entry = {"type": "ordinal", "range": ends, "positive_from": ends[0] + 1}
            return entry, f"{said}, and from where on it is present:"
        said += " (or with type: ordinal and positive_from, to learn 0 and 1 of it):"
        return {"type": "score", "range": ends}, said


def has_steps(numbers):
    """Whether numbers look like a scale of a few whole steps."""
    whole = all(float(number).is_integer() for number in numbers)
    return whole and max(numbers) - min(numbers) <= MAX_STEPS


def proposed_range(numbers) -> list[float]:
    """The ends of the scale that numbers may be of.

    >>> proposed_range([1.0, 3.0]), proposed_range([12.5, 93.0])
    ([1, 3], [0, 100])
    """
    low, high = min(numbers), max(numbers)
    if has_steps(numbers):
        return [_plain(min(low, 1)), _plain(high)]
    step = 10 if high > MAX_STEPS else 1
    return [min(0, math.floor(low)), math.ceil(high / step) * step]


def _is_number(cell):
    try:
        return math.isfinite(number_in(cell))
    except ValueError:
        return False


def _plain(number):
    """A number as somebody would write it."""
    return int(number) if float(number).is_integer() else number


def codes_among(wrong, everything):
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
    elif not has_numbers and set(folded.values()) - NEGATIVE - UNKNOWN - NOTHING:
        says |= {text for text in texts if folded[text] == "none"}  # none, mild, …
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
    if not known or known.keys() == {"none"}:
        first = min(known or words)
        said = "say which number each word means, as"
        return {word: int(word != first) for word in sorted(words)}, said
    said = "if that is what they mean"
    said += ":" if len(known) == len(words) else ", null being 'not rated':"
    return {word: known.get(word) for word in sorted(words)}, said
