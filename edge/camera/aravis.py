"""GigE Vision and USB3 Vision cameras, as Aravis finds, opens and reads them."""

from __future__ import annotations

import contextlib
import ctypes
import os
import socket
import stat
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from ctypes import byref, c_double, c_int, c_int64, c_size_t, c_uint
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeAlias

from edge.camera.aravis_library import LOST, AravisError, GValue, library

Value: TypeAlias = bool | int | float | str
"""Of a feature; an enumeration's is the name of its entry."""

_SUCCESS = 0
_DAMAGE = {
    1: "it was cleared",
    2: "it did not come in time",
    3: "packets of it are missing",
    4: "packets of it have wrong numbers",
    5: "it is larger than announced",
    6: "it is still being filled",
    7: "the camera broke it off",
    8: "it holds no image",
}
"""By `ArvBufferStatus`."""
_CHECK_RANGE = 1  # ArvRangeCheckPolicy: what is out of bounds is refused, also by cameras that would take it
_FIXED = 0  # ArvGvStreamSocketBuffer
_INT = 6 << 2  # G_TYPE_INT
_FRAMES, _LEAST_SOCKET, _MOST_SOCKET = 4, 1 << 20, 64 << 20  # what may wait in the kernel; net.core.rmem_max limits it
_NO_PACKET_SOCKET = 1  # ArvGvStreamOption: one way of receiving, whatever the process may
_NEVER_ADJUST, _ALWAYS_ADJUST = 0, 4  # ArvGvPacketSizeAdjustment


@dataclass(frozen=True)
class Found:
    """A camera that answered."""

    id: str
    vendor: str
    model: str
    serial: str
    address: str
    """Where it is: an IP address, or what the USB calls it."""
    protocol: str
    """`GigEVision` or `USB3Vision`."""


def version() -> str:
    """Of Aravis. Raises SourceError: it is not installed."""
    arv = library()
    return ".".join(str(getattr(arv, f"arv_get_{part}_version")()) for part in ("major", "minor", "micro"))


def find() -> list[Found]:
    """The cameras on the network and on the USB; takes about a second, for which answers are waited for.

    Raises:
        SourceError: Aravis is not installed.
    """
    arv = library()
    arv.arv_update_device_list()

    def said(what: str, index: int) -> str:
        return (getattr(arv, f"arv_get_device_{what}")(index) or b"").decode(errors="replace")

    return [
        Found(*(said(what, index) for what in ("id", "vendor", "model", "serial_nbr", "address", "protocol")))
        for index in range(arv.arv_get_n_devices())
    ]


@dataclass(frozen=True)
class Buffer:
    """A frame as it came. It belongs to Aravis: give it back to `Stream.push`, and read it no more."""

    handle: int
    damage: str | None
    """Why it is not whole; None: it is."""
    number: int | None
    """The camera's own, of the frame; None: what told it is missing."""
    arrived_ns: int
    """When its first packet came, nanoseconds of the wall clock; 0: not known."""
    device_ns: int = 0
    """When the camera took it, by its own clock, nanoseconds; 0: it does not say."""
    width: int = 0
    height: int = 0
    padding: int = 0
    """Bytes after each row."""
    pixel_format: int = 0
    """Number of the Pixel Format Naming Convention."""

    def data(self) -> memoryview:
        """Its bytes, without a copy."""
        size = c_size_t()
        address = library().arv_buffer_get_image_data(self.handle, byref(size))
        return memoryview((ctypes.c_uint8 * size.value).from_address(address)) if address else memoryview(b"")


class Stream:
    """What a camera sends, in buffers of Aravis's own thread."""

    def __init__(self, handle: int, payload: int, buffers: int, room: int | None) -> None:
        """`payload`: bytes of a frame; `buffers`: frames that may wait, beyond which they are lost."""
        self.payload = payload
        """Bytes of a frame."""
        self.room = room
        """Bytes that the kernel keeps for it, where it comes in packets."""
        self._handle: int | None = handle
        for _ in range(buffers):
            library().arv_stream_push_buffer(handle, library().arv_buffer_new_allocate(payload))

    def pop(self, timeout_s: float) -> Buffer | None:
        """The oldest frame that waits, or that comes within `timeout_s`; None: none did."""
        arv = library()
        wait_us = round(timeout_s * 1_000_000)
        if wait_us > 0:
            handle = arv.arv_stream_timeout_pop_buffer(self._handle, wait_us)
        else:
            handle = arv.arv_stream_try_pop_buffer(self._handle)
        if not handle:
            return None
        status = arv.arv_buffer_get_status(handle)
        number = arv.arv_buffer_get_frame_id(handle)
        arrived_ns = arv.arv_buffer_get_system_timestamp(handle)
        if status != _SUCCESS:  # what tells its size may be what is missing
            return Buffer(handle, _DAMAGE.get(status, f"its status is {status}"), number or None, arrived_ns)
        padding = c_int()
        arv.arv_buffer_get_image_padding(handle, byref(padding), byref(c_int()))
        return Buffer(
            handle=handle,
            damage=None,
            number=number,
            arrived_ns=arrived_ns,
            device_ns=arv.arv_buffer_get_timestamp(handle),
            width=arv.arv_buffer_get_image_width(handle),
            height=arv.arv_buffer_get_image_height(handle),
            padding=padding.value,
            pixel_format=arv.arv_buffer_get_image_pixel_format(handle),
        )

    def push(self, buffer: Buffer) -> None:
        """Gives a buffer back, to be filled anew."""
        library().arv_stream_push_buffer(self._handle, buffer.handle)

    def close(self) -> None:
        """Ends its thread."""
        handle, self._handle = self._handle, None
        if handle is not None:
            library().g_object_unref(handle)


Kind: TypeAlias = Literal["boolean", "command", "enumeration", "float", "integer", "string"]
_KINDS: tuple[Kind, ...] = ("boolean", "command", "enumeration", "float", "integer", "string")  # in order of their say


class Device:
    """An open camera: its features and its stream."""

    def __init__(self, name: str) -> None:
        """Opens the camera of an id, an address, or a serial number.

        Raises:
            SourceError: Aravis is not installed.
            AravisError: there is no such camera, or it does not let itself be opened.
        """
        self._arv = arv = library()
        self.lost = threading.Event()
        """Set when the camera has gone, or another program has taken it."""
        self._camera = arv.arv_camera_new(name.encode()) or 0
        if not self._camera:
            raise AravisError("no such camera")
        self._device = arv.arv_camera_get_device(self._camera)
        self._gone = LOST(lambda _device, _data: self.lost.set())
        self._handler = arv.g_signal_connect_data(self._device, b"control-lost", self._gone, None, None, 0)
        arv.arv_device_set_range_check_policy(self._device, _CHECK_RANGE)
        self.gigabit = arv.arv_camera_is_gv_device(self._camera)
        """Whether it is a GigE Vision camera, whose frames come in packets."""
        if self.gigabit and not arv.arv_gv_device_is_controller(self._device):
            self.close()
            raise AravisError("it gives no control over itself")

    def close(self) -> None:
        """Lets go of the camera."""
        camera, self._camera = self._camera, 0
        if camera:
            self._arv.g_signal_handler_disconnect(self._device, self._handler)
            self._arv.g_object_unref(camera)

    def kind(self, feature: str) -> Kind | None:
        """What kind of feature it is; None: the camera has none of that name."""
        node = self._arv.arv_device_get_feature(self._device, feature.encode())
        if not node:
            return None
        is_a = self._arv.g_type_check_instance_is_a
        return next((kind for kind in _KINDS if is_a(node, getattr(self._arv, f"arv_gc_{kind}_get_type")())), None)

    def is_available(self, feature: str) -> bool:
        """Whether it has the feature, and may use it now."""
        try:
            return bool(self._arv.arv_device_is_feature_available(self._device, feature.encode()))
        except AravisError:
            return False

    def get(self, feature: str) -> Value:
        """The value of a feature. Raises AravisError: it has none that can be read."""
        kind, name = self.kind(feature), feature.encode()
        if kind is None or kind == "command":
            raise AravisError(f"{feature} has no value")
        value = getattr(self._arv, f"arv_device_get_{_accessor(kind)}_feature_value")(self._device, name)
        if isinstance(value, bytes):
            return value.decode(errors="replace")
        if value is None:
            raise AravisError(f"{feature} has no value")
        return bool(value) if kind == "boolean" else value

    def set(self, feature: str, value: Value) -> None:
        """Sets a feature; a command is executed by True. Raises AravisError: the camera refuses, or TypeError."""
        kind, name = self.kind(feature), feature.encode()
        if kind == "command" and value is True:
            self.execute(feature)
        elif kind == "boolean" and isinstance(value, bool):
            self._arv.arv_device_set_boolean_feature_value(self._device, name, int(value))
        elif kind == "float" and isinstance(value, (int, float)) and not isinstance(value, bool):
            self._arv.arv_device_set_float_feature_value(self._device, name, float(value))
        elif kind == "integer" and isinstance(value, int) and not isinstance(value, bool):
            self._arv.arv_device_set_integer_feature_value(self._device, name, value)
        elif kind in ("enumeration", "string") and isinstance(value, str):
            self._arv.arv_device_set_string_feature_value(self._device, name, value.encode())
        else:
            raise TypeError(f"it is {_ARTICLE[kind]}" if kind is not None else "the camera has no such feature")

    def execute(self, command: str) -> None:
        """Executes a command. Raises AravisError: the camera refuses."""
        self._arv.arv_device_execute_command(self._device, command.encode())

    def choices(self, feature: str) -> list[str]:
        """What an enumeration can be now, in the camera's order; of any other feature nothing."""
        if self.kind(feature) != "enumeration":
            return []
        count = c_uint()
        with _unless_refused():
            listed = self._arv.arv_device_dup_available_enumeration_feature_values_as_strings(
                self._device, feature.encode(), byref(count)
            )
            found = [listed[index].decode(errors="replace") for index in range(count.value)]
            self._arv.g_free(listed)  # the list alone: its entries belong to the camera
            return found
        return []

    def bounds(self, feature: str) -> tuple[float, float] | None:
        """Least and largest value of a number; None: it has no bounds, or is none."""
        kind = self.kind(feature)
        if kind not in ("float", "integer"):
            return None
        least, largest = (c_double(), c_double()) if kind == "float" else (c_int64(), c_int64())
        with _unless_refused():
            function = getattr(self._arv, f"arv_device_get_{kind}_feature_bounds")
            function(self._device, feature.encode(), byref(least), byref(largest))
            return least.value, largest.value
        return None

    def description(self) -> str:
        """The camera's own description of itself, GenICam XML."""
        size = c_size_t()
        address = self._arv.arv_device_get_genicam_xml(self._device, byref(size))
        return ctypes.string_at(address, size.value).decode(errors="replace") if address else ""

    def trigger(self, source: str | None) -> None:
        """Has frames exposed by `source`, an entry of TriggerSource, or one after the other. Raises AravisError."""
        if source is None:
            self._arv.arv_camera_clear_triggers(self._camera)
        else:
            self._arv.arv_camera_set_trigger(self._camera, source.encode())

    def expose(self) -> None:
        """Exposes a frame by software. Raises AravisError."""
        self._arv.arv_camera_software_trigger(self._camera)

    def packet_size(self) -> int:
        """Bytes of a GigE Vision camera's packets. Raises AravisError."""
        return int(self._arv.arv_camera_gv_get_packet_size(self._camera))

    def stream(self, buffers: int, most_bytes: int, *, packet_size: int | None, resend: bool) -> Stream:
        """Makes ready to receive.

        Args:
            buffers: Frames that may wait to be taken.
            most_bytes: What they may take up; three of them in any case.
            packet_size: Of a GigE Vision camera, bytes; None: as large as the network lets through.
            resend: Whether lost packets of a GigE Vision camera are asked for again.

        Raises:
            AravisError: the camera refuses.
        """
        arv, camera = self._arv, self._camera
        if self.gigabit:
            arv.arv_camera_gv_set_stream_options(camera, _NO_PACKET_SOCKET)
            arv.arv_camera_gv_set_packet_size_adjustment(
                camera, _ALWAYS_ADJUST if packet_size is None else _NEVER_ADJUST
            )
            if packet_size is not None:
                arv.arv_camera_gv_set_packet_size(camera, packet_size)
        payload = arv.arv_camera_get_payload(camera)
        if not payload:
            raise AravisError("the camera announces frames of 0 bytes")
        handle = arv.arv_camera_create_stream(camera, None, None)
        if not handle:
            raise AravisError("no stream could be made")
        granted = None
        if self.gigabit:
            self._set(handle, "packet-resend", arv.arv_gv_stream_packet_resend_get_type(), int(resend))
            self._set(handle, "socket-buffer", arv.arv_gv_stream_socket_buffer_get_type(), _FIXED)
            room = max(_LEAST_SOCKET, min(_FRAMES * payload, _MOST_SOCKET))
            self._set(handle, "socket-buffer-size", _INT, room)
            granted = _make_room(arv.arv_gv_stream_get_port(handle), room)
        return Stream(handle, payload, max(3, min(buffers, most_bytes // payload)), granted)

    def start(self) -> None:
        """Begins to take frames. Raises AravisError."""
        self._arv.arv_camera_start_acquisition(self._camera)

    def stop(self) -> None:
        """Takes no more. Raises AravisError."""
        self._arv.arv_camera_stop_acquisition(self._camera)

    def _set(self, instance: int, name: str, kind: int, value: int) -> None:
        """Sets a property of an object of Aravis, a whole number or one of an enumeration."""
        held = GValue()
        self._arv.g_value_init(byref(held), kind)
        (self._arv.g_value_set_int if kind == _INT else self._arv.g_value_set_enum)(byref(held), value)
        self._arv.g_object_set_property(instance, name.encode(), byref(held))
        self._arv.g_value_unset(byref(held))


def _make_room(port: int, size: int) -> int | None:
    """Gives the socket of `port` its room at once: Aravis does so when the first frame has begun, and loses of that.

    Returns the bytes that the kernel grants.
    """
    for entry in list(Path("/proc/self/fd").iterdir()):
        with contextlib.suppress(OSError):  # it was closed meanwhile
            if not stat.S_ISSOCK(os.fstat(int(entry.name)).st_mode):
                continue
            with socket.socket(fileno=os.dup(int(entry.name))) as found:
                if found.type == socket.SOCK_DGRAM and found.getsockname()[1:2] == (port,):
                    found.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, size)
                    return found.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF) // 2  # it doubles what is asked for
    return None


_ARTICLE: dict[Kind, str] = {
    "boolean": "true or false",
    "command": "a command, which true executes",
    "enumeration": "a text, one of its choices",
    "float": "a number",
    "integer": "a whole number",
    "string": "a text",
}


def _accessor(kind: Kind) -> str:
    return "string" if kind == "enumeration" else kind


@contextmanager
def _unless_refused() -> Iterator[None]:
    try:
        yield
    except AravisError:
        return
