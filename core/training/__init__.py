"""How the bundled model comes about: `python -m core.training --help`."""
