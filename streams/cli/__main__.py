"""`python -m streams.cli`: the same as `driftline`."""

from streams.cli.app import main

main()
