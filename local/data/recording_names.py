"""What recordings are called: as their folders, or as their files.

Names of files have a slash in them, those of folders none.
"""

import pandas as pd

#: How the name of a file begins that is right in the data folder.
RIGHT_IN = "./"


def is_file(name: str) -> bool:
    """Whether a recording's name is that of a file, and not of a folder."""
    return "/" in name


def name_of_file(path: str) -> str:
    """The name of a recording that is a file.

    >>> name_of_file("s1.wav"), name_of_file("ward/s1.wav")
    ('./s1.wav', 'ward/s1.wav')
    """
    path = path.removeprefix(RIGHT_IN)
    return path if is_file(path) else f"{RIGHT_IN}{path}"


def path_of(name: str) -> str:
    """Where a recording is below the data folder."""
    return name.removeprefix(RIGHT_IN)


def as_written(table: pd.DataFrame) -> pd.DataFrame:
    """A table as a CSV has it, with files in a column of their own.

    table: As `splits.read_split` gives it.

    >>> table = pd.DataFrame({"uid": ["r1", "r2"], "audio": ["r1", "./r2.wav"]})
    >>> as_written(table).to_dict("list")
    {'uid': ['r1', 'r2'], 'audio': ['r1', ''], 'file': ['', 'r2.wav']}
    """
    files = table["audio"].map(is_file)
    if not files.any():
        return table
    return table.assign(
        audio=table["audio"].where(~files, ""),
        file=table["audio"].where(files, "").map(path_of),
    )
