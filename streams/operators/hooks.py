"""Hooks of the user's own, installed as entry points of the group `driftline.hooks`.

An entry point names a callable that takes a `driftline.actions.Action` and carries it out. It is
called once per action id, but for a kill at the wrong moment: then once more with the same id.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from importlib.metadata import EntryPoint, entry_points
from typing import TypeAlias

from driftline.actions import Action
from driftline.errors import UsageError

GROUP = "driftline.hooks"

Hook: TypeAlias = Callable[[Action], object]


def load(names: Collection[str], found: Iterable[EntryPoint] | None = None) -> Mapping[str, Hook]:
    """The hooks of these names.

    Args:
        names: as monitor files say them, `do: hook` with `with: {name: ...}`.
        found: the entry points there are; None: those installed.

    Raises: UsageError: one is not installed, does not load, or cannot be called.
    """
    entries = {entry.name: entry for entry in found or entry_points(group=GROUP)}
    hooks: dict[str, Hook] = {}
    for name in sorted(names):
        if name not in entries:
            there = ", ".join(sorted(entries)) or "there is none"
            raise UsageError(f"no hook {name!r} is installed as an entry point of {GROUP}: {there}")
        try:
            hook = entries[name].load()
        except Exception as error:  # it is the user's code, which may raise anything
            raise UsageError(f"hook {name!r} does not load: {error}") from error
        if not callable(hook):
            raise UsageError(f"hook {name!r} is a {type(hook).__name__}; it must be a callable")
        hooks[name] = hook
    return hooks
