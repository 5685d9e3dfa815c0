"""The functions of `libaravis-0.8` and of GObject that are called, by ctypes, and their types.

Of the many bindings of Aravis this one needs the library alone: nothing is built, any Python and any virtual
environment will do, and a call lets go of the interpreter for as long as it takes.
"""

from __future__ import annotations

import ctypes
from ctypes import POINTER, byref, c_bool, c_char_p, c_double, c_int, c_int64, c_size_t, c_uint, c_uint64, c_void_p
from functools import lru_cache
from typing import Any

from edge.camera.errors import SourceError

LIBRARY = "libaravis-0.8.so.0"
_MISSING = f"{LIBRARY} cannot be loaded, which GenICam cameras need: apt-get install libaravis-0.8-0"
LOST = ctypes.CFUNCTYPE(None, c_void_p, c_void_p)

_GOBJECT: dict[str, tuple[Any, ...]] = {
    "g_object_unref": (None, c_void_p),
    "g_object_set_property": (None, c_void_p, c_char_p, c_void_p),
    "g_signal_connect_data": (ctypes.c_ulong, c_void_p, c_char_p, LOST, c_void_p, c_void_p, c_int),
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
    "arv_get_major_version": (c_uint,),
    "arv_get_minor_version": (c_uint,),
    "arv_get_micro_version": (c_uint,),
    "arv_get_n_devices": (c_uint,),
    "arv_get_device_id": (c_char_p, c_uint),
    "arv_get_device_vendor": (c_char_p, c_uint),
    "arv_get_device_model": (c_char_p, c_uint),
    "arv_get_device_serial_nbr": (c_char_p, c_uint),
    "arv_get_device_address": (c_char_p, c_uint),
    "arv_get_device_protocol": (c_char_p, c_uint),
    "arv_camera_get_device": (c_void_p, c_void_p),
    "arv_gv_device_is_controller": (c_bool, c_void_p),
    "arv_camera_is_gv_device": (c_bool, c_void_p),
    "arv_camera_gv_set_packet_size_adjustment": (None, c_void_p, c_int),
    "arv_camera_gv_set_stream_options": (None, c_void_p, c_int),
    "arv_device_get_feature": (c_void_p, c_void_p, c_char_p),
    "arv_device_set_range_check_policy": (None, c_void_p, c_int),
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
    _fields_ = [("domain", ctypes.c_uint32), ("code", c_int), ("message", c_char_p)]


class GValue(ctypes.Structure):
    _fields_ = [("type", c_size_t), ("data", c_uint64 * 2)]


class Library:
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
def library() -> Library:
    """Raises SourceError: it is not installed."""
    try:
        return Library()
    except (OSError, AttributeError) as error:
        raise SourceError(f"{_MISSING}: {error}", final=True) from error
