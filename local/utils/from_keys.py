"""Objects of a yaml whose fields are keys of it."""

import dataclasses
from collections.abc import Mapping
from typing import Self


class FromKeys:
    """A dataclass that plain values make as well as the yaml itself.

    >>> @dataclasses.dataclass(frozen=True)
    ... class Limits(FromKeys):
    ...     low: int
    ...     high: int = 9
    >>> Limits.of({"low": 1, "high": 5, "seed": 7})
    Limits(low=1, high=5)
    """

    @classmethod
    def of(cls, values: Mapping) -> Self:
        """As the keys of a yaml say.

        values: Plain values, those of other keys among them.
        """
        names = [field.name for field in dataclasses.fields(cls)]
        return cls(**{name: values[name] for name in names})
