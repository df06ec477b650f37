"""SIGTERM and SIGUSR1: stop after the step, or at once where nothing would be lost by it."""

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from guidegen.errors import GuideGenError

REQUEUE_CODE = 75
"""Exit code of a training that was told to stop and came further before: start it again."""
STOP_SIGNALS = (signal.SIGTERM, signal.SIGUSR1)


class RequeueRequested(GuideGenError):
    """The job was told to stop; a checkpoint holds what it did."""

    exit_code = REQUEUE_CODE


class StoppedEarly(GuideGenError):
    """The job was told to stop before its first step was done; starting it again with as little time is no help."""

    exit_code = 1


@contextmanager
def note_signals() -> Iterator[list[str]]:
    """Yield a list that gets the name of a stop signal when it comes."""
    received: list[str] = []
    with _handle_signals(received.append):
        yield received


@contextmanager
def stop_at_once(stage: str, progress: bool) -> Iterator[None]:
    """Raise as soon as a stop signal comes.

    Args:
        stage: name of the stage, for the message.
        progress: whether this process did steps that a checkpoint holds.

    Raises:
        RequeueRequested: a signal came, and there was progress.
        StoppedEarly: a signal came, and there was none.
    """

    def stop(name: str) -> None:
        if progress:
            raise RequeueRequested(
                f"train {stage}: stopped by {name}; all steps done are in a checkpoint, start it again"
            )
        raise StoppedEarly(f"train {stage}: stopped by {name} before a step was done; give the job more time")

    with _handle_signals(stop):
        yield


@contextmanager
def _handle_signals(act: Callable[[str], None]) -> Iterator[None]:
    old = {number: signal.signal(number, lambda n, _: act(signal.Signals(n).name)) for number in STOP_SIGNALS}
    try:
        yield
    finally:
        for number, handler in old.items():
            signal.signal(number, handler)
