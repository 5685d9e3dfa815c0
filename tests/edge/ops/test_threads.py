"""What the service asks of the operating system; each in a process of its own, as it cannot be taken back."""

from __future__ import annotations

import subprocess
import sys
import threading
import time

import pytest

from edge.ops.threads import Loading

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


def test_work_is_waited_for_and_its_error_is_the_callers() -> None:
    done: list[str] = []
    assert Loading(lambda: done.append("work"), lambda: done.append("undone")).wait(threading.Event())
    assert done == ["work"]

    def fail() -> None:
        raise ValueError("no such weights")

    with pytest.raises(ValueError, match="no such weights"):
        Loading(fail, lambda: done.append("undone")).wait(threading.Event())
    assert done == ["work"]


@pytest.mark.parametrize("fails", [False, True])
def test_work_that_is_given_up_goes_on_and_is_undone_then(fails: bool) -> None:
    stop, goes_on, undone = threading.Event(), threading.Event(), threading.Event()

    def work() -> None:
        goes_on.wait(10)
        if fails:
            raise ValueError("too late to tell anybody")

    loading = Loading(work, undone.set)
    threading.Timer(0.05, stop.set).start()
    began = time.monotonic()
    assert not loading.wait(stop)
    assert time.monotonic() - began < 5
    assert not undone.is_set()
    goes_on.set()
    assert undone.wait(10)


@pytest.mark.parametrize(("cancel", "code", "said"), [("", 70, "it did not end"), ("timer.cancel()", 0, "")])
def test_a_process_ends_in_time_unless_that_is_called_off(cancel: str, code: int, said: str) -> None:
    program = f"""
import time
from edge.ops.threads import end_after
timer = end_after(0.2, 70, "it did not end")
{cancel}
time.sleep(1)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False, timeout=60)
    assert (done.returncode, done.stderr.strip()) == (code, said)
