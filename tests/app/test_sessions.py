"""Server state is bounded: unread answers, sessions, event ids and upload ids."""

from __future__ import annotations

import time

import pytest
from gradio import routes
from gradio.server_messages import EstimationMessage

from sdiff.app import api, endpoints, layout
from sdiff.app.server import sessions
from sdiff.app.server.sessions import Messages, Open


def ask(client, session: str = "") -> str:
    """Requests a list that nobody reads, and waits until it is ready. Returns the event id."""
    body = {"data": ["demo", "demo", "1", 20, 0, *[None] * 9]} | ({"session_hash": session} if session else {})
    id = client.post("/gradio_api/call/recommend", json=body).json()["event_id"]
    queue, end = client.app.get_blocks()._queue, time.monotonic() + 30
    while id in queue.event_ids_to_events:
        assert time.monotonic() < end
        time.sleep(0.005)
    return id


def read(client, id: str) -> str:
    return client.get(f"/gradio_api/call/recommend/{id}").text


@pytest.fixture
def unread(demo):
    """Bytes of the unread answers."""
    demo._queue.pending_messages_per_session.clear()
    demo._queue.pending_event_ids_session.clear()
    return lambda: sum(messages.bytes for messages in demo._queue.pending_messages_per_session.values())


def test_unread_answers_are_dropped_oldest_first(client, unread, monkeypatch):
    first = ask(client)
    monkeypatch.setattr(sessions, "UNREAD", round(3.5 * unread()))
    ids = [ask(client) for _ in range(6) if unread() <= sessions.UNREAD]
    assert len(ids) == 6 and sessions.LEAST < unread() <= sessions.UNREAD
    assert "event: complete" in read(client, ids[-1])
    assert "Nobody read the answers" in (said := read(client, first)) and "event: complete" not in said


def test_a_session_that_requests_more_than_it_reads_is_dropped(client, unread, monkeypatch):
    ask(client, "greedy")
    monkeypatch.setattr(sessions, "UNREAD", round(2.5 * unread()))
    for _ in range(2):
        ask(client, "greedy")
    assert unread() == 0
    assert client.get("/gradio_api/queue/data?session_hash=greedy").text.count("Nobody read the answers") == 3


def test_a_session_that_is_not_read_for_long_is_dropped(client, unread, monkeypatch):
    id = ask(client)
    monkeypatch.setattr(sessions, "PATIENCE", -1.0)
    ask(client)
    assert unread() == 0 and "Nobody read the answers" in read(client, id)


def test_an_unread_session_holds_a_bounded_number_of_answers(client, demo, unread):
    path, body, refused = "/gradio_api/call/list_datasets", {"data": [], "session_hash": "hoarder"}, 0
    ended = time.monotonic() + 30
    while refused < 300:
        assert time.monotonic() < ended, "never refused"
        answer = client.post(path, json=body)
        refused += sessions.FULL in answer.text
        assert answer.status_code == (503 if refused else 200) or "Queue is full" in answer.text
    while demo._queue.event_ids_to_events:
        time.sleep(0.005)
    kept = demo._queue.pending_messages_per_session["hoarder"]
    assert len(demo._queue.pending_event_ids_session["hoarder"]) == sessions.PENDING
    demo._queue._empty("hoarder")
    assert kept.qsize() == sessions.PENDING
    found = client.get("/gradio_api/queue/data?session_hash=hoarder").text
    assert found.count("Nobody read the answers") == sessions.PENDING and "close_stream" in found
    assert client.post(path, json=body).status_code == 200, "after reading"


def test_a_dropped_session_without_a_reader_is_deleted(client, demo, unread, monkeypatch):
    first = ask(client, "absent")
    monkeypatch.setattr(sessions, "PATIENCE", -1.0)
    for n in range(2):
        assert "absent" in demo._queue.pending_messages_per_session
        ask(client, f"other{n}")
    assert "absent" not in demo._queue.pending_messages_per_session
    assert "absent" not in demo._queue.pending_event_ids_session
    assert "not read in time" in client.get("/gradio_api/queue/data?session_hash=absent").text
    assert "not read in time" in read(client, first)


def test_status_messages_count_towards_the_limit_of_a_session():
    messages = Messages()
    messages.put_nowait(EstimationMessage(queue_size=1))
    assert messages.bytes == sessions.LEAST
    messages.get_nowait()
    assert messages.bytes == 0


def test_an_event_that_is_cancelled_repeatedly_is_answered_once(client, demo, unread):
    id = ask(client, "canceller")
    body = {"session_hash": "canceller", "fn_index": 1, "event_id": id}
    before = demo._queue.pending_messages_per_session["canceller"].qsize()
    for _ in range(50):
        assert client.post("/gradio_api/cancel", json=body).status_code == 200
    assert demo._queue.pending_messages_per_session["canceller"].qsize() == before


def test_abandoned_events_do_not_fill_a_session(client, demo, unread):
    read(client, ask(client, "leaver"))
    demo._queue.pending_event_ids_session["leaver"] |= {f"left{n}" for n in range(sessions.PENDING)}
    assert "event: complete" in read(client, ask(client, "leaver"))


def test_answers_are_deleted_once_read(client, demo, unread):
    kept = demo._queue.pending_event_ids_session
    for n in range(5):
        id = ask(client, f"reader{n}")
        assert "event: complete" in read(client, id) and unread() == 0
    assert not any(kept.values()) and kept.keys() <= demo._queue.pending_messages_per_session.keys()


def test_sessions_waiting_for_answers_are_dropped_last():
    events = {}
    kept = Open(events)
    kept.max_size = 3
    for name in "abcd":
        events[name] = {"an event"} if name == "a" else set()
        kept[name] = Messages()
    assert list(kept) == list(events) == ["a", "c", "d"]
    events |= {name: {"an event"} for name in "acd"}
    kept["e"] = Messages()
    assert list(kept) == ["c", "d", "e"], "if all are waiting, the oldest is dropped"


def test_sessions_that_await_nothing_are_dropped_after_a_while():
    kept = Open({"waiting": {"an event"}})
    for name in ("waiting", "idle", "recent"):
        kept[name] = Messages()
    for name in ("waiting", "idle"):
        kept[name].untouched -= 2 * sessions.PATIENCE
    kept["new"] = Messages()
    assert list(kept) == ["waiting", "recent", "new"]


def test_a_stream_closed_by_another_reader_ends_without_a_traceback(client, demo, unread, monkeypatch):
    ask(client, "two")

    async def closed_meanwhile(self):
        demo._queue.pending_messages_per_session.pop("two")
        raise TimeoutError

    monkeypatch.setattr(Messages, "get", closed_meanwhile)
    assert "session_not_found" in client.get("/gradio_api/queue/data?session_hash=two").text


def test_a_session_keeps_no_copy_of_its_requests(client, demo):
    read(client, ask(client, "copies"))
    state = demo.state_holder.session_data["copies"]
    assert state.blocks_config.blocks and not list(state.components)


def test_ids_of_uploads_are_forgotten(client):
    for n in range(2 * sessions.UPLOADS):
        routes.file_upload_statuses.track(f"upload{n}")
    assert len(routes.file_upload_statuses._signals) == len(routes.file_upload_statuses._statuses) == sessions.UPLOADS
    routes.file_upload_statuses._statuses.clear()


def test_only_the_latest_cancelled_events_are_remembered(client):
    kept = client.app.iterators_to_reset
    for id in range(sessions.CANCELLED + 1):
        kept.add(str(id))
    assert len(kept) == sessions.CANCELLED and "0" not in kept and "1" in kept
    kept.remove("0")
    kept.remove("1")
    assert "1" not in kept
    kept.clear()


def test_requests_waiting_for_data_sets_leave_room_in_the_queue(client, demo):
    [opening] = {fn.concurrency_limit for fn in demo.fns.values() if fn.concurrency_id == "opening"}
    waiting = opening + endpoints.WAITING * len(api.ENDPOINTS)
    assert waiting + layout.THREADS <= len(demo._queue.active_jobs)
