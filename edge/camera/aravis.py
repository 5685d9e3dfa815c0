"""Aravis, which speaks GigE Vision and USB3 Vision: `libaravis-0.8` by ctypes.

Of its many bindings this one needs the library alone: nothing is built, any Python and any virtual environment will do,
and a call lets go of the interpreter for as long as it takes. Only these functions are called, with the types below.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from ctypes import POINTER, byref, c_bool, c_char_p, c_double, c_int, c_int64, c_size_t, c_uint, c_uint64, c_void_p
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal, TypeAlias

from edge.camera.errors import SourceError

Value: TypeAlias = bool | int | float | str
"""Of a feature; an enumeration's is the name of its entry."""

LIBRARY = "libaravis-0.8.so.0"
_MISSING = (
    f"{LIBRARY} cannot be loaded, which reads GenICam cameras; install it: apt-get install libaravis-0.8-0 "
    "(since Ubuntu 24.04 and Debian 13 the package is libaravis-0.8-0t64 or libaravis-0.8-0)"
)
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
_FIXED = 0  # ArvGvStreamSocketBuffer
_INT = 6 << 2  # G_TYPE_INT
_FRAMES, _LEAST_SOCKET, _MOST_SOCKET = 4, 1 << 20, 64 << 20  # what may wait in the kernel; net.core.rmem_max limits it
_NO_PACKET_SOCKET = 1  # ArvGvStreamOption: one way of receiving, whatever the process may
_NEVER_ADJUST, _ALWAYS_ADJUST = 0, 4  # ArvGvPacketSizeAdjustment
_FAULTS: list[tuple[str, Any]] = [("domain", ctypes.c_uint32), ("code", c_int), ("message", c_char_p)]
_LOST = ctypes.CFUNCTYPE(None, c_void_p, c_void_p)

_GOBJECT: dict[str, tuple[Any, ...]] = {
    "g_object_unref": (None, c_void_p),
    "g_object_set_property": (None, c_void_p, c_char_p, c_void_p),
    "g_signal_connect_data": (ctypes.c_ulong, c_void_p, c_char_p, _LOST, c_void_p, c_void_p, c_int),
    "g_signal_handler_disconnect": (None, c_void_p, ctypes.c_ulong),
    "g_type_check_instance_is_a": (c_bool, c_void_p, c_size_t),
    "g_value_init": (c_void_p, c_void_p, c_size_t),
    "g_value_set_enum": (None, c_void_p, c_int),
    "g_value_set_int": (None, c_void_p, c_int),
    "g_value_unset": (None, c_void_p),
    "g_free": (None, c_void_p),
    "g_clear_error": (None, c_void_p),
}
_PLAIN: dict[str, tuple[Any, ...]] = {
    "arv_update_device_list": (None,),
    "arv_get_n_devices": (c_uint,),
    "arv_get_device_id": (c_char_p, c_uint),
    "arv_get_device_vendor": (c_char_p, c_uint),
    "arv_get_device_model": (c_char_p, c_uint),
    "arv_get_device_serial_nbr": (c_char_p, c_uint),
    "arv_get_device_address": (c_char_p, c_uint),
    "arv_get_device_protocol": (c_char_p, c_uint),
    "arv_camera_get_device": (c_void_p, c_void_p),
    "arv_camera_is_gv_device": (c_bool, c_void_p),
    "arv_camera_gv_set_packet_size_adjustment": (None, c_void_p, c_int),
    "arv_camera_gv_set_stream_options": (None, c_void_p, c_int),
    "arv_device_get_feature": (c_void_p, c_void_p, c_char_p),
    "arv_device_get_genicam_xml": (c_void_p, c_void_p, POINTER(c_size_t)),
    "arv_gc_boolean_get_type": (c_size_t,),
    "arv_gc_command_get_type": (c_size_t,),
    "arv_gc_enumeration_get_type": (c_size_t,),
    "arv_gc_float_get_type": (c_size_t,),
    "arv_gc_integer_get_type": (c_size_t,),
    "arv_gc_string_get_type": (c_size_t,),
    "arv_gv_stream_get_port": (ctypes.c_uint16, c_void_p),
    "arv_gv_stream_packet_resend_get_type": (c_size_t,),
    "arv_gv_stream_socket_buffer_get_type": (c_size_t,),
    "arv_buffer_new_allocate": (c_void_p, c_size_t),
    "arv_stream_push_buffer": (None, c_void_p, c_void_p),
    "arv_stream_try_pop_buffer": (c_void_p, c_void_p),
    "arv_stream_timeout_pop_buffer": (c_void_p, c_void_p, c_uint64),
    "arv_buffer_get_status": (c_int, c_void_p),
    "arv_buffer_get_frame_id": (c_uint64, c_void_p),
    "arv_buffer_get_timestamp": (c_uint64, c_void_p),
    "arv_buffer_get_system_timestamp": (c_uint64, c_void_p),
    "arv_buffer_get_image_data": (c_void_p, c_void_p, POINTER(c_size_t)),
    "arv_buffer_get_image_width": (c_int, c_void_p),
    "arv_buffer_get_image_height": (c_int, c_void_p),
    "arv_buffer_get_image_padding": (None, c_void_p, POINTER(c_int), POINTER(c_int)),
    "arv_buffer_get_image_pixel_format": (ctypes.c_uint32, c_void_p),
}
_FALLIBLE: dict[str, tuple[Any, ...]] = {  # each takes a GError ** besides
    "arv_camera_new": (c_void_p, c_char_p),
    "arv_camera_get_payload": (c_uint, c_void_p),
    "arv_camera_create_stream": (c_void_p, c_void_p, c_void_p, c_void_p),
    "arv_camera_start_acquisition": (None, c_void_p),
    "arv_camera_stop_acquisition": (None, c_void_p),
    "arv_camera_clear_triggers": (None, c_void_p),
    "arv_camera_set_trigger": (None, c_void_p, c_char_p),
    "arv_camera_software_trigger": (None, c_void_p),
    "arv_camera_gv_set_packet_size": (None, c_void_p, c_int),
    "arv_camera_gv_get_packet_size": (c_uint, c_void_p),
    "arv_device_is_feature_available": (c_bool, c_void_p, c_char_p),
    "arv_device_execute_command": (None, c_void_p, c_char_p),
    "arv_device_get_boolean_feature_value": (c_bool, c_void_p, c_char_p),
    "arv_device_get_float_feature_value": (c_double, c_void_p, c_char_p),
    "arv_device_get_integer_feature_value": (c_int64, c_void_p, c_char_p),
    "arv_device_get_string_feature_value": (c_char_p, c_void_p, c_char_p),
    "arv_device_set_boolean_feature_value": (None, c_void_p, c_char_p, c_int),
    "arv_device_set_float_feature_value": (None, c_void_p, c_char_p, c_double),
    "arv_device_set_integer_feature_value": (None, c_void_p, c_char_p, c_int64),
    "arv_device_set_string_feature_value": (None, c_void_p, c_char_p, c_char_p),
    "arv_device_get_float_feature_bounds": (None, c_void_p, c_char_p, POINTER(c_double), POINTER(c_double)),
    "arv_device_get_integer_feature_bounds": (None, c_void_p, c_char_p, POINTER(c_int64), POINTER(c_int64)),
    "arv_device_dup_available_enumeration_feature_values_as_strings": (
        POINTER(c_char_p),
        c_void_p,
        c_char_p,
        POINTER(c_uint),
    ),
}


class AravisError(Exception):
    """What the camera, or Aravis, says is wrong."""


class _GError(ctypes.Structure):
    _fields_ = _FAULTS


class _GValue(ctypes.Structure):
    _fields_ = [("type", c_size_t), ("data", c_uint64 * 2)]  # noqa: RUF012 - as ctypes wants it


class _Library:
    """The functions above, ready to be called."""

    def __init__(self) -> None:
        aravis = ctypes.CDLL(LIBRARY)
        gobject = ctypes.CDLL("libgobject-2.0.so.0")  # with GLib, which it is linked with
        for library, functions in ((gobject, _GOBJECT), (aravis, _PLAIN), (aravis, _FALLIBLE)):
            for name, (returns, *takes) in functions.items():
                function = getattr(library, name)
                function.restype = returns
                function.argtypes = [*takes, c_void_p] if functions is _FALLIBLE else takes
                setattr(self, name, self._raising(function) if functions is _FALLIBLE else function)

    def __getattr__(self, name: str) -> Any:
        raise AttributeError(name)

    def _raising(self, function: Any) -> Any:
        def call(*arguments: Any) -> Any:
            fault = POINTER(_GError)()
            value = function(*arguments, byref(fault))
            if fault:
                message = (fault.contents.message or b"").decode(errors="replace")
                self.g_clear_error(byref(fault))
                raise AravisError(message)
            return value

        return call


@lru_cache(maxsize=1)
def _library() -> _Library:
    """Raises SourceError: it is not installed."""
    try:
        return _Library()
    except (OSError, AttributeError) as error:
        raise SourceError(f"{_MISSING}: {error}", final=True) from error


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


def find() -> list[Found]:
    """The cameras on the network and on the USB; takes about a second, for which answers are waited for.

    Raises:
        SourceError: Aravis is not installed.
    """
    library = _library()
    library.arv_update_device_list()

    def said(what: str, index: int) -> str:
        return (getattr(library, f"arv_get_device_{what}")(index) or b"").decode(errors="replace")

    return [
        Found(*(said(what, index) for what in ("id", "vendor", "model", "serial_nbr", "address", "protocol")))
        for index in range(library.arv_get_n_devices())
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
        address = _library().arv_buffer_get_image_data(self.handle, byref(size))
        return memoryview((ctypes.c_uint8 * size.value).from_address(address)) if address else memoryview(b"")


class Stream:
    """What a camera sends, in buffers of Aravis's own thread."""

    def __init__(self, handle: int, payload: int, buffers: int) -> None:
        """`payload`: bytes of a frame; `buffers`: frames that may wait, beyond which they are lost."""
        self._handle: int | None = handle
        for _ in range(buffers):
            _library().arv_stream_push_buffer(handle, _library().arv_buffer_new_allocate(payload))

    def pop(self, timeout_s: float) -> Buffer | None:
        """The oldest frame that waits, or that comes within `timeout_s`; None: none did."""
        library = _library()
        wait_us = round(timeout_s * 1_000_000)
        if wait_us > 0:
            handle = library.arv_stream_timeout_pop_buffer(self._handle, wait_us)
        else:
            handle = library.arv_stream_try_pop_buffer(self._handle)
        if not handle:
            return None
        status = library.arv_buffer_get_status(handle)
        number = library.arv_buffer_get_frame_id(handle)
        arrived_ns = library.arv_buffer_get_system_timestamp(handle)
        if status != _SUCCESS:  # what tells its size may be what is missing
            return Buffer(handle, _DAMAGE.get(status, f"its status is {status}"), number or None, arrived_ns)
        padding = c_int()
        library.arv_buffer_get_image_padding(handle, byref(padding), byref(c_int()))
        return Buffer(
            handle=handle,
            damage=None,
            number=number,
            arrived_ns=arrived_ns,
            device_ns=library.arv_buffer_get_timestamp(handle),
            width=library.arv_buffer_get_image_width(handle),
            height=library.arv_buffer_get_image_height(handle),
            padding=padding.value,
            pixel_format=library.arv_buffer_get_image_pixel_format(handle),
        )

    def push(self, buffer: Buffer) -> None:
        """Gives a buffer back, to be filled anew."""
        _library().arv_stream_push_buffer(self._handle, buffer.handle)

    def close(self) -> None:
        """Ends its thread."""
        handle, self._handle = self._handle, None
        if handle is not None:
            _library().g_object_unref(handle)


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
        self._library = library = _library()
        self.lost = threading.Event()
        """Set when the camera has gone, or another program has taken it."""
        self._camera = library.arv_camera_new(name.encode()) or 0
        if not self._camera:
            raise AravisError("no such camera")
        self._device = library.arv_camera_get_device(self._camera)
        self._gone = _LOST(lambda _device, _data: self.lost.set())
        self._handler = library.g_signal_connect_data(self._device, b"control-lost", self._gone, None, None, 0)
        self.gigabit = library.arv_camera_is_gv_device(self._camera)
        """Whether it is a GigE Vision camera, whose frames come in packets."""

    def close(self) -> None:
        """Lets go of the camera."""
        camera, self._camera = self._camera, 0
        if camera:
            self._library.g_signal_handler_disconnect(self._device, self._handler)
            self._library.g_object_unref(camera)

    def kind(self, feature: str) -> Kind | None:
        """What kind of feature it is; None: the camera has none of that name."""
        node = self._library.arv_device_get_feature(self._device, feature.encode())
        if not node:
            return None
        is_a = self._library.g_type_check_instance_is_a
        return next((kind for kind in _KINDS if is_a(node, getattr(self._library, f"arv_gc_{kind}_get_type")())), None)

    def is_available(self, feature: str) -> bool:
        """Whether it has the feature, and may use it now."""
        try:
            return bool(self._library.arv_device_is_feature_available(self._device, feature.encode()))
        except AravisError:
            return False

    def get(self, feature: str) -> Value:
        """The value of a feature. Raises AravisError: it has none that can be read."""
        kind, name = self.kind(feature), feature.encode()
        if kind is None or kind == "command":
            raise AravisError(f"{feature} has no value")
        value = getattr(self._library, f"arv_device_get_{_accessor(kind)}_feature_value")(self._device, name)
        if isinstance(value, bytes):
            return value.decode(errors="replace")
        if value is None:
            raise AravisError(f"{feature} has no value")
        return bool(value) if kind == "boolean" else value  # type: ignore[no-any-return]

    def set(self, feature: str, value: Value) -> None:
        """Sets a feature; a command is executed by True. Raises AravisError: the camera refuses, or TypeError."""
        kind, name = self.kind(feature), feature.encode()
        if kind == "command" and value is True:
            self.execute(feature)
        elif kind == "boolean" and isinstance(value, bool):
            self._library.arv_device_set_boolean_feature_value(self._device, name, int(value))
        elif kind == "float" and isinstance(value, (int, float)) and not isinstance(value, bool):
            self._library.arv_device_set_float_feature_value(self._device, name, float(value))
        elif kind == "integer" and isinstance(value, int) and not isinstance(value, bool):
            self._library.arv_device_set_integer_feature_value(self._device, name, value)
        elif kind in ("enumeration", "string") and isinstance(value, str):
            self._library.arv_device_set_string_feature_value(self._device, name, value.encode())
        else:
            raise TypeError(f"it is {_ARTICLE[kind]}" if kind is not None else "the camera has no such feature")

    def execute(self, command: str) -> None:
        """Executes a command. Raises AravisError: the camera refuses."""
        self._library.arv_device_execute_command(self._device, command.encode())

    def choices(self, feature: str) -> list[str]:
        """What an enumeration can be now, in the camera's order; of any other feature nothing."""
        if self.kind(feature) != "enumeration":
            return []
        count = c_uint()
        with _unless_refused():
            listed = self._library.arv_device_dup_available_enumeration_feature_values_as_strings(
                self._device, feature.encode(), byref(count)
            )
            found = [listed[index].decode(errors="replace") for index in range(count.value)]
            self._library.g_free(listed)  # the list alone: its entries belong to the camera
            return found
        return []

    def bounds(self, feature: str) -> tuple[float, float] | None:
        """Least and largest value of a number; None: it has no bounds, or is none."""
        kind = self.kind(feature)
        if kind not in ("float", "integer"):
            return None
        least, largest = (c_double(), c_double()) if kind == "float" else (c_int64(), c_int64())
        with _unless_refused():
            function = getattr(self._library, f"arv_device_get_{kind}_feature_bounds")
            function(self._device, feature.encode(), byref(least), byref(largest))
            return least.value, largest.value
        return None

    def description(self) -> str:
        """The camera's own description of itself, GenICam XML."""
        size = c_size_t()
        address = self._library.arv_device_get_genicam_xml(self._device, byref(size))
        return ctypes.string_at(address, size.value).decode(errors="replace") if address else ""

    def trigger(self, source: str | None) -> None:
        """Has frames exposed by `source`, an entry of TriggerSource, or one after the other. Raises AravisError."""
        if source is None:
            self._library.arv_camera_clear_triggers(self._camera)
        else:
            self._library.arv_camera_set_trigger(self._camera, source.encode())

    def expose(self) -> None:
        """Exposes a frame by software. Raises AravisError."""
        self._library.arv_camera_software_trigger(self._camera)

    def packet_size(self) -> int:
        """Bytes of a GigE Vision camera's packets. Raises AravisError."""
        return int(self._library.arv_camera_gv_get_packet_size(self._camera))

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
        library, camera = self._library, self._camera
        if self.gigabit:
            library.arv_camera_gv_set_stream_options(camera, _NO_PACKET_SOCKET)
            library.arv_camera_gv_set_packet_size_adjustment(
                camera, _ALWAYS_ADJUST if packet_size is None else _NEVER_ADJUST
            )
            if packet_size is not None:
                library.arv_camera_gv_set_packet_size(camera, packet_size)
        payload = library.arv_camera_get_payload(camera)
        if not payload:
            raise AravisError("the camera announces frames of 0 bytes")
        handle = library.arv_camera_create_stream(camera, None, None)
        if not handle:
            raise AravisError("no stream could be made")
        if self.gigabit:
            self._set(handle, "packet-resend", library.arv_gv_stream_packet_resend_get_type(), int(resend))
            self._set(handle, "socket-buffer", library.arv_gv_stream_socket_buffer_get_type(), _FIXED)
            room = max(_LEAST_SOCKET, min(_FRAMES * payload, _MOST_SOCKET))
            self._set(handle, "socket-buffer-size", _INT, room)
            _make_room(library.arv_gv_stream_get_port(handle), room)
        return Stream(handle, payload, max(3, min(buffers, most_bytes // payload)))

    def start(self) -> None:
        """Begins to take frames. Raises AravisError."""
        self._library.arv_camera_start_acquisition(self._camera)

    def stop(self) -> None:
        """Takes no more. Raises AravisError."""
        self._library.arv_camera_stop_acquisition(self._camera)

    def _set(self, instance: int, name: str, kind: int, value: int) -> None:
        """Sets a property of an object of Aravis, a whole number or one of an enumeration."""
        held = _GValue()
        self._library.g_value_init(byref(held), kind)
        (self._library.g_value_set_int if kind == _INT else self._library.g_value_set_enum)(byref(held), value)
        self._library.g_object_set_property(instance, name.encode(), byref(held))
        self._library.g_value_unset(byref(held))


def _make_room(port: int, size: int) -> None:
    """Gives the socket of `port` its room at once: Aravis does so when the first frame has begun, and loses of that."""
    for entry in os.listdir("/proc/self/fd"):
        with contextlib.suppress(OSError):  # it is no socket, or was the listing's own
            with socket.socket(fileno=os.dup(int(entry))) as found:
                if found.type == socket.SOCK_DGRAM and found.getsockname()[1:2] == (port,):
                    found.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, size)


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
