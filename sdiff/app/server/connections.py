"""Limits open connections, so that no client can lock out others by opening too many."""

from __future__ import annotations

import time
from asyncio import BaseTransport
from collections import Counter

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

try:
    import resource
except ImportError:  # on Windows, where open files do not limit connections
    resource = None

CONNECTIONS = 1000  # maximum number of open connections
HEAD = 1 << 20  # maximum bytes of a request without its body; a URL may contain a whole history


def room() -> int:
    """Maximum number of connections. Half of the process's file descriptors are left for everything else."""
    return CONNECTIONS if resource is None else min(CONNECTIONS, resource.getrlimit(resource.RLIMIT_NOFILE)[0] // 2)


class Connection(HttpToolsProtocol):
    """A connection to a client.

    Above the limit, a connection of the address with most connections is closed: the oldest idle one, or else the
    newest one.
    """

    opened = 0.0
    head = 0  # bytes of the current request without its body: head, chunk sizes, trailers

    def connection_made(self, transport: BaseTransport) -> None:
        super().connection_made(transport)  # pyright: ignore[reportArgumentType]
        self.opened = time.monotonic()
        connections = [each for each in self.connections if isinstance(each, Connection)]
        if len(connections) > room():
            per_address = Counter(each.address for each in connections)
            max(connections, key=lambda each: (per_address[each.address], each.idle, each.age)).drop()

    def data_received(self, data: bytes) -> None:
        self.head += len(data)
        super().data_received(data)
        if self.head > HEAD:
            self.drop()

    def on_body(self, body: bytes) -> None:
        self.head -= len(body)
        super().on_body(body)

    def on_message_complete(self) -> None:
        self.head = 0
        super().on_message_complete()

    @property
    def address(self) -> str:
        return self.client[0] if self.client else ""

    @property
    def idle(self) -> bool:
        """Whether no request is in progress."""
        return self.cycle is None or self.cycle.response_complete

    @property
    def age(self) -> float:
        """Seconds since the connection was opened, negated while a request is in progress."""
        age = time.monotonic() - self.opened
        return age if self.idle else -age

    def drop(self) -> None:
        self.connections.discard(self)
        self.transport.abort()
