"""`python -m edge.cli.app`."""

from edge.cli.app import main

main()
