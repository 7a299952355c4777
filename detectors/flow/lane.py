"""Lanes: the frames of a step of join, whose rows are taken one by one across all of them."""

from __future__ import annotations

from typing import Protocol

from detectors.frame import Frame


class Lane(Protocol):
    """The rows of one frame, taken one by one in key order across all lanes."""

    frame: Frame

    def take(self, row: int) -> None:
        """The row's turn."""

    def passed(self) -> list[Frame]:
        """After all rows: what is passed on of the frame."""


class Others:
    """Rows that are not join's business, such as commands: passed on."""

    def __init__(self, frame: Frame) -> None:
        self.frame = frame

    def take(self, row: int) -> None:
        """Nothing to do."""

    def passed(self) -> list[Frame]:
        """The frame as it came."""
        return [self.frame]
