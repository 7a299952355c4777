"""River objects in snapshots: pickled beside the version that wrote them.

Everything else is stored as numbers and survives upgrades. A River object written by another
version of River, or one that does not unpickle, starts cold, which the state counts.
"""

from __future__ import annotations

import pickle
from collections.abc import Mapping
from typing import Any

import river


def dump_river(thing: object) -> dict[str, Any]:
    """The object's pickle and River's version."""
    return {"river": river.__version__, "pickle": pickle.dumps(thing, protocol=5)}


def load_river(dumped: Mapping[str, Any]) -> Any | None:  # Any: River is untyped
    """The object, or None where it has to start cold."""
    if dumped["river"] != river.__version__:
        return None
    try:
        return pickle.loads(dumped["pickle"])
    except (
        Exception
    ):  # unpickling foreign bytes may raise anything; a cold start is the answer to all
        return None
