"""Protection of the server: ASGI middleware in front of gradio, and limits on gradio itself."""

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
    """Patches gradio and the app. Must be called before the launch."""
    inputs.guard(demo)
    sessions.bound()
    processing_utils.async_ssrf_protected_download = fetch_nothing
    uvicorn.config.HTTP_PROTOCOLS["auto"] = "sdiff.app.server.connections:Connection"
    # After each event, gradio would compute statistics of the last 10,000 events for a page that is disabled.
    os.environ |= {"GRADIO_ANALYTICS_CACHE_FREQUENCY": str(10**9), "GRADIO_ANALYTICS_MAX_EVENTS": "1"}


@asynccontextmanager
async def guarded(app: Any) -> AsyncIterator[None]:
    """Lifespan of gradio's application: installs the middleware and limits the cancelled events that gradio keeps."""
    inner = Limits(Documents(app.middleware_stack, app))
    app.middleware_stack = Origins(Routes(inner, app), own_hosts())
    app.iterators_to_reset = sessions.Cancelled(sessions.CANCELLED)
    yield


async def fetch_nothing(url: str, cache_dir: str) -> str:
    """Replaces gradio's download function, which would fetch any URL that a visitor sends as a file."""
    raise SDiffError("Files cannot be fetched from a URL: upload the file.")
