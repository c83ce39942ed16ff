"""What an evaluation was made with: command, date and versions of packages."""

import datetime
import importlib.metadata
import platform
import shlex

#: Packages that results depend on.
PACKAGES = (
    "torch",
    "torchaudio",
    "speechbrain",
    "numpy",
    "scipy",
    "scikit-learn",
    "statsmodels",
    "pandas",
    "krippendorff",
    "librosa",
    "soundfile",
    "soxr",
    "av",
    "silero-vad",
    "matplotlib",
)


def provenance(argv: list[str], now: datetime.datetime | None = None) -> dict:
    """Describes how an evaluation was made.

    argv: The command line, the program first.
    now: With a time zone; the time of the call unless given.

    Returns: "command", as it can be typed into a shell; "date" (ISO 8601 with the time
        zone, to the second); "versions", of Python and of those of `PACKAGES` that are
        installed.

    >>> now = datetime.datetime(2026, 1, 31, 12, tzinfo=datetime.UTC)
    >>> made = provenance(["python", "evaluate.py", "--split_csv=my file.csv"], now)
    >>> made["command"], made["date"]
    ("python evaluate.py '--split_csv=my file.csv'", '2026-01-31T12:00:00+00:00')
    """
    now = now or datetime.datetime.now().astimezone()
    installed = {package: _version(package) for package in PACKAGES}
    return {
        "command": shlex.join(argv),
        "date": now.isoformat(timespec="seconds"),
        "versions": {"python": platform.python_version()}
        | {package: version for package, version in installed.items() if version},
    }


def _version(package):
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None
