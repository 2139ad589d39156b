"""Refuses requests from other web pages, and under foreign host names."""

from __future__ import annotations

import os
import re
from ipaddress import ip_address

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from sdiff.app.server.refusals import refuse

LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})
# A host name, optionally with a trailing dot, or an IPv6 address in brackets; optionally followed by a port.
HOST = re.compile(r"(?:([a-z0-9._-]+?)\.?|\[([0-9a-f:.]+)\])(?::[0-9]{1,5})?")


def own_hosts() -> frozenset[str] | None:
    """The host names of the app, or None if they are unknown.

    They are known if the app listens on the loopback interface without a proxy. Any other name in a request then comes
    from a page whose domain resolves to this machine (DNS rebinding).
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
    """ASGI middleware: refuses requests to host names not in `hosts`, and requests from pages of other origins."""

    def __init__(self, app: ASGIApp, hosts: frozenset[str] | None) -> None:
        self._app, self._hosts = app, hosts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            headers = Headers(scope=scope)
            if self._hosts is not None and _host(headers) not in self._hosts:
                reason = "Unknown host name. Behind a proxy, set GRADIO_ROOT_PATH."
                return await refuse(reason, 421, scope, receive, send)
            if _is_foreign(scope["method"], headers):
                return await refuse("This request comes from a page of another site.", 403, scope, receive, send)
        await self._app(scope, receive, send)


def _host(headers: Headers) -> str | None:
    """The host name of a request without its port, or None unless it has exactly one valid host name."""
    hosts = headers.getlist("host")
    parts = HOST.fullmatch(hosts[0].lower()) if len(hosts) == 1 else None
    return (parts[1] or parts[2]) if parts else None


def _is_foreign(method: str, headers: Headers) -> bool:
    """Whether a browser sends the request for a page of another origin.

    The header `Sec-Fetch-Site` decides: pages cannot set it, and it is reliable behind proxies. Browsers omit it on
    plain HTTP; the origin is then compared with the host, as in Go's `http.CrossOriginProtection`.
    """
    origin, site = headers.get("origin"), headers.get("sec-fetch-site")
    if origin is None and method in ("GET", "HEAD"):
        return False  # a link
    if site is not None:
        return site not in ("same-origin", "none")
    if origin is None:
        return False  # no browser
    host = origin.lower().partition("://")[2]  # empty for "null", the origin of a sandboxed page
    return not host or host not in (headers.get(name, "").lower() for name in ("host", "x-forwarded-host"))
