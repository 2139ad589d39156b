"""What the app keeps of its clients between their requests, and how much of it: any client can open sessions."""

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

UNREAD = 16 << 20  # bytes of answers that nobody has read yet, of all sessions; the longest lists take 7 MB
LEAST = 1000  # bytes that a message counts at least
PENDING = 64  # events of a session whose answers were not read yet
PATIENCE = 300.0  # seconds that anything may wait for a reader
SESSIONS = 2000  # that may wait for answers
JOBS = 512  # events that may go on at once; more than may wait for data sets
UPLOADS = 200  # whose progress is known
CANCELLED = 1000  # events that are remembered
GIVEN_UP = {"error": "Nobody read the answers of this session in time: ask again."}
FULL = f"This session has {PENDING} answers that were not read: read them first."


def bound() -> None:
    """Has gradio keep less, in every app that is launched from now on."""
    queueing.AsyncQueue = Messages  # pyright: ignore[reportPrivateImportUsage]
    queueing.Queue = Queue
    state_holder.SessionState = Session
    routes.file_upload_statuses._statuses = LRUCache(UPLOADS)
    routes.file_upload_statuses._signals = Signals(UPLOADS)  # pyright: ignore[reportAttributeAccessIssue]


class Session(state_holder.SessionState):
    """The components of a session, without a copy of what the page shows: gradio keeps one for links that are off here.

    It would take 25 ms for each new client, and hold the last values that it sent and was sent.
    """

    def __init__(self, blocks: Any) -> None:
        super().__init__(SimpleNamespace(default_config=blocks.default_config, blocks=()))  # pyright: ignore[reportArgumentType]
        self.blocks_config.config_for_block = lambda *_: {}  # pyright: ignore[reportAttributeAccessIssue]


class Messages(asyncio.Queue):
    """The messages to a session. It knows their size, since when nobody has read any, and which events are answered."""

    bytes = 0
    untouched = 0.0
    given_up = False

    def _init(self, maxsize: int) -> None:
        super()._init(maxsize)
        self.answered: set[str | None] = set()

    def _put(self, item: Any) -> None:
        if isinstance(item, ProcessCompletedMessage):
            if item.event_id in self.answered:  # as of an event that is cancelled again and again
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
    """The bytes that a message counts: of an answer as it is sent, and none of those that say it was given up."""
    if not isinstance(message, ProcessCompletedMessage | ProcessGeneratingMessage):
        return LEAST
    if message.output == GIVEN_UP:
        return 0
    return LEAST + len(orjson.dumps(message.output, default=str, option=orjson.OPT_SERIALIZE_NUMPY))


class Open(LRUCache):
    """The messages of each session. Where there are too many, one goes that waits for nothing any more."""

    def __init__(self, events: dict[str, set[str]]) -> None:
        super().__init__(SESSIONS)
        self._events = events

    def __setitem__(self, session: str, messages: Messages) -> None:
        if session not in self and len(self) >= self.max_size:
            over = (each for each, kept in self.items() if kept.given_up or not self._events.get(each))
            del self[next(over, next(iter(self)))]
        super().__setitem__(session, messages)

    def __delitem__(self, session: str) -> None:
        super().__delitem__(session)
        self._events.pop(session, None)


class Queue(queueing.Queue):
    """gradio's queue, which gives up sessions whose answers nobody reads."""

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self.pending_event_ids_session = defaultdict(set)
        self.pending_messages_per_session = Open(self.pending_event_ids_session)

    def start(self) -> None:
        """Starts it with room for all events that may wait without a thread: gradio takes one for each of them."""
        super().start()
        self.active_jobs = [None] * JOBS

    async def push(self, body: Any, request: Any, username: str | None) -> tuple[bool, Any, Any]:
        """Adds an event. Refuses it, as where the queue is full, if its session has too many unread answers."""
        if (messages := self.pending_messages_per_session.get(body.session_hash)) is not None:
            pending = self.pending_event_ids_session[body.session_hash]
            # Events whose reader left before their end are never answered; gradio keeps their ids.
            pending.intersection_update(self.event_ids_to_events.keys() | messages.answered)
            if len(pending) >= PENDING:
                return False, FULL, "queue_full"
        return await super().push(body, request, username)

    def send_message(self, event: Any, event_message: Any) -> None:
        if event.session_hash not in self.pending_messages_per_session:  # its client has gone
            return
        super().send_message(event, event_message)
        if isinstance(event_message, ProcessCompletedMessage | ProcessGeneratingMessage):
            self._give_up()

    def _give_up(self) -> None:
        """Empties the sessions that have waited too long for a reader, and where too much is kept in all, those with
        answers that have waited longest. Deletes those that were emptied before and still have no reader."""
        kept: Any = self.pending_messages_per_session
        now, total = time.monotonic(), sum(messages.bytes for messages in kept.values())
        for session in sorted((id for id in kept if not kept[id].empty()), key=lambda id: kept[id].untouched):
            size = kept[session].bytes
            if now - kept[session].untouched > PATIENCE or (total > UNREAD and size):
                total -= size
                if kept[session].given_up:
                    del kept[session]
                else:
                    self._empty(session)

    def _empty(self, session: str) -> None:
        """Ends a session's events, and leaves a reader who comes after all a message that says so for each."""
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
    """The events that were cancelled. Gradio forgets one only when it is asked to go on with it, which is seldom."""

    def add(self, id: str) -> None:
        self[id] = None

    def remove(self, id: str) -> None:
        self.pop(id, None)


class Signals(LRUCache):
    """An event for each id, made when it is first asked for."""

    def __missing__(self, id: str) -> asyncio.Event:
        self[id] = asyncio.Event()
        return self[id]
