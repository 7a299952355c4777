"""Numbers whose sums are exact, so no order, batch or processor can change a bit of them."""

from __future__ import annotations

from typing import Final

import numpy as np

from detectors.api import Floats

STEP: Final = 2.0**-24
"""Evidence comes in multiples of this many nats.

A label's evidence is below 2^8 and a tick has at most 2^7 of them, so every product and partial sum
of a matrix product is a multiple of STEP below 2^29: float64 holds it exactly, whichever way BLAS
adds. Rounding costs 6e-8 nats an event.
"""


def floored(evidence: Floats) -> Floats:
    """Rounded down to a multiple of STEP: a bet that pays a little less is still a fair bet."""
    whole: Floats = np.floor(evidence / STEP) * STEP
    return whole


def raised(threshold: Floats) -> Floats:
    """The next multiple of STEP above; infinity stays."""
    whole: Floats = np.floor(threshold / STEP) * STEP + STEP
    return whole
