"""Names that people and programs spell in several ways: who is who, by one rule."""

import difflib
import re
import unicodedata
from collections.abc import Iterable


def composed(name):
    """A name in the Unicode form in which "é" is one character, for comparing.

    >>> composed("é") == "é"
    True
    """
    return unicodedata.normalize("NFC", name)


def alike(name):
    """What is left of a name without what people and programs change by accident.

    Case, spaces, Unicode form, characters that can't be seen; and what a spreadsheet
    makes of a number: ``007`` and ``7.0`` are ``7``.

    >>> alike("S01") == alike("s1​"), alike("007") == alike("7.0")
    (True, True)
    >>> alike("s1") == alike("s10")
    False
    """
    text = unicodedata.normalize("NFKC", name).casefold()
    text = "".join(c for c in text if unicodedata.category(c) != "Cf" and c != " ")
    return re.sub(r"(?<!\d)0+(?=\d)", "", re.sub(r"(?<=\d)\.0+$", "", text))


def among(names: Iterable[str], others: Iterable[str]) -> set[str]:
    """Those of some names that are among others, in whatever spelling.

    >>> among(["s01", "s2"], ["S1", "s3"])
    {'s01'}
    """
    known = {alike(other) for other in others}
    return {name for name in names if alike(name) in known}


def first_spellings(names: Iterable[str]) -> dict[str, str]:
    """The spelling in which each name was first seen.

    Returns: Every spelling → the first one of the same name.

    >>> first_spellings(["s01", "S01", "s02"])
    {'s01': 's01', 'S01': 's01', 's02': 's02'}
    """
    first = {}
    return {name: first.setdefault(alike(name), name) for name in dict.fromkeys(names)}


def near(name: str, others: Iterable[str]) -> str | None:
    """The name that may have been meant, in whatever case; None if there is none.

    >>> near("slow rte", ["Slow rate", "strained"])
    'Slow rate'
    """
    folded = {other.casefold(): other for other in others}
    close = difflib.get_close_matches(name.casefold(), folded, n=1)
    return folded[close[0]] if close else None
