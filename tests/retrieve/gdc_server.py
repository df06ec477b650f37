"""A small server that answers `POST /cases` as the GDC does: filters, fields, pages, warnings and refusals."""

import json
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

KNOWN = {"submitter_id", "project", "primary_site", "disease_type", "demographic", "diagnoses", "exposures"}
LARGEST_PAGE = 3
"""This server sends smaller pages than it is asked for, as a service may."""


@dataclass
class Gdc:
    """The cases that the service has."""

    cases: list[dict[str, Any]] = field(default_factory=list)
    asked: list[dict[str, Any]] = field(default_factory=list)
    url: str = ""
    largest_page: int = LARGEST_PAGE

    def serve(self) -> ThreadingHTTPServer:
        """Start the server on a free port of loopback; the caller shuts it down."""
        handler = type("Handler", (_Handler,), {"gdc": self})
        server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self.url = f"http://127.0.0.1:{server.server_port}"
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        return server

    def answer(self, query: dict[str, Any]) -> dict[str, Any]:
        """What the service says to the body of a request."""
        wanted = query["filters"]["content"]
        assert (query["filters"]["op"], wanted["field"]) == ("in", "submitter_id")
        found = [case for case in self.cases if case["submitter_id"] in wanted["value"]]
        found.sort(key=lambda case: case["submitter_id"], reverse=query["sort"].endswith(":desc"))
        start, size = int(query.get("from", 0)), min(int(query.get("size", 10)), self.largest_page)
        names = query["fields"].split(",")
        hits = [{"id": case["id"], **pick(case, [name.split(".") for name in names])} for case in found]
        unknown = sorted(name for name in names if name.split(".")[0] not in KNOWN)
        pages = {"count": len(hits[start : start + size]), "total": len(hits), "size": size, "from": start}
        pages |= {"sort": query["sort"], "page": start // size + 1, "pages": -(-len(hits) // size)}
        warnings = {"fields": f"unrecognized values: [{', '.join(unknown)}]"} if unknown else {}
        return {"data": {"hits": hits[start : start + size], "pagination": pages}, "warnings": warnings}


def pick(tree: Any, paths: list[list[str]]) -> Any:
    """The part of a case that the requested fields name."""
    if isinstance(tree, list):
        return [pick(part, paths) for part in tree]
    kept = {}
    for key in tree:
        below = [path[1:] for path in paths if path[0] == key]
        if below:
            kept[key] = pick(tree[key], below) if all(below) else tree[key]
    return kept


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    gdc: Gdc

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        try:
            query = json.loads(body)
            self.gdc.asked.append(query)
            reply, status = (self.gdc.answer(query), 200) if self.path == "/cases" else ({"message": "no"}, 404)
        except (ValueError, KeyError) as error:
            reply, status = {"message": f"internal server error: {error}"}, 400
        data = json.dumps(reply).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, format: str, *args: Any) -> None:
        """Keep quiet."""
