"""Batches are read ahead of the step that needs them."""

import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from typing import Generic, TypeVar

Batch = TypeVar("Batch")
READERS = 2
AHEAD = 4


class Loader(Generic[Batch]):
    """Iterates over the batches of `indices` in their order; threads read the next `AHEAD` meanwhile.

    Args:
        draw: returns the batch of an index; a pure function, so that reading ahead changes nothing. An error that it
            raises is raised when the batch's turn comes.
        indices: which batches.
    """

    def __init__(self, draw: Callable[[int], Batch], indices: Iterable[int]) -> None:
        self.waited = 0.0
        """Seconds that the training waited for batches."""
        self._draw = draw
        self._indices = iter(indices)
        self._threads = ThreadPoolExecutor(READERS, "loader")
        self._ahead: deque[Future[Batch]] = deque()
        self._read(AHEAD)

    def __iter__(self) -> Iterator[Batch]:
        return self

    def __next__(self) -> Batch:
        if not self._ahead:
            raise StopIteration
        start = time.monotonic()
        batch = self._ahead.popleft().result()
        self.waited += time.monotonic() - start
        self._read(1)
        return batch

    def _read(self, count: int) -> None:
        self._ahead.extend(self._threads.submit(self._draw, index) for index in islice(self._indices, count))

    def close(self) -> None:
        """Stop reading."""
        self._threads.shutdown(wait=True, cancel_futures=True)
