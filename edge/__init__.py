"""The edge service: cameras in, verdicts out over MQTT."""

import core as core  # before OpenCV, which it sets a limit for
from core.remedy import name_commands
from edge.remedies import COMMANDS

name_commands(COMMANDS)

__version__ = "0.1.0"
