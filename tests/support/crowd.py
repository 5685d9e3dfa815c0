"""Strangers who connect by the thousand and have nothing to say, in a process of their own."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from types import TracebackType
from typing import IO, cast

_CODE = """
import contextlib, resource, select, socket, sys
address, count, opening, drip = sys.argv[1], int(sys.argv[2]), bytes.fromhex(sys.argv[3]), bytes.fromhex(sys.argv[4])
_, most = resource.getrlimit(resource.RLIMIT_NOFILE)
resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
crowd = []
for _ in range(count):
    if address.isdecimal():
        one, where = socket.socket(), ("127.0.0.1", int(address))
    else:
        one, where = socket.socket(socket.AF_UNIX), address
    one.settimeout(10)
    with contextlib.suppress(OSError):
        one.connect(where)
        one.sendall(opening)
    crowd.append(one)
print("there", flush=True)
while not select.select([sys.stdin], [], [], 0.1)[0]:
    for one in crowd if drip else ():
        with contextlib.suppress(OSError):
            one.send(drip)
"""


class Crowd:
    """So many connections to a UNIX socket or a TCP port of this machine, for as long as the context is open.

    Each says `opening`; with `drip` that, again and again, every tenth of a second.
    """

    def __init__(self, address: Path | int, count: int = 1500, opening: bytes = b"", drip: bytes = b"") -> None:
        self._command = [sys.executable, "-c", _CODE, str(address), str(count), opening.hex(), drip.hex()]

    def __enter__(self) -> Crowd:
        self._process = subprocess.Popen(self._command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        assert cast(IO[bytes], self._process.stdout).readline() == b"there\n"
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.communicate()
