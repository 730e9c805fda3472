"""Work beside the network: reading before it, encoding and writing after it."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import nullcontext
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


def alongside(
    work: Callable[[Item], Result], items: Iterable[Item], depth: int, threads: ThreadPoolExecutor | None = None
) -> Iterator[Result]:
    """``map(work, items)`` in order, by threads that may be ``depth`` results ahead of their use.

    Items are made in the calling thread. It is one thread by default, because a raster's decoded blocks, which
    neighbouring windows share, are kept by it, and because what is written must stay in order.

    Args:
        work: what the thread does.
        items: what it does it to.
        depth: results that may wait.
        threads: a pool to be used again; default: one thread that ends with the items.
    """
    waiting: deque[Future[Result]] = deque()
    with ThreadPoolExecutor(1) if threads is None else nullcontext(threads) as pool:
        try:
            for item in items:
                waiting.append(pool.submit(work, item))
                if len(waiting) > depth:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()
