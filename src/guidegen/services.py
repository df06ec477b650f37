"""Requests to public web services: time limits, and repeats after a pause that grows."""

import json
import logging
import random
import time
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

import requests
import urllib3
from tenacity import RetryCallState, Retrying, retry_if_exception_type, stop_after_attempt

from guidegen.errors import ItemError

T = TypeVar("T")
FIRST_PAUSE_S = 1.0
LONGEST_PAUSE_S = 60.0
CONNECT_S = 10.0
SILENCE_S = 60.0
"""Longest time without any byte from a server."""
TEMPORARY = {408, 425, 429, 500, 502, 503, 504}
"""HTTP status codes that may be gone at the next attempt."""
PIECE_BYTES = 1 << 18
log = logging.getLogger(__name__)


class ServiceError(ItemError):
    """A service cannot be reached, refuses, or answers something else than expected."""


class TemporaryError(ServiceError):
    """A failure that another attempt may not meet; `pause_s` is how long the service asks to be left alone."""

    def __init__(self, message: str, pause_s: float = 0.0) -> None:
        super().__init__(message)
        self.pause_s = pause_s


class UnreachableError(ServiceError):
    """No connection was made at all."""


Kinds = type[ServiceError] | tuple[type[ServiceError], ...]


def ask_service(
    method: str,
    url: str,
    take: Callable[[requests.Response], T],
    *,
    attempts: int,
    retry_unreachable: bool = True,
    **options: Any,
) -> T:
    """Send a request and return what `take` makes of the reply.

    Connections that are refused or break, silence, the status codes of `TEMPORARY`, and whatever `take` raises as
    TemporaryError are met with another attempt. The pauses double from one second, each with jitter, or are as long as
    the service asks for, at most a minute.

    Args:
        method: GET or POST.
        url: full address.
        take: reads the reply (status 200, streamed).
        attempts: how often the request is sent at most.
        retry_unreachable: False: give up at once where no connection is made.
        options: further arguments of `requests.request`.

    Raises:
        UnreachableError: no connection was made.
        ServiceError: refused, or still failing at the last attempt; says what the service answered.
    """
    kinds = (TemporaryError, UnreachableError) if retry_unreachable else TemporaryError
    return repeat(lambda: _send(method, url, take, options), attempts, kinds)


def repeat(work: Callable[[], T], attempts: int, kinds: Kinds = TemporaryError) -> T:
    """Do `work`, again after each error of `kinds`, with pauses as `ask_service` makes them.

    Raises:
        ServiceError: the last attempt failed, too.
    """
    retrying = Retrying(
        stop=stop_after_attempt(attempts),
        retry=retry_if_exception_type(kinds),
        wait=_choose_pause,
        before_sleep=_log_pause,
        reraise=True,
    )
    try:
        return retrying(work)
    except TemporaryError as error:
        raise ServiceError(f"{error} ({attempts} attempts)") from None


def read_stream(response: requests.Response, limit_s: float) -> Iterator[bytes]:
    """Yield the body of a streamed reply as it arrives.

    Raises:
        TemporaryError: it has not ended after `limit_s` seconds, however slowly bytes still come.
    """
    end = time.monotonic() + limit_s
    while piece := response.raw.read1(PIECE_BYTES):
        yield piece
        if time.monotonic() > end:
            raise TemporaryError(f"{response.url}: no end after {limit_s:g} s")


def read_json(response: requests.Response, limit_s: float = 600.0) -> Any:
    """Return a reply's JSON, None for an empty body. Raises TemporaryError where it is no JSON."""
    text = b"".join(read_stream(response, limit_s))
    if not text.strip():
        return None
    try:
        return json.loads(text)
    except ValueError:
        raise TemporaryError(f"{response.url}: expected JSON, found {text[:100]!r}") from None


def _send(method: str, url: str, take: Callable[[requests.Response], T], options: dict[str, Any]) -> T:
    plain = {"Accept-Encoding": "identity"}
    try:
        with requests.request(
            method, url, headers=plain, stream=True, timeout=(CONNECT_S, SILENCE_S), **options
        ) as response:
            _check_status(response)
            return take(response)
    except (requests.exceptions.SSLError, ValueError) as error:  # requests' errors of a wrong address are ValueErrors
        raise ServiceError(f"{url}: {_shorten(error)}") from None
    except requests.ConnectTimeout:
        raise UnreachableError(f"{url}: no connection within {CONNECT_S:g} s") from None
    except requests.ConnectionError as error:
        reason = error.args[0] if error.args else None
        if isinstance(reason, urllib3.exceptions.MaxRetryError):
            raise UnreachableError(f"{url}: no connection: {_shorten(reason.reason)}") from None
        raise TemporaryError(f"{url}: the connection broke: {_shorten(error)}") from None
    except (requests.RequestException, urllib3.exceptions.HTTPError, ConnectionError, TimeoutError) as error:
        raise TemporaryError(f"{url}: the connection broke: {_shorten(error)}") from None


def _check_status(response: requests.Response) -> None:
    if response.status_code == requests.codes.ok:
        return
    text = " ".join(response.raw.read(300, decode_content=True).decode("utf-8", "replace").split())[:200]
    message = f"{response.url}: status {response.status_code}{': ' + text if text else ''}"
    if response.status_code not in TEMPORARY:
        raise ServiceError(message)
    asked = response.headers.get("Retry-After", "")
    raise TemporaryError(message, float(asked) if asked.isdecimal() else 0.0)


def _choose_pause(state: RetryCallState) -> float:
    doubled = FIRST_PAUSE_S * 2.0 ** (state.attempt_number - 1) * random.uniform(0.5, 1.5)
    error = state.outcome.exception() if state.outcome else None
    return min(LONGEST_PAUSE_S, max(doubled, getattr(error, "pause_s", 0.0)))


def _log_pause(state: RetryCallState) -> None:
    error = state.outcome.exception() if state.outcome else None
    pause = state.next_action.sleep if state.next_action else 0.0
    log.warning("attempt %d failed (%s), again in %.1f s", state.attempt_number, error, pause)


def _shorten(error: object) -> str:
    return " ".join(str(error).split())[:200]
