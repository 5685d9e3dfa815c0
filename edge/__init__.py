"""The edge service: cameras in, verdicts out over MQTT."""

import core as core  # before OpenCV, which it sets a limit for

__version__ = "0.1.0"
