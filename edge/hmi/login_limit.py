"""How often passwords may be tried: by one address, and for one name."""

from __future__ import annotations

import ipaddress
from collections import OrderedDict, deque
from collections.abc import Callable

from edge.clock import monotonic

WINDOW_S = 300.0
OF_ADDRESS = 10
"""Failed logins of one address within the window."""
OF_NAME = 50
"""Failed logins for one name: more, so that a stranger does not easily keep somebody out."""
_MOST_KEYS = 10_000


class LoginLimit:
    """Counts failed logins of the last minutes, of the newest addresses and names."""

    def __init__(self, clock: Callable[[], float] = monotonic) -> None:
        self._clock = clock
        self._failures: OrderedDict[tuple[str, str], deque[float]] = OrderedDict()

    def wait_s(self, address: str, name: str) -> float:
        """Seconds until the next try; 0: now."""
        return max(self._wait_s(key, most) for key, most in _keys(address, name))

    def failed(self, address: str, name: str) -> None:
        """Counts a failed login."""
        for key, most in _keys(address, name):
            times = self._failures.setdefault(key, deque(maxlen=most))
            times.append(self._clock())
            self._failures.move_to_end(key)
        while len(self._failures) > _MOST_KEYS:
            self._failures.popitem(last=False)

    def succeeded(self, address: str) -> None:
        """Whoever knows a password has only mistyped it before."""
        self._failures.pop(("address", _network(address)), None)

    def _wait_s(self, key: tuple[str, str], most: int) -> float:
        times = self._failures.get(key)
        if times is None or len(times) < most:
            return 0.0
        return max(0.0, times[0] + WINDOW_S - self._clock())


def _keys(address: str, name: str) -> tuple[tuple[tuple[str, str], int], ...]:
    return (("address", _network(address)), OF_ADDRESS), (("name", name[:64].casefold()), OF_NAME)


def _network(address: str) -> str:
    """An address of IPv4, and of IPv6 the network, of which one machine has all addresses."""
    try:
        found = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return address
    if found.version == 4:
        return str(found)
    return str(ipaddress.IPv6Network((int(found), 64), strict=False).network_address)
