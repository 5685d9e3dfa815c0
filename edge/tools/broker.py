"""The broker that the demo brings along: MQTT 3.1.1 on the loopback interface, in a thread."""

from __future__ import annotations

import asyncio
import logging
import socket
import threading
from concurrent.futures import Future, wait
from types import TracebackType
from typing import Any

from core.remedy import extra

START_TIMEOUT_S = 10.0
STOP_TIMEOUT_S = 5.0
DEFAULT_PORT = 1883
REACH_S = 5.0  # for a connection to a broker of somebody else's

logger = logging.getLogger(__name__)


class BrokerError(Exception):
    """There is no broker: the embedded one cannot run, or another cannot be reached; the message says what to do."""


def check_reachable(host: str, port: int) -> None:
    """Raises BrokerError unless something takes connections at the address."""
    try:
        socket.create_connection((host, port), REACH_S).close()
    except OSError as error:
        reason = error.strerror or str(error)
        raise BrokerError(
            f"broker {host}:{port} cannot be reached: {reason}; check the address, and that it runs, or leave "
            "--broker out: the demo brings one"
        ) from None


class EmbeddedBroker:
    """An anonymous broker on 127.0.0.1 for as long as the context is open.

    Example:
        with EmbeddedBroker() as broker:
            settings = MqttSettings(host=broker.host, port=broker.port)
    """

    host = "127.0.0.1"

    def __init__(self, port: int | None = None) -> None:
        """Without a `port` it is 1883, or a free one where 1883 is taken."""
        self._wanted = port
        self.port = 0
        self._started: Future[None] = Future()
        self._stopping: asyncio.Event
        self._loop: asyncio.AbstractEventLoop
        self._thread: threading.Thread | None = None

    def __enter__(self) -> EmbeddedBroker:
        self.port = self._choose_port()
        self._started = Future()
        self._thread = threading.Thread(target=self._run, name="embedded-broker", daemon=True)
        self._thread.start()
        if not wait([self._started], START_TIMEOUT_S).done:
            raise BrokerError(f"the embedded broker has not started within {START_TIMEOUT_S:g} s")
        self._started.result()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._thread is None:
            return
        if self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._stopping.set)
        self._thread.join(2 * STOP_TIMEOUT_S)
        if self._thread.is_alive():
            logger.warning("the embedded broker on port %d did not stop", self.port)
        self._thread = None

    def _choose_port(self) -> int:
        if self._wanted is not None:
            if not _is_free(self._wanted):
                raise BrokerError(f"port {self._wanted} of {self.host} is taken; give another one, or none")
            return self._wanted
        return DEFAULT_PORT if _is_free(DEFAULT_PORT) else _free_port()

    def _run(self) -> None:
        try:
            asyncio.run(self._serve())
        except Exception as error:
            if self._started.done():
                logger.exception("the embedded broker on port %d has failed", self.port)
            else:
                self._started.set_exception(error)

    async def _serve(self) -> None:
        broker_class = _load_broker_class()
        for chatty in ("amqtt", "transitions"):  # a client that vanishes is an error with a traceback there
            logging.getLogger(chatty).setLevel(logging.CRITICAL)
        self._loop, self._stopping = asyncio.get_running_loop(), asyncio.Event()
        broker = broker_class(
            {
                "listeners": {"default": {"type": "tcp", "bind": f"{self.host}:{self.port}"}},
                "plugins": {"amqtt.plugins.authentication.AnonymousAuthPlugin": {"allow_anonymous": True}},
            }
        )
        try:
            await broker.start()
        except Exception as error:
            raise BrokerError(f"the embedded broker does not start on port {self.port}: {error}") from error
        self._started.set_result(None)
        await self._stopping.wait()
        await asyncio.wait_for(broker.shutdown(), STOP_TIMEOUT_S)


def _load_broker_class() -> Any:
    try:
        from amqtt.broker import Broker
    except ImportError as error:
        raise BrokerError(f"the embedded broker is not installed ({error}): {extra('demo')}") from error

    class OwnRetainedMessages(Broker):  # type: ignore[misc]  # amqtt has no types
        """amqtt sends a client, as it connects, the retained messages that others have subscribed to."""

        async def _publish_retained_messages_for_subscription(self, subscription: Any, session: Any) -> None:
            subscribers = self.subscriptions.get(subscription[0], ())
            if any(subscriber.client_id == session.client_id for subscriber, _ in subscribers):
                await super()._publish_retained_messages_for_subscription(subscription, session)

    return OwnRetainedMessages


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((EmbeddedBroker.host, port))
        except OSError:
            return False
    return True


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind((EmbeddedBroker.host, 0))
        return int(probe.getsockname()[1])
