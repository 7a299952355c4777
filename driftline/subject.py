"""Subject: what a monitor watches, one version of one model."""

from __future__ import annotations

import re
from dataclasses import dataclass

from driftline.errors import ContractError
from driftline.rules import NAME_PATTERN, Reason

SEPARATOR = "@"
"""Between model and version; no name may contain it, so the text reads back without doubt."""

_FORM = re.compile(f"{NAME_PATTERN}{SEPARATOR}{NAME_PATTERN}")


@dataclass(frozen=True, slots=True, order=True)
class Subject:
    """A model and a version of it; `str()` is `model@version`, its key on topics and in URLs."""

    model: str
    version: str

    def __str__(self) -> str:
        return f"{self.model}{SEPARATOR}{self.version}"

    @property
    def key(self) -> bytes:
        """The Kafka key of records about this subject."""
        return str(self).encode()

    @classmethod
    def parse(cls, text: str) -> Subject:
        """The subject that a text `model@version` names. Reserved names (`_driftline@join`) pass.

        Raises: ContractError when the text is not of that form.
        """
        if _FORM.fullmatch(text) is None:
            raise ContractError(
                Reason.BAD_MODEL, f"{text[:140]!r} is no subject; write model@version"
            )
        model, version = text.split(SEPARATOR)
        return cls(model, version)
