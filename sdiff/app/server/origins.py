"""Which web pages may send requests: those that the app itself serves, under a name that is its own."""

from __future__ import annotations

import os
import re
from ipaddress import ip_address

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from sdiff.app.server.refusals import refuse

LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})
# A name, which may end with the dot of the root domain, or an IPv6 address in brackets; then, perhaps, a port.
HOST = re.compile(r"(?:([a-z0-9._-]+?)\.?|\[([0-9a-f:.]+)\])(?::[0-9]{1,5})?")


def own_hosts() -> frozenset[str] | None:
    """The host names under which the app can be reached, or None where they cannot be known.

    They are known where the app listens on the loopback interface and no proxy stands before it: any other name in a
    request then belongs to a page that had its name resolve to this machine (DNS rebinding).
    """
    name = os.environ.get("GRADIO_SERVER_NAME", "127.0.0.1").strip("[]")
    shared = os.environ.get("GRADIO_SHARE", "").lower() == "true"
    if shared or os.environ.get("SPACE_ID") or os.environ.get("GRADIO_ROOT_PATH") or not _is_loopback(name):
        return None
    return LOOPBACK | {name}


def _is_loopback(name: str) -> bool:
    try:
        return name == "localhost" or ip_address(name).is_loopback
    except ValueError:
        return False


class Origins:
    """ASGI middleware: refuses requests under other host names than `hosts`, and requests of pages of other origins."""

    def __init__(self, app: ASGIApp, hosts: frozenset[str] | None) -> None:
        self._app, self._hosts = app, hosts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            headers = Headers(scope=scope)
            if self._hosts is not None and _host(headers) not in self._hosts:
                words = "The app is not known under this host name. Behind a proxy, set GRADIO_ROOT_PATH."
                return await refuse(words, 421, scope, receive, send)
            if _is_foreign(headers):
                return await refuse("This request comes from a page of another site.", 403, scope, receive, send)
        await self._app(scope, receive, send)


def _host(headers: Headers) -> str | None:
    """The host name of a request without its port; None where it has none, more than one, or one of another form."""
    found = headers.getlist("host")
    parts = HOST.fullmatch(found[0].lower()) if len(found) == 1 else None
    return (parts[1] or parts[2]) if parts else None


def _is_foreign(headers: Headers) -> bool:
    """Whether a browser sends the request for a page of another origin.

    `Sec-Fetch-Site` tells, which no page can set, and which holds behind a proxy too. Browsers leave it out on plain
    http; the origin is then compared with the host, as Go's `http.CrossOriginProtection` does.
    """
    if (origin := headers.get("origin")) is None:
        return False
    if (site := headers.get("sec-fetch-site")) is not None:
        return site not in ("same-origin", "none")
    host = origin.lower().partition("://")[2]  # empty for "null", as of a page in a sandbox
    return not host or host not in (headers.get(name, "").lower() for name in ("host", "x-forwarded-host"))
