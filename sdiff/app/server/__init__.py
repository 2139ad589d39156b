"""What stands between the network and gradio, and what gradio must not do."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import gradio as gr
import uvicorn.config
from gradio import processing_utils

from sdiff.app.server import inputs, sessions
from sdiff.app.server.documents import Documents
from sdiff.app.server.limits import Limits
from sdiff.app.server.origins import Origins, own_hosts
from sdiff.app.server.routes import Routes
from sdiff.base.errors import SDiffError


def prepare(demo: gr.Blocks) -> None:
    """Changes gradio, and an app before it is launched."""
    inputs.guard(demo)
    sessions.bound()
    processing_utils.async_ssrf_protected_download = fetch_nothing
    uvicorn.config.HTTP_PROTOCOLS["auto"] = "sdiff.app.server.connections:Connection"
    # Gradio would compute statistics of the last 10,000 events after each event, for a page that is off.
    os.environ |= {"GRADIO_ANALYTICS_CACHE_FREQUENCY": str(10**9), "GRADIO_ANALYTICS_MAX_EVENTS": "1"}


@asynccontextmanager
async def guarded(app: Any) -> AsyncIterator[None]:
    """The lifespan of gradio's application: before its first request, puts the gate in front of all that it has, and
    bounds what it remembers."""
    inner = Limits(Documents(app.middleware_stack, app))
    app.middleware_stack = Origins(Routes(inner, app), own_hosts())
    app.iterators_to_reset = sessions.Cancelled(sessions.CANCELLED)
    yield


async def fetch_nothing(url: str, cache_dir: str) -> str:
    """Takes the place of gradio's download, which would fetch any address that a visitor gives for a file."""
    raise SDiffError("A file is uploaded, not fetched from an address.")
