"""What the service asks of the operating system; each in a process of its own, as it cannot be taken back."""

from __future__ import annotations

import subprocess
import sys

import pytest

HEAPS = """
import ctypes, re, sys, threading
from edge.ops.threads import share_memory

if sys.argv[1] == "shared":
    share_memory()
libc = ctypes.CDLL(None)
libc.malloc.restype = ctypes.c_void_p
ready = threading.Barrier(7)

def hold():
    held = [libc.malloc(50_000) for _ in range(10)]
    ready.wait()
    ready.wait()

for _ in range(6):
    threading.Thread(target=hold).start()
ready.wait()
libc.fopen.restype = ctypes.c_void_p
out = ctypes.c_void_p(libc.fopen(b"/dev/stdout", b"w"))
libc.malloc_info(0, out)
libc.fclose(out)
ready.wait()
"""


def heaps(how: str) -> int:
    done = subprocess.run([sys.executable, "-c", HEAPS, how], capture_output=True, text=True, check=True, timeout=60)
    return done.stdout.count("<heap nr=")


@pytest.mark.skipif(sys.platform != "linux", reason="glibc's malloc")
def test_threads_share_their_heaps() -> None:
    assert heaps("of their own") > 2
    assert heaps("shared") <= 2


def test_a_thread_steps_back_and_no_other() -> None:
    code = """
import os, threading
from edge.ops.threads import step_back
def run():
    step_back()
    print(os.getpriority(os.PRIO_PROCESS, threading.get_native_id()))
thread = threading.Thread(target=run)
thread.start()
thread.join()
print(os.getpriority(os.PRIO_PROCESS, threading.get_native_id()))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    stepped, stayed = map(int, done.stdout.split())
    assert stepped > stayed or sys.platform != "linux"
