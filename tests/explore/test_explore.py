"""The explorer in a real browser on the real server, and what its server refuses."""

import base64
import gzip
import http.client
import json
import shutil
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import nibabel
import numpy as np
import pytest
from chromium import CHROMIUM, Browser, Page

from guidegen.errors import GuideGenError
from guidegen.explore.drawing import BusyError, Drawing, Explorer
from guidegen.explore.server import ExplorerServer
from guidegen.study import Study
from guidegen.synthesize.prompts import check_prompt

PROMPT = "68-year-old woman, 4 cm mass in the right lung, chest to pelvis"
SUBMIT = "document.getElementById('ask').requestSubmit()"


@pytest.fixture(scope="module")
def server(study: Study) -> Iterator[ExplorerServer]:
    with ExplorerServer(Explorer(study)) as started:
        threading.Thread(target=started.serve_forever, daemon=True).start()
        yield started
        started.shutdown()


def ask(
    server: ExplorerServer, method: str, path: str, body: object = None, **headers: str
) -> tuple[int, bytes, dict[str, str]]:
    """Send a request as a browser on the explorer's own page would, with headers changed."""
    own = {"Host": f"127.0.0.1:{server.server_port}"}
    if method == "POST":
        own |= {"Origin": f"http://127.0.0.1:{server.server_port}", "Content-Type": "application/json"}
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    connection = http.client.HTTPConnection("127.0.0.1", server.server_port, timeout=60)
    sent = {**own, **{name.replace("_", "-"): value for name, value in headers.items()}}
    connection.request(method, path, data if method == "POST" else None, sent)
    reply = connection.getresponse()
    return reply.status, reply.read(), {name.lower(): value for name, value in reply.getheaders()}


def read_state(server: ExplorerServer) -> dict:
    return json.loads(ask(server, "GET", f"/{server.token}/state")[1])


def wait_for_end(server: ExplorerServer) -> dict:
    end = time.monotonic() + 120
    while (state := read_state(server))["running"] and time.monotonic() < end:
        time.sleep(0.05)
    return state


def test_only_the_own_page_on_this_machine_with_the_token_is_answered(server: ExplorerServer) -> None:
    token, port, order = server.token, server.server_port, {"prompt": PROMPT, "seed": 1}
    assert ask(server, "GET", f"/{token}/")[0] == 200
    assert ask(server, "GET", f"/{token}/", Host=f"localhost:{port}")[0] == 200
    refused = {
        "no token": ask(server, "GET", "/"),
        "a wrong token": ask(server, "GET", f"/{'x' * len(token)}/"),
        "a foreign name for this address": ask(server, "GET", f"/{token}/", Host="evil.example"),
        "a file": ask(server, "GET", f"/{token}/config/config.yaml"),
        "a way out": ask(server, "GET", f"/{token}/../../../etc/passwd"),
        "an order by another page": ask(server, "POST", f"/{token}/draw", order, Origin="http://evil.example"),
        "an order by a form": ask(server, "POST", f"/{token}/draw", order, Content_Type="text/plain"),
        "an order without the token": ask(server, "POST", "/draw", order),
        "an order too long": ask(server, "POST", f"/{token}/draw", {"prompt": "x" * 30_000, "seed": 1}),
    }
    assert {why: status for why, (status, _, _) in refused.items() if status not in (403, 404, 413)} == {}
    assert [why for why, (_, text, _) in refused.items() if token.encode() in text] == []
    assert read_state(server)["number"] == 0


def test_server_listens_on_this_machine_only_and_forbids_to_be_framed(server: ExplorerServer) -> None:
    assert server.server_address[0] == "127.0.0.1"
    _, _, headers = ask(server, "GET", f"/{server.token}/")
    assert "frame-ancestors 'none'" in headers["content-security-policy"]
    assert "default-src 'none'" in headers["content-security-policy"]
    assert headers["referrer-policy"] == "no-referrer"
    with pytest.raises(GuideGenError, match=f"port {server.server_port} of 127"):
        ExplorerServer(server.explorer, server.server_port)


@pytest.mark.parametrize(
    ("order", "message"),
    [
        ({"prompt": " ", "seed": 1}, "The prompt is empty"),
        ({"prompt": "x" * 3000, "seed": 1}, "3000 characters, at most 2000"),
        (
            {"prompt": "Left nephrectomy, left kidney absent, 3 cm mass in the left kidney", "seed": 1},
            "contradicts itself",
        ),
        ({"prompt": PROMPT, "seed": -1}, "The seed is -1"),
        ({"prompt": PROMPT, "seed": True}, "whole number as seed"),
        ({"prompt": ["a"], "seed": 1}, "Expected a prompt"),
        (b"{", "Expected a prompt"),
    ],
)
def test_bad_orders_are_answered_with_what_is_wrong(server: ExplorerServer, order: object, message: str) -> None:
    status, text, _ = ask(server, "POST", f"/{server.token}/draw", order)
    assert status == 400
    assert message in json.loads(text)["error"]


def test_one_prompt_is_drawn_at_a_time(server: ExplorerServer) -> None:
    explorer = server.explorer
    explorer.drawings[99] = Drawing(99, check_prompt(PROMPT, "test"), 1)
    try:
        status, text, _ = ask(server, "POST", f"/{server.token}/draw", {"prompt": PROMPT, "seed": 1})
        with pytest.raises(BusyError):
            explorer.submit(PROMPT, 1)
    finally:
        del explorer.drawings[99]
    assert status == 409
    assert "one at a time" in json.loads(text)["error"]


def test_a_drawing_is_what_synthesize_makes_of_the_same_prompt_and_seed(server: ExplorerServer, tmp_path: Path) -> None:
    from guidegen.synthesize.run import synthesize_prompts

    status, _, _ = ask(server, "POST", f"/{server.token}/draw", {"prompt": PROMPT, "seed": 7})
    assert status == 202
    state = wait_for_end(server)
    assert state["error"] == ""
    assert "4 cm mass in the right lung" in state["html"]
    assert state["html"].count("<img") >= 6
    script = ask(server, "GET", f"/{server.token}/drawing-{state['number']}.js")[1].decode()
    study = server.explorer.study
    rows = synthesize_prompts(study, [check_prompt(PROMPT, "test")], 1, tmp_path / "out", 7)
    ct, labels = (nibabel.load(tmp_path / "out" / rows[0][name]) for name in ("path", "labels_path"))
    shown = json.loads(script.removeprefix("guidegenCase(").removesuffix(");\n"))
    for name, made in (("ct", ct), ("labels", labels)):
        volume = nibabel.Nifti1Image.from_bytes(gzip.decompress(base64.b64decode(shown[name])))
        fold = volume.shape[0] // made.shape[0]
        assert np.array_equal(np.asanyarray(volume.dataobj)[::fold, ::fold, ::fold], np.asanyarray(made.dataobj))


def test_models_that_are_missing_are_named_before_a_page_is_served(study: Study, tmp_path: Path) -> None:
    shutil.copytree(study.root / "config", tmp_path / "study" / "config")
    with pytest.raises(GuideGenError, match="semantic_synthesizer was not trained yet"):
        Explorer(Study.load(tmp_path / "study"))


def test_a_failure_while_drawing_reaches_the_page(server: ExplorerServer, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise MemoryError("no room")

    monkeypatch.setattr(type(server.explorer.maker), "draw", fail)
    ask(server, "POST", f"/{server.token}/draw", {"prompt": PROMPT, "seed": 3})
    assert "MemoryError: no room" in wait_for_end(server)["error"]


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine")
def test_a_prompt_typed_in_the_browser_becomes_pictures_and_a_volume(server: ExplorerServer, tmp_path: Path) -> None:
    with Browser(tmp_path / "profile") as browser:
        page = Page(browser)
        page.open(server.address)
        page.evaluate("document.getElementById('drawings').replaceChildren()")
        page.evaluate("document.getElementById('prompt').value = 'left kidney absent, 3 cm mass in the left kidney'")
        page.evaluate(SUBMIT)
        page.wait("document.getElementById('message').textContent.includes('contradicts itself')")
        page.evaluate("document.getElementById('prompt').value = '50-year-old man, <b>chest</b> to pelvis'")
        page.evaluate(SUBMIT)
        page.wait("document.querySelector('#drawings blockquote')?.textContent.startsWith('50-year-old man, <b>')")
        assert page.evaluate("document.getElementById('message').hidden")
        page.wait("[...document.images].every((image) => image.complete && image.naturalWidth)")
        if server.page.library:
            page.evaluate("document.querySelector('[data-open]').click()")
            page.wait("document.getElementById('viewer').dataset.state === 'ready'")
            assert np.asarray(page.picture(".stage")).std() > 5
        refused = [text for text in page.list_console() if "400 (Bad Request)" not in text]
        assert refused == []
        assert [address for address in page.list_requests() if not address.startswith(server.address)] == []
