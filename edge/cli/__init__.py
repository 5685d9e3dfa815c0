"""The command line, `alfa-edge ...`."""
