"""A proxy on loopback that passes requests to a real server and spoils some of the replies."""

import contextlib
import http.client
import socket
import struct
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urlsplit

HOP = {"connection", "transfer-encoding", "content-length", "date", "server"}


@dataclass
class Fault:
    """What happens to the next `times` requests whose path matches.

    `status`: this status code instead of the reply, with a header Retry-After of `retry_after` seconds. `cut`: the
    connection is reset after this share of the body. `short`: the body ends after this share, and the connection is
    closed in order. `trickle_s`: pause after each byte. `alter`: one bit of the last byte is another.
    """

    times: int = 1
    status: int = 0
    retry_after: int = 0
    cut: float | None = None
    short: float | None = None
    trickle_s: float = 0.0
    alter: bool = False
    matches: Callable[[str], bool] = lambda path: True


@dataclass
class FaultyProxy:
    """Passes everything to `upstream`; `faults` are used up in order."""

    upstream: str
    faults: list[Fault] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)
    url: str = ""
    lock: threading.Lock = field(default_factory=threading.Lock)

    def serve(self) -> ThreadingHTTPServer:
        """Start the proxy on a free port; the caller shuts it down."""
        handler = type("Handler", (_Handler,), {"proxy": self})
        server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        server.daemon_threads = True
        self.url = f"http://127.0.0.1:{server.server_port}{urlsplit(self.upstream).path}"
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        return server

    def take_fault(self, path: str) -> Fault | None:
        with self.lock:
            self.asked.append(path)
            for fault in self.faults:
                if fault.times and fault.matches(path):
                    fault.times -= 1
                    return fault
        return None


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    proxy: FaultyProxy

    def do_GET(self) -> None:
        self._pass("GET", None)

    def do_HEAD(self) -> None:
        self._pass("HEAD", None)

    def do_POST(self) -> None:
        self._pass("POST", self.rfile.read(int(self.headers.get("Content-Length") or 0)))

    def _pass(self, method: str, body: bytes | None) -> None:
        fault = self.proxy.take_fault(self.path)
        if fault and fault.status:
            text = b"<html>the server is busy</html>"
            self.send_response(fault.status)
            self.send_header("Content-Length", str(len(text)))
            if fault.retry_after:
                self.send_header("Retry-After", str(fault.retry_after))
            self.end_headers()
            self.wfile.write(text if method != "HEAD" else b"")
            return
        upstream = http.client.HTTPConnection(urlsplit(self.proxy.upstream).netloc)
        headers = {key: value for key, value in self.headers.items() if key.lower() not in HOP}
        upstream.request(method, self.path, body, headers)
        reply = upstream.getresponse()
        data = reply.read()
        if fault and fault.alter:
            data = data[:-1] + bytes([data[-1] ^ 1])
        length = reply.headers.get("Content-Length")
        self.send_response(reply.status)
        for key, value in reply.headers.items():
            if key.lower() not in HOP:
                self.send_header(key, value)
        # A body that is cut short without a stated length looks like a whole one: the worst case.
        hidden = fault is not None and fault.short is not None
        if not hidden:
            self.send_header("Content-Length", length if method == "HEAD" and length else str(len(data)))
        self.send_header("Connection", "close")
        self.close_connection = True
        self.end_headers()
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            self._write(data, fault)
        upstream.close()

    def _write(self, data: bytes, fault: Fault | None) -> None:
        if fault and fault.trickle_s:
            for byte in data:
                self.wfile.write(bytes([byte]))
                time.sleep(fault.trickle_s)
        elif fault and fault.cut is not None:
            self.wfile.write(data[: int(len(data) * fault.cut)])
            self.wfile.flush()
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.connection.close()
        elif fault and fault.short is not None:
            self.wfile.write(data[: int(len(data) * fault.short)])
        else:
            self.wfile.write(data)

    def log_message(self, format: str, *args: Any) -> None:
        """Keep quiet."""
