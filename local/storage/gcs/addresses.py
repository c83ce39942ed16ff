"""Where an object is, and which of its generations is meant."""

import dataclasses
import datetime
import re
import unicodedata
from pathlib import Path

from local.utils.errors import UserError

#: Longest object name, and longest name of a file, in bytes of UTF-8.
MAX_NAME_BYTES, MAX_SEGMENT_BYTES = 1024, 255


def is_remote(text: str | Path) -> bool:
    """Whether an address leads to a bucket.

    text: Also one whose slashes `pathlib` has merged, so that it is not taken for a
        local folder.

    >>> is_remote("gs://hospital/corpus"), is_remote("/data/corpus")
    (True, False)
    """
    return re.match("gs:/", str(text), re.IGNORECASE) is not None


def check_name(name: str) -> str:
    """Refuse an object's name that can't be trusted as a path below a folder.

    name: From a bucket, a CSV or a user.

    Returns: The same name.
    Raises UserError: if it is empty, absolute or too long, leads upwards, or has
        backslashes, control characters or line separators in it.

    >>> check_name("audio/s01/waveform.wav")
    'audio/s01/waveform.wav'
    >>> check_name("audio/../../.ssh/config")
    Traceback (most recent call last):
    local.utils.errors.UserError: 'audio/../../.ssh/config' is no name for an ...
    """
    problem = problem_of_name(name)
    if problem:
        shown = name if len(name) <= 200 else name[:200] + "…"
        raise UserError(f"{shown!r} is no name for an object: it {problem}.")
    return name


def problem_of_name(name: str) -> str | None:
    """What is wrong with a name as a path below a folder; None if nothing is.

    >>> problem_of_name("a/b.wav"), problem_of_name("../b.wav")
    (None, 'has a part . or .. that leads to another folder')
    """
    parts = name.split("/")
    if any(unicodedata.category(letter) in ("Cc", "Cs", "Zl", "Zp") for letter in name):
        return "has a control character or a line separator in it"
    if "\\" in name:
        return "has a backslash in it"
    if not name or name.startswith("/"):
        return "is absolute" if name else "is empty"
    if "" in parts:
        return "has two slashes in a row, or one at its end"
    if "." in parts or ".." in parts:
        return "has a part . or .. that leads to another folder"
    if max(len(part.encode()) for part in parts) > MAX_SEGMENT_BYTES:
        return f"has a part of more than {MAX_SEGMENT_BYTES} bytes"
    if len(name.encode()) > MAX_NAME_BYTES:
        return f"has more than {MAX_NAME_BYTES} bytes"
    return None


@dataclasses.dataclass(frozen=True, order=True)
class Address:
    """A bucket, or an object or folder in it.

    name: Without a slash at its end; empty for the bucket itself.

    >>> corpus = Address.parse("gs://hospital/corpus/")
    >>> str(corpus), str(corpus / "audio/" / "s01")
    ('gs://hospital/corpus', 'gs://hospital/corpus/audio/s01')
    """

    bucket: str
    name: str = ""

    @classmethod
    def parse(cls, text: str) -> "Address":
        """Read ``gs://bucket/prefix``.

        text: With or without a slash at its end.

        Raises UserError: if it has another form, or a name that `check_name` refuses.
        """
        match = re.fullmatch(r"gs://([^/]*)(?:/(.*))?", str(text), re.DOTALL)
        # https://cloud.google.com/storage/docs/buckets#naming
        if not match or not re.fullmatch(
            "[a-z0-9][a-z0-9._-]{1,220}[a-z0-9]", match[1]
        ):
            raise UserError(
                "Expected an address such as gs://bucket/folder (a bucket's name has 3 "
                "or more letters, which are small, digits and . _ - only), found "
                f"{str(text)!r}."
            )
        name = (match[2] or "").rstrip("/")
        return cls(match[1], check_name(name) if name else "")

    def __truediv__(self, name):
        """The address of what is called `name` below this one."""
        name = check_name(str(name).rstrip("/"))
        return Address(self.bucket, f"{self.name}/{name}" if self.name else name)

    def __str__(self):
        """As it is written: ``gs://bucket/name``."""
        return f"gs://{self.bucket}/{self.name}".removesuffix("/")


@dataclasses.dataclass(frozen=True, slots=True)
class RemoteObject:
    """One generation of an object.

    name: As the bucket has it: not yet checked, see `below`.
    generation: Changes with every write of the object.
    size: Bytes, as stored.
    crc32c: Checksum of the bytes as stored, base64.
    encoding: "gzip" if the stored bytes are compressed in transport only (``gcloud
        storage cp --gzip-local``): `download` unpacks them.
    """

    bucket: str
    name: str
    generation: int
    size: int
    crc32c: str
    updated: datetime.datetime | None = None
    encoding: str | None = None

    @classmethod
    def of(cls, blob):
        """From a google.cloud.storage.Blob whose properties are loaded."""
        return cls(
            blob.bucket.name,
            blob.name,
            int(blob.generation),
            int(blob.size),
            blob.crc32c,
            blob.updated,
            blob.content_encoding,
        )

    @property
    def address(self):
        """Where it lies, for messages and for `stat`."""
        return Address(self.bucket, self.name)

    def below(self, folder: Address) -> str:
        """Its name as a path below a folder of the bucket.

        Returns: Safe to be joined to a local folder.
        Raises UserError: if the name is none that can be trusted as a path.

        >>> wave = RemoteObject("hospital", "corpus/audio/s01/a.wav", 1, 0, "AAAAAA==")
        >>> wave.below(Address("hospital", "corpus"))
        'audio/s01/a.wav'
        """
        return check_name(self.name.removeprefix(f"{folder.name}/".lstrip("/")))
