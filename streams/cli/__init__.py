"""The command line, `driftline`: small commands over the packages beside this one."""

from streams.cli.app import app, main

__all__ = ["app", "main"]
