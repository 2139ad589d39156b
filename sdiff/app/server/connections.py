"""How many connections the server holds, so that nobody locks others out by opening more than there is room for."""

from __future__ import annotations

import time
from asyncio import BaseTransport
from collections import Counter

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

try:
    import resource
except ImportError:  # on Windows, where files do not limit connections
    resource = None

CONNECTIONS = 1000
HEAD = 1 << 20  # bytes of a request besides its body: an address may hold a whole history


def room() -> int:
    """How many connections there may be: the other half of the files that may be open is for everything else."""
    return CONNECTIONS if resource is None else min(CONNECTIONS, resource.getrlimit(resource.RLIMIT_NOFILE)[0] // 2)


class Connection(HttpToolsProtocol):
    """A connection to a client. Where there is no room for it, one is closed of the address that holds most: one
    without a request, the oldest first, else the newest."""

    opened = 0.0
    head = 0  # bytes of the current request that are not its body: the head, chunk sizes, trailers

    def connection_made(self, transport: BaseTransport) -> None:
        super().connection_made(transport)  # pyright: ignore[reportArgumentType]
        self.opened = time.monotonic()
        held = [each for each in self.connections if isinstance(each, Connection)]
        if len(held) > room():
            of_address = Counter(each.address for each in held)
            max(held, key=lambda each: (of_address[each.address], each.idle, each.age)).drop()

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
        """Whether no request is being answered."""
        return self.cycle is None or self.cycle.response_complete

    @property
    def age(self) -> float:
        """Seconds since it was opened, negative while a request is answered."""
        age = time.monotonic() - self.opened
        return age if self.idle else -age

    def drop(self) -> None:
        self.connections.discard(self)
        self.transport.abort()
