"""Cameras: one OS process each, so that native code that hangs or crashes stays contained."""

from edge.camera.child import CameraError
from edge.camera.frame import Frame
from edge.camera.supervisor import Camera, CameraStatus

__all__ = ["Camera", "CameraError", "CameraStatus", "Frame"]
