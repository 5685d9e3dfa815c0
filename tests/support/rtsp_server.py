"""Serves a folder of equally large PNG pictures as H.264 over RTSP. Run by the system's Python.

    rtsp_server.py FOLDER FPS PORT

FOLDER holds 00000.png, 00001.png, ...; PORT 0 picks a free one. Prints `port N` when it accepts clients.
`/line` is the path.
"""

from __future__ import annotations

import sys
from pathlib import Path

MISSING = 3  # exit code: a Debian package is missing

try:
    import gi

    gi.require_version("Gst", "1.0")
    gi.require_version("GstRtspServer", "1.0")
    from gi.repository import GLib, Gst, GstRtspServer
except (ImportError, ValueError) as error:
    print(error, file=sys.stderr)
    sys.exit(MISSING)

ELEMENTS = ("multifilesrc", "pngdec", "videoconvert", "x264enc", "rtph264pay", "rtpbin")


def main(folder: Path, fps: float, port: int) -> int:
    Gst.init(None)
    lacking = [name for name in ELEMENTS if Gst.ElementFactory.find(name) is None]
    if lacking:
        print("no GStreamer element " + ", ".join(lacking), file=sys.stderr)
        return MISSING
    last = len(list(folder.glob("*.png"))) - 1
    rate = f"{round(fps * 1000)}/1000"
    factory = GstRtspServer.RTSPMediaFactory()
    factory.set_launch(
        f'( multifilesrc location="{folder}/%05d.png" start-index=0 stop-index={last} loop=true '
        f"caps=image/png,framerate={rate} ! pngdec ! videoconvert ! video/x-raw,format=I420 "
        "! x264enc tune=zerolatency speed-preset=ultrafast pass=quant quantizer=16 key-int-max=5 "
        "! rtph264pay name=pay0 pt=96 config-interval=-1 )"
    )
    factory.set_shared(True)
    server = GstRtspServer.RTSPServer()
    server.set_address("127.0.0.1")
    server.set_service(str(port))
    server.get_mount_points().add_factory("/line", factory)
    if server.attach(None) == 0:
        print(f"port {port} cannot be bound", file=sys.stderr)
        return 1
    print(f"port {server.get_bound_port()}", flush=True)
    GLib.MainLoop().run()
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), float(sys.argv[2]), int(sys.argv[3])))
