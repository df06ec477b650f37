"""The explorer's web server: this machine only, a secret address, nothing of the disk.

It answers at 127.0.0.1 and to requests that name it so (a foreign page that points its own name at this address is
refused), below a random token, and takes orders only as JSON from its own page. It serves what is in memory: the page,
the viewer, and the last drawings.
"""

import json
import secrets
from collections.abc import Callable
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from guidegen.errors import GuideGenError
from guidegen.explore.drawing import BusyError, Drawing, Explorer
from guidegen.explore.page import ExplorerPage
from guidegen.study import Study

LONGEST_BODY = 20_000
HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self' 'unsafe-inline'; style-src 'unsafe-inline'; img-src data: blob:; "
        "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}


def serve_explorer(study: Study, port: int, say: Callable[[str], Any]) -> None:
    """Serve the page until Ctrl-C.

    Raises:
        GuideGenError: a stage was not trained yet, or the port is taken.
    """
    with ExplorerServer(Explorer(study), port) as server:
        say(f"Open {server.address} (Ctrl-C ends it)")
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            say("")


class ExplorerServer(ThreadingHTTPServer):
    """Serves one explorer."""

    daemon_threads = True
    allow_reuse_address = False

    def __init__(self, explorer: Explorer, port: int = 0) -> None:
        """Take the port, 0 for a free one. Raises GuideGenError where it is taken."""
        self.explorer = explorer
        self.token = secrets.token_urlsafe(24)
        self.page = ExplorerPage(explorer)
        try:
            super().__init__(("127.0.0.1", port), ExplorerHandler)
        except OSError as error:
            raise GuideGenError(f"port {port} of 127.0.0.1 cannot be had ({error.strerror}); choose another") from None

    @property
    def address(self) -> str:
        """The page's address with its token."""
        return f"http://127.0.0.1:{self.server_port}/{self.token}/"


class ExplorerHandler(BaseHTTPRequestHandler):
    """Answers one request; says nothing of what it refuses."""

    server: ExplorerServer  # pyright: ignore[reportIncompatibleVariableOverride]
    server_version, sys_version = "GuideGen", ""
    timeout = 30

    def do_GET(self) -> None:  # the name that http.server calls
        name = self._find_name()
        if name is None:
            return
        page, drawings = self.server.page, list(self.server.explorer.drawings.values())
        scripts = {f"{drawing.case}.js": drawing for drawing in drawings if drawing.script}
        if name == "":
            self._answer(HTTPStatus.OK, "text/html", page.render())
        elif name == "state":
            self._answer_json(HTTPStatus.OK, self._describe(drawings[-1] if drawings else None))
        elif name == "niivue.js" and page.library:
            self._answer(HTTPStatus.OK, "text/javascript", page.library)
        elif name in scripts:
            self._answer(HTTPStatus.OK, "text/javascript", scripts[name].script.encode())
        else:
            self._refuse(HTTPStatus.NOT_FOUND)

    def do_POST(self) -> None:
        # What is refused is read all the same: a connection closed on unread bytes would lose the answer.
        length = self.headers.get("Content-Length", "")
        body = self.rfile.read(min(int(length), 10 * LONGEST_BODY)) if length.isdecimal() else b""
        name = self._find_name()
        if name is None:
            return
        own = f"http://{self.headers.get('Host')}"
        kind = self.headers.get("Content-Type", "").partition(";")[0].strip()
        if name != "draw":
            self._refuse(HTTPStatus.NOT_FOUND)
            return
        if self.headers.get("Origin") != own or kind != "application/json":
            self._refuse(HTTPStatus.FORBIDDEN)
            return
        if len(body) > LONGEST_BODY:
            self._refuse(HTTPStatus.REQUEST_ENTITY_TOO_LARGE)
            return
        try:
            asked = json.loads(body)
            prompt, seed = asked["prompt"], asked["seed"]
            if not isinstance(prompt, str) or type(seed) is not int:
                raise TypeError
        except (ValueError, KeyError, TypeError):
            self._answer_json(HTTPStatus.BAD_REQUEST, {"error": "Expected a prompt and a whole number as seed."})
            return
        try:
            drawing = self.server.explorer.submit(prompt, seed)
        except BusyError as error:
            self._answer_json(HTTPStatus.CONFLICT, {"error": str(error)})
        except GuideGenError as error:
            self._answer_json(HTTPStatus.BAD_REQUEST, {"error": str(error)})
        else:
            self._answer_json(HTTPStatus.ACCEPTED, self._describe(drawing))

    def log_message(self, format: str, *args: Any) -> None:
        """Keep quiet: addresses hold the token."""

    def _find_name(self) -> str | None:
        """Return what is asked for below the token; refuse, and return None, where host or token are not ours."""
        port = self.server.server_port
        if self.headers.get("Host") not in (f"127.0.0.1:{port}", f"localhost:{port}"):
            self._refuse(HTTPStatus.FORBIDDEN)
            return None
        token, slash, name = self.path.removeprefix("/").partition("/")
        if not slash or not secrets.compare_digest(token.encode(), self.server.token.encode()):
            self._refuse(HTTPStatus.NOT_FOUND)
            return None
        return name

    def _describe(self, drawing: Drawing | None) -> dict[str, Any]:
        if drawing is None:
            return {"number": 0, "running": False}
        html = self.server.page.render_card(drawing.card) if drawing.card else ""
        facts = {"number": drawing.number, "running": drawing.running, "step": drawing.step}
        return facts | {"done": drawing.done, "total": drawing.total, "error": drawing.error, "html": html}

    def _refuse(self, status: HTTPStatus) -> None:
        self.close_connection = True
        self._answer(status, "text/plain", f"{status.value} {status.phrase}\n".encode())

    def _answer_json(self, status: HTTPStatus, content: Any) -> None:
        self._answer(status, "application/json", json.dumps(content).encode())

    def _answer(self, status: HTTPStatus, kind: str, body: bytes) -> None:
        self.send_response(status)
        for name, value in {
            **HEADERS,
            "Content-Type": f"{kind}; charset=utf-8",
            "Content-Length": str(len(body)),
        }.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)
