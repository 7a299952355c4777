"""Secrets come from a file or an environment variable; their text is never kept in settings.

A file is read again at every use, so a rotated secret (Kubernetes swaps the file) needs no restart.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, TypeAlias

from driftline.errors import DriftlineError
from streams.monitors.document import Document, Node

Environment: TypeAlias = Mapping[str, str]

_VARIABLE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}")
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


class SecretUnavailableError(DriftlineError):
    """A secret's file or variable is not there, or empty. The message names it, never its text."""


class Source(Protocol):
    """Where a secret is kept."""

    def read(self) -> str:
        """The secret, without white space around it. Raises: SecretUnavailableError."""


@dataclass(frozen=True, slots=True)
class FileSource:
    """A secret in a file."""

    path: Path

    def read(self) -> str:
        """The file's text."""
        try:
            text = self.path.read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            why = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
            raise SecretUnavailableError(f"cannot read {self.path}: {why}") from None
        if not text:
            raise SecretUnavailableError(f"{self.path} is empty")
        return text


class VariableSource:
    """A secret in an environment variable. Its representation names the variable only."""

    def __init__(self, variable: str, environ: Environment) -> None:
        self._variable = variable
        self._environ = environ

    def __repr__(self) -> str:
        return f"VariableSource({self._variable!r})"

    def read(self) -> str:
        """The variable's text."""
        text = self._environ.get(self._variable, "").strip()
        if not text:
            raise SecretUnavailableError(f"the environment variable {self._variable} is not set")
        return text


@dataclass(frozen=True, slots=True)
class PlainText:
    """What is not a secret and stands in the configuration itself."""

    text: str

    def read(self) -> str:
        """The text."""
        return self.text


def file_source(document: Document, node: Node) -> Source | None:
    """The source that a `..._file: PATH` names; a relative path starts at the file it stands in."""
    path = document.string(node)
    return FileSource(Path(document.file).parent / path) if path else None


def variable_source(document: Document, node: Node, environ: Environment) -> Source | None:
    """The source that a `..._env: NAME` names; `${NAME}` is the same."""
    text = document.string(node)
    if text is None:
        return None
    match = _VARIABLE.fullmatch(text)
    name = match[1] if match else text
    if not _NAME.fullmatch(name):  # do not repeat it: somebody may have put the secret itself here
        document.problem(node, "expected the name of an environment variable, not its text")
        return None
    return VariableSource(name, environ)


def is_reference(text: str) -> bool:
    """Whether a text is `${NAME}` and nothing else."""
    return _VARIABLE.fullmatch(text) is not None


def checked(document: Document, node: Node, source: Source | None) -> Source | None:
    """The source, if it can be read now; otherwise a problem of the configuration."""
    if source is not None:
        try:
            source.read()
        except SecretUnavailableError as error:
            document.problem(node, str(error))
            return None
    return source
