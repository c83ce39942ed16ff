"""Pseudonyms: names that only the holder of a key can tie to recordings and people.

A pseudonym is a keyed hash (HMAC-SHA256) of a name, with what it is a name of: a uid
and a subject of the same text have different ones. With the same key the same name has
the same pseudonym everywhere, so results can be joined, and the holder of the key finds
the pseudonym of every name that they know; without it a name can't even be guessed and
tried. 80 bits of the hash are kept: among a million names two share theirs with a
probability of about 4e-13.

Names are replaced where results are written, and nowhere before.
"""

import dataclasses
import hashlib
import hmac
import re
from collections.abc import Iterable

import pandas as pd

from local.storage.addresses import local_path
from local.utils.errors import UserError

#: What has a name; it stands before the hash.
UID, SUBJECT = "uid", "subject"

#: Hexadecimal digits of a hash, of 4 bits each.
N_DIGITS = 20

#: Bytes that a key has at least: as many as can't be tried.
MIN_KEY_BYTES = 16

_PSEUDONYM = re.compile(rf"(?:{UID}|{SUBJECT})-[0-9a-f]{{{N_DIGITS}}}")
_FROM_A_PATH_ON = re.compile(r"\S*/.*", re.DOTALL)


def are_pseudonyms(names: Iterable[str]) -> bool:
    """Whether any of these names looks like a pseudonym.

    >>> are_pseudonyms(["r1"]), are_pseudonyms(["uid-0123456789abcdef0123"])
    (False, True)
    """
    return any(_PSEUDONYM.fullmatch(name) for name in names)


def read_pseudonyms(path: str | None) -> "Pseudonyms | None":
    """The pseudonyms that a yaml's `pseudonymise_key` makes.

    path: A file with the key: any bytes, all of them count.

    Returns: None for None: names stay as they are.
    Raises UserError: if there is no such file, or it is too short.
    """
    if not path:
        return None
    path = local_path(path, "pseudonymise_key")
    try:
        key = path.read_bytes()
    except OSError as error:
        raise UserError(
            f"pseudonymise_key {path} can't be read ({error.strerror}): expected a "
            f"file with {MIN_KEY_BYTES} secret bytes or more, made for example by "
            f"`head -c 32 /dev/urandom > {path.name}`."
        ) from error
    if len(key) < MIN_KEY_BYTES:
        raise UserError(
            f"pseudonymise_key {path} holds {len(key)} bytes: expected "
            f"{MIN_KEY_BYTES} secret bytes or more, which nobody can guess."
        )
    return Pseudonyms(key)


@dataclasses.dataclass(frozen=True)
class Pseudonyms:
    """The pseudonyms of one key.

    key: Never shown.

    >>> pseudonyms = Pseudonyms(bytes(16))
    >>> pseudonyms
    Pseudonyms()
    >>> pseudonyms.uid("p01") == pseudonyms.uid("p01")
    True
    >>> pseudonyms.uid("p01")[-20:] == pseudonyms.subject("p01")[-20:]
    False
    """

    key: bytes = dataclasses.field(repr=False)

    def uid(self, name):
        """The pseudonym of a recording; one that is a pseudonym already stays."""
        return self._of(UID, name)

    def subject(self, name):
        """The pseudonym of a subject; one that is a pseudonym already stays."""
        return self._of(SUBJECT, name)

    @property
    def fingerprint(self):
        """Tells keys apart, and tells nothing of the key."""
        return self._hash("key", "")

    def _of(self, kind, name):
        if _PSEUDONYM.fullmatch(name) and name.startswith(kind):
            return name
        return f"{kind}-{self._hash(kind, name)}"

    def _hash(self, kind, name):
        message = f"{kind}\0{name}".encode("utf-8", "surrogateescape")
        return hmac.new(self.key, message, hashlib.sha256).hexdigest()[:N_DIGITS]

    def uids_restored(self, names: Iterable[str], known: Iterable[str]) -> list[str]:
        """Names of recordings, those behind pseudonyms where they are known."""
        behind = {self.uid(name): name for name in known}
        return [behind.get(name, name) for name in names]

    def restored(
        self, table: pd.DataFrame, uids: Iterable[str], subjects: Iterable[str]
    ) -> pd.DataFrame:
        """A table with the names behind its pseudonyms, as far as they are known.

        table: With `uid` and `subject`.
        uids, subjects: Names that are known.
        """
        behind = {self.subject(name): name for name in subjects}
        return table.assign(
            uid=self.uids_restored(table["uid"], uids),
            subject=[behind.get(name, name) for name in table["subject"]],
        )

    def hidden_failures(self, failed: list[dict]) -> list[dict]:
        """Recordings that can't be used, without their names.

        failed: `uid`, `reason` and maybe `subject`, `split`.

        Returns: Reasons end before the first path: it would name the recording.
        """
        hidden = []
        for entry in failed:
            own = {"uid": self.uid(entry["uid"])}
            own["reason"] = _FROM_A_PATH_ON.sub("…", entry["reason"])
            if subject := entry.get("subject"):
                own["subject"] = self.subject(subject)
            hidden.append(entry | own)
        return hidden

    def hidden_table(self, table: pd.DataFrame) -> pd.DataFrame:
        """A table of predictions without names of recordings and subjects."""
        return table.assign(
            uid=table["uid"].map(self.uid), subject=table["subject"].map(self.subject)
        )

    def hidden(self, evidence):
        """A result.EvaluationResult without names of recordings and subjects."""
        table, audit = evidence.table, evidence.audit
        shared_audio = [
            shared | {"uids": [self.uid(name) for name in shared["uids"]]}
            for shared in audit["shared_audio"]
        ]
        return dataclasses.replace(
            evidence,
            table=self.hidden_table(table),
            baselines={
                name: self.hidden_table(own) for name, own in evidence.baselines.items()
            },
            audit=audit
            | {
                "shared_subjects": sorted(map(self.subject, audit["shared_subjects"])),
                "shared_audio": shared_audio,
            },
            manifests={
                split: self._hidden_manifest(manifest)
                for split, manifest in evidence.manifests.items()
            },
            failed=self.hidden_failures(evidence.failed),
            silences={
                label: self._hidden_excerpts(excerpts)
                for label, excerpts in evidence.silences.items()
            },
            errors=self._hidden_excerpts(evidence.errors),
        )

    def _hidden_manifest(self, manifest):
        return manifest.assign(
            ID=manifest["ID"].map(self.uid),
            recording="",
            subject=manifest["subject"].map(self.subject),
        )

    def _hidden_excerpts(self, excerpts):
        return [
            dataclasses.replace(excerpt, uid=self.uid(excerpt.uid))
            for excerpt in excerpts
        ]
