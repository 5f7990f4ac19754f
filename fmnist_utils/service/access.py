"""Who is let in: by the host that was asked for, and by a key that all clients share."""

from collections.abc import Collection
from hmac import compare_digest

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from fmnist_utils.service.schemas import ProblemResponse

_FOR_ALL = ("/healthz", "/readyz")  # probes have no key


class AccessMiddleware:
    """An application that answers nobody else.

    Parameters
    ----------
    app : ASGI application
        What is guarded.
    hosts : collection of str
        By which names and addresses it may be asked for; empty for any. Without them, a page from
        elsewhere whose name is made to lead here (DNS rebinding) may ask as if it were from here.
    key : str
        What the header ``X-API-Key`` must hold; empty for none. It is one for all clients, as
        readable on its way as the rest: no replacement for TLS, nor for users with names.
    """

    def __init__(self, app: ASGIApp, *, hosts: Collection[str], key: str) -> None:
        self.app, self.hosts, self.key = app, hosts, key.encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or refuse it."""
        app = self._refusal(scope) if scope["type"] == "http" else None
        await (app or self.app)(scope, receive, send)

    def _refusal(self, scope: Scope) -> ProblemResponse | None:
        headers = Headers(scope=scope)
        if self.hosts and (host := _without_port(headers.get("host", ""))) not in self.hosts:
            return ProblemResponse(
                400, f"Host {host or '(none)'} is not served here: ask for one that is allowed."
            )
        given = headers.get("x-api-key", "").encode("latin-1")
        if scope["path"] in _FOR_ALL or not self.key or compare_digest(given, self.key):
            return None
        received = "another" if given else "none"
        return ProblemResponse(
            401,
            f"Need the service's key in the header X-API-Key; received {received}.",
            {"WWW-Authenticate": "ApiKey"},
        )


def _without_port(host: str) -> str:
    name, _, port = host.rpartition(":")
    return (name if name and port.isdigit() else host).strip("[]").lower()
