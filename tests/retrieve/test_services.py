"""What fails is tried again after a pause that doubles, differs from job to job, and is what the service asks for."""

import time
from itertools import pairwise

import pytest
from faulty_proxy import Fault, FaultyProxy
from nbia_server import Nbia

from guidegen import services
from guidegen.services import ServiceError, TemporaryError, ask_service, read_json, repeat

SLACK_S = 0.25
"""How late a busy machine may wake up."""


def measure_pauses(attempts: int, asked_s: float = 0.0) -> list[float]:
    """Return the pauses between attempts of work that always fails."""
    times: list[float] = []

    def fail() -> None:
        times.append(time.monotonic())
        raise TemporaryError("busy", asked_s)

    with pytest.raises(ServiceError, match=rf"busy \({attempts} attempts\)"):
        repeat(fail, attempts)
    return [later - earlier for earlier, later in pairwise(times)]


def test_pauses_double_with_jitter(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(services, "FIRST_PAUSE_S", 0.05)
    runs = [measure_pauses(4) for _ in range(3)]
    for pauses in runs:
        for number, pause in enumerate(pauses):
            assert 0.5 * 0.05 * 2**number <= pause <= 1.5 * 0.05 * 2**number + SLACK_S
    assert len({round(pauses[2], 2) for pauses in runs}) > 1, "jobs that failed together do not come back together"


def test_pause_is_as_long_as_the_service_asks_and_never_longer_than_the_longest(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(services, "FIRST_PAUSE_S", 0.001)
    assert measure_pauses(2, asked_s=0.2)[0] >= 0.2
    monkeypatch.setattr(services, "LONGEST_PAUSE_S", 0.1)
    assert 0.1 <= measure_pauses(2, asked_s=1e9)[0] <= 0.1 + SLACK_S


def test_answer_that_names_a_pause_is_heeded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(services, "FIRST_PAUSE_S", 0.001)
    nbia = Nbia()
    server = nbia.serve()
    proxy = FaultyProxy(nbia.url, [Fault(status=503, retry_after=1)])
    running = proxy.serve()
    start = time.monotonic()
    ask_service("GET", f"{proxy.url}/getSeries?Collection=none&Modality=CT&format=json", read_json, attempts=2)
    assert time.monotonic() - start >= 1
    assert len(proxy.asked) == 2
    running.shutdown()
    server.shutdown()
