"""The edge service: cameras in, verdicts out over MQTT."""

import os

from core import MOST_PIXELS
from core.remedy import name_commands
from edge.remedies import COMMANDS

__version__ = "0.1.0"

# OpenCV reads it as it is loaded, and has no other way to be told.
os.environ.setdefault("OPENCV_IO_MAX_IMAGE_PIXELS", str(MOST_PIXELS))
name_commands(COMMANDS)
