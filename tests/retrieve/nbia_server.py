"""A small server that answers as TCIA's NBIA service (v4) does: same parameters, shapes and refusals."""

import csv
import hashlib
import io
import json
import threading
import zipfile
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

from hand_made_ct import to_bytes
from pydicom import Dataset

GET_SERIES = {"Collection", "format", "PatientID", "StudyInstanceUID", "Modality", "BodyPartExamined"}
GET_SERIES |= {"ManufacturerModelName", "Manufacturer", "SeriesInstanceUID"}
METADATA_COLUMNS = (
    *("PatientID", "PatientName", "PatientSex", "EthnicGroup", "Phantom", "SpeciesCode", "SpeciesDescription"),
    *("StudyInstanceUID", "StudyDate", "StudyDesc", "AdmittingDiagnosisDescription", "StudyID", "PatientAge"),
    *("LongitudinalTemporalEventType", "LongitudinalTemporalOffsetFromEvent", "SeriesInstanceUID", "Collection"),
    *("Site", "Modality", "ProtocolName", "SeriesDate", "SeriesDescription", "BodyPartExamined", "SeriesNumber"),
    *("AnnotationsFlag", "Manufacturer", "ManufacturerModelName", "PixelSpacing(mm)-Row", "SliceThickness(mm)"),
    *("SoftwareVersions", "ImageCount", "MaxSubmissionTimestamp", "LicenseName", "LicenseURI"),
    *("DataDescriptionURI", "FileSize", "ReleasedStatus", "DateReleased", "ThirdPartyAnalysis", "Authorized"),
)


def pack_zip(files: dict[str, bytes], hashes: dict[str, str] | None = None) -> bytes:
    """The zip of a series: its files and, last, `md5hashes.csv`; `hashes` overrides what the list says."""
    rows = {name: hashlib.md5(data).hexdigest() for name, data in files.items()} | (hashes or {})
    listing = "Filename,MD5Hash\n" + "".join(f"{name},{digest}\n" for name, digest in rows.items())
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in files.items():
            archive.writestr(name, data)
        archive.writestr("md5hashes.csv", listing)
    return stream.getvalue()


@dataclass
class Nbia:
    """The series that the service has; `answer` may replace the zip of every download."""

    rows: list[dict[str, Any]] = field(default_factory=list)
    thickness: dict[str, str] = field(default_factory=dict)
    files: dict[str, dict[str, bytes]] = field(default_factory=dict)
    answer: Callable[[dict[str, bytes]], bytes] = pack_zip
    asked: list[str] = field(default_factory=list)
    url: str = ""

    def add(self, datasets: list[Dataset], **row: Any) -> str:
        """Add a series; `row` overrides what `getSeries` says of it, None leaves a field out."""
        first = datasets[0]
        uid = str(first.SeriesInstanceUID)
        data = [to_bytes(ds) for ds in datasets]
        self.files[uid] = {f"{number:08d}.dcm": part for number, part in enumerate(data, 1)}
        self.thickness[uid] = str(first.get("SliceThickness") or "")
        stated = {
            "SeriesInstanceUID": uid,
            "StudyInstanceUID": str(first.StudyInstanceUID),
            "Modality": str(first.Modality),
            "SeriesDate": "2001-02-03 00:00:00.0",
            "SeriesDescription": str(first.SeriesDescription),
            "BodyPartExamined": "CHEST",
            "SeriesNumber": 3,
            "AnnotationsFlag": False,
            "Collection": "TCGA-READ",
            "PatientID": str(first.PatientID),
            "Manufacturer": "Maker",
            "ImageCount": len(data),
            "TimeStamp": "2014-05-01 00:00:00.0",
            "LicenseName": "Creative Commons Attribution 3.0 Unported License",
            "LicenseURI": "http://creativecommons.org/licenses/by/3.0/",
            "DataDescriptionURI": "https://doi.org/10.7937/K9/TCIA.2016.F7PPNPNU",
            "FileSize": sum(map(len, data)),
            "DateReleased": "2014-05-01 00:00:00.0",
            "StudyDate": "2001-02-03 00:00:00.0",
            "ThirdPartyAnalysis": "NO",
        }
        self.rows.append({key: value for key, value in (stated | row).items() if value is not None})
        return uid

    def serve(self) -> ThreadingHTTPServer:
        """Start the server on a free port of loopback; the caller shuts it down."""
        handler = type("Handler", (_Handler,), {"nbia": self})
        server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self.url = f"http://127.0.0.1:{server.server_port}/nbia-api/services/v4"
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        return server


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    nbia: Nbia

    def do_GET(self) -> None:
        parts = urlsplit(self.path)
        query = {key: values[0] for key, values in parse_qs(parts.query).items()}
        self.nbia.asked.append(self.path)
        if parts.path.endswith("/getSeries"):
            self._refuse(query, GET_SERIES) or self._list_series(query)
        elif parts.path.endswith("/getImageWithMD5Hash"):
            self._refuse(query, {"SeriesInstanceUID"}) or self._send_zip(query)
        else:
            self._send(404, b"not found", "text/html")

    def do_POST(self) -> None:
        form = parse_qs(self.rfile.read(int(self.headers["Content-Length"])).decode())
        self.nbia.asked.append(self.path)
        uids = {uid for entry in form.get("list", []) for uid in entry.split(",")}
        if not uids:
            text = "A form parameter, list, containing at least one SeriesInstanceUID is required."
            return self._send(400, text.encode(), "application/json")
        stream = io.StringIO()
        writer = csv.DictWriter(stream, METADATA_COLUMNS, restval="")
        writer.writeheader()
        for row in self.nbia.rows:
            if row["SeriesInstanceUID"] in uids:
                known = {key: value for key, value in row.items() if key in METADATA_COLUMNS}
                writer.writerow(known | {"SliceThickness(mm)": self.nbia.thickness[row["SeriesInstanceUID"]]})
        return self._send(200, stream.getvalue().encode(), "text/csv")

    def _refuse(self, query: dict[str, str], allowed: set[str]) -> bool:
        unknown = sorted(set(query) - allowed)
        if unknown:
            text = f"Invalid query parameter: '{unknown[0]}'. Allowed parameters are: [{', '.join(sorted(allowed))}]"
            self._send(400, text.encode(), "text/plain")
        return bool(unknown)

    def _list_series(self, query: dict[str, str]) -> None:
        wanted = {key: value for key, value in query.items() if key != "format"}
        rows = [row for row in self.nbia.rows if all(str(row.get(key)) == value for key, value in wanted.items())]
        self._send(200, json.dumps(rows).encode() if rows else b"", "application/json")

    def _send_zip(self, query: dict[str, str]) -> None:
        files = self.nbia.files.get(query["SeriesInstanceUID"])
        self._send(200, self.nbia.answer(files) if files else b"", "application/octet-stream", chunked=True)

    def _send(self, status: int, body: bytes, kind: str, *, chunked: bool = False) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header(*(("Transfer-Encoding", "chunked") if chunked else ("Content-Length", str(len(body)))))
        self.end_headers()
        if not chunked:
            self.wfile.write(body)
            return
        for start in range(0, len(body), 8192):
            piece = body[start : start + 8192]
            self.wfile.write(f"{len(piece):x}\r\n".encode() + piece + b"\r\n")
        self.wfile.write(b"0\r\n\r\n")

    def log_message(self, format: str, *args: Any) -> None:
        """Keep quiet."""
