"""Limits the state that gradio keeps per client, because any client can open sessions."""

from __future__ import annotations

import asyncio
import time
from collections import defaultdict
from types import SimpleNamespace
from typing import Any

import orjson
from gradio import queueing, routes, state_holder
from gradio.server_messages import ProcessCompletedMessage, ProcessGeneratingMessage
from gradio.utils import LRUCache

UNREAD = 16 << 20  # maximum bytes of unread answers of all sessions; the longest lists take 7 MB
LEAST = 1000  # minimum bytes counted per message
PENDING = 64  # maximum number of events of a session with unread answers
PATIENCE = 300.0  # seconds that a message may wait for a reader
SESSIONS = 2000  # maximum number of sessions with messages
JOBS = 1024  # events that may run at once; more than may wait for data sets
UPLOADS = 200  # uploads whose progress is kept
CANCELLED = 1000  # cancelled events that are remembered
GIVEN_UP = {"error": "Nobody read the answers of this session in time: send the request again."}
FULL = f"This session has {PENDING} unread answers: read them first."


def bound() -> None:
    """Patches gradio to limit its state, for all apps launched afterwards."""
    queueing.AsyncQueue = Messages  # pyright: ignore[reportPrivateImportUsage]
    queueing.Queue = Queue
    state_holder.SessionState = Session
    routes.file_upload_statuses._statuses = LRUCache(UPLOADS)
    routes.file_upload_statuses._signals = Signals(UPLOADS)  # pyright: ignore[reportAttributeAccessIssue]


class Session(state_holder.SessionState):
    """The state of a session without a copy of the page's values.

    Gradio keeps the copy for a feature that is off here. It would take 25 ms per new client, and memory.
    """

    def __init__(self, blocks: Any) -> None:
        super().__init__(SimpleNamespace(default_config=blocks.default_config, blocks=()))  # pyright: ignore[reportArgumentType]
        self.blocks_config.config_for_block = lambda *_: {}  # pyright: ignore[reportAttributeAccessIssue]


class Messages(asyncio.Queue):
    """The messages to a session, with their size, the time since the last read, and the ids of answered events."""

    bytes = 0
    given_up = False

    def _init(self, maxsize: int) -> None:
        super()._init(maxsize)
        self.answered: set[str | None] = set()
        self.untouched = time.monotonic()

    def _put(self, item: Any) -> None:
        if isinstance(item, ProcessCompletedMessage):
            if item.event_id in self.answered:  # such as an event that is cancelled repeatedly
                return
            self.answered.add(item.event_id)
        if self.empty():
            self.untouched = time.monotonic()
        size = _size(item)
        self.bytes += size
        super()._put((item, size))

    def _get(self) -> Any:
        self.untouched, self.given_up = time.monotonic(), False
        item, size = super()._get()
        if isinstance(item, ProcessCompletedMessage):
            self.answered.discard(item.event_id)
        self.bytes -= size
        return item


def _size(message: Any) -> int:
    """The bytes counted for a message: the size of an answer as sent, and 0 for `GIVEN_UP`."""
    if not isinstance(message, ProcessCompletedMessage | ProcessGeneratingMessage):
        return LEAST
    if message.output == GIVEN_UP:
        return 0
    return LEAST + len(orjson.dumps(message.output, default=str, option=orjson.OPT_SERIALIZE_NUMPY))


class Open(LRUCache):
    """The messages of each session.

    Drops sessions that have had no pending events for a while, which gradio would keep, and, above the limit, any that
    has none.
    """

    def __init__(self, events: dict[str, set[str]]) -> None:
        super().__init__(SESSIONS)
        self._events = events

    def __setitem__(self, session: str, messages: Messages) -> None:
        if session not in self:
            idle = [each for each, queue in self.items() if queue.given_up or not self._events.get(each)]
            since = time.monotonic() - PATIENCE
            old = [each for each in idle if self[each].untouched < since]
            if not old and len(self) >= self.max_size:
                old = [*idle, next(iter(self))][:1]
            for each in old:
                del self[each]
        super().__setitem__(session, messages)

    def __delitem__(self, session: str) -> None:
        super().__delitem__(session)
        self._events.pop(session, None)


class Queue(queueing.Queue):
    """Gradio's queue, extended to give up sessions whose answers nobody reads."""

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self.pending_event_ids_session = defaultdict(set)
        self.pending_messages_per_session = Open(self.pending_event_ids_session)

    def start(self) -> None:
        """Starts the queue with `JOBS` slots. Each running event takes one, even if it only waits without a thread."""
        super().start()
        self.active_jobs = [None] * JOBS

    async def push(self, body: Any, request: Any, username: str | None) -> tuple[bool, Any, Any]:
        """Adds an event. Refuses it like a full queue if its session has too many unread answers."""
        if (messages := self.pending_messages_per_session.get(body.session_hash)) is not None:
            pending = self.pending_event_ids_session[body.session_hash]
            # Events whose reader left early are never answered, but gradio keeps their ids.
            pending.intersection_update(self.event_ids_to_events.keys() | messages.answered)
            if len(pending) >= PENDING:
                return False, FULL, "queue_full"
        return await super().push(body, request, username)

    def send_message(self, event: Any, event_message: Any) -> None:
        if event.session_hash not in self.pending_messages_per_session:  # the client has gone
            return
        super().send_message(event, event_message)
        if isinstance(event_message, ProcessCompletedMessage | ProcessGeneratingMessage):
            self._give_up()

    def _give_up(self) -> None:
        """Empties sessions that wait too long for a reader, and, above `UNREAD` bytes, those that wait longest.

        Deletes sessions that were emptied before and still have no reader.
        """
        queues: Any = self.pending_messages_per_session
        now, total = time.monotonic(), sum(messages.bytes for messages in queues.values())
        for session in sorted((id for id in queues if not queues[id].empty()), key=lambda id: queues[id].untouched):
            size = queues[session].bytes
            if now - queues[session].untouched > PATIENCE or (total > UNREAD and size):
                total -= size
                if queues[session].given_up:
                    del queues[session]
                else:
                    self._empty(session)

    def _empty(self, session: str) -> None:
        """Ends a session's events, and leaves a `GIVEN_UP` message for each in case a reader comes."""
        for events in [job for job in self.active_jobs if job]:
            for event in events:
                event.alive = event.alive and event.session_hash != session
        for waiting in self.event_queue_per_concurrency_id.values():
            for event in [event for event in waiting.queue if event.session_hash == session]:
                waiting.queue.remove(event)
                self.event_ids_to_events.pop(event._id, None)
        messages: Any = self.pending_messages_per_session[session]
        while not messages.empty():
            messages.get_nowait()
        for id in self.pending_event_ids_session[session] or {session}:
            messages.put_nowait(ProcessCompletedMessage(output=GIVEN_UP, success=False, event_id=id))
        messages.given_up = True


class Cancelled(LRUCache):
    """Ids of cancelled events. Gradio would hardly ever remove one."""

    def add(self, id: str) -> None:
        self[id] = None

    def remove(self, id: str) -> None:
        self.pop(id, None)


class Signals(LRUCache):
    """An asyncio event per id, created on first access."""

    def __missing__(self, id: str) -> asyncio.Event:
        self[id] = asyncio.Event()
        return self[id]
