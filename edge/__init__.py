"""The edge service: cameras in, verdicts out over MQTT."""

__version__ = "0.1.0"
