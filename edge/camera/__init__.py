"""Cameras: one OS process each, so that native code that hangs or crashes stays contained."""

from edge.camera.camera import Camera, CameraStatus
from edge.camera.child import CameraError
from edge.camera.frame import Frame

__all__ = ["Camera", "CameraError", "CameraStatus", "Frame"]
