"""How many examples a fuzz test draws: few in the suite, more by DRIFTLINE_EXAMPLES."""

from __future__ import annotations

import os


def examples(usually: int) -> int:
    """What DRIFTLINE_EXAMPLES says, else so many as usual."""
    return int(os.environ.get("DRIFTLINE_EXAMPLES") or usually)
