"""Health check for monitoring: GET /health."""

from __future__ import annotations

import time

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

import sdiff
from sdiff.app.handlers.pickers import models
from sdiff.app.handlers.training import QUEUE
from sdiff.app.processes.space import serving_device
from sdiff.app.server.public import public_message
from sdiff.app.state import serve
from sdiff.base.device import device_name
from sdiff.base.errors import SDiffError
from sdiff.data.registry import EMBEDDED

_started = time.monotonic()


async def health(_: Request) -> JSONResponse:
    """Answers 200 if a model of the first included data set can be served, else 503 with the error message."""
    facts = {
        "version": sdiff.__version__,
        "device": device_name(serving_device()),
        "seconds": round(time.monotonic() - _started),
        "training": len(QUEUE),
    }
    try:
        await run_in_threadpool(lambda: serve(EMBEDDED[0], models(EMBEDDED[0])[0]))
    except SDiffError as error:
        return JSONResponse({"status": "ill", "why": public_message(error), **facts}, status_code=503)
    return JSONResponse({"status": "ok", **facts})


ROUTE = Route("/health", health)
