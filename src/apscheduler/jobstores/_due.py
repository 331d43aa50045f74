"""Which job is due first."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from heapq import heapify, heappop, heappush
from operator import itemgetter

Item = tuple[float, str]

#: Of fewer items than this none are sorted out.
FEW = 1000
#: Sorting out looks at each item, so that many must have been popped one by one before.
SHARE = 32


class DueQueue:
    """Times and ids, the earliest first.

    A heap, out of which all that is due is sorted when it turns out to be much: to pop thousands
    of items one by one from a large heap costs several times as much.
    """

    def __init__(self) -> None:
        self._heap: list[Item] = []
        # Sorted, the earliest last.
        self._sorted: list[Item] = []
        self._popped = 0

    def __len__(self) -> int:
        return len(self._heap) + len(self._sorted)

    def push(self, item: Item) -> None:
        heappush(self._heap, item)

    def peek(self) -> Item | None:
        """Return the first item, if there is one."""
        if self._sorted and (not self._heap or self._sorted[-1] <= self._heap[0]):
            return self._sorted[-1]
        return self._heap[0] if self._heap else None

    def is_due(self, until: float) -> bool:
        """Tell whether there is anything up to a time."""
        item = self.peek()
        return item is not None and item[0] <= until

    def pop(self) -> None:
        """Remove the first item."""
        if self._sorted and (not self._heap or self._sorted[-1] <= self._heap[0]):
            self._sorted.pop()
        else:
            heappop(self._heap)
            self._popped += 1

    def take(self, until: float, limit: int) -> list[Item]:
        """Remove the first items up to a time, at most ``limit`` of them, and return them."""
        self._sort_out(until)
        heap, ready = self._heap, self._sorted
        taken = ready[-limit:]
        if taken and taken[0][0] <= until and (not heap or taken[0] <= heap[0]):
            # They come next, all of them: nothing in the heap is due before the last one.
            del ready[-limit:]
            taken.reverse()
            return taken
        taken = []
        while len(taken) < limit:
            if ready and (not heap or ready[-1] <= heap[0]):
                if ready[-1][0] > until:
                    break
                taken.append(ready.pop())
            elif heap and heap[0][0] <= until:
                taken.append(heappop(heap))
                self._popped += 1
            else:
                break
        return taken

    def _sort_out(self, until: float) -> None:
        """Expect that many items until that time are taken."""
        heap = self._heap
        if not heap or heap[0][0] > until:
            self._popped = 0
        elif len(heap) > FEW and self._popped * SHARE > len(heap):
            self._popped = 0
            self._sorted += [item for item in heap if item[0] <= until]
            # Many are due at one moment, and texts are compared faster outside of tuples.
            self._sorted.sort(key=itemgetter(1), reverse=True)
            self._sorted.sort(key=itemgetter(0), reverse=True)
            self._heap = [item for item in heap if item[0] > until]
            heapify(self._heap)

    def until(self, until: float) -> Iterator[Item]:
        """Yield the items until a time, in no order, by walking only that part of the heap."""
        yield from (item for item in self._sorted if item[0] <= until)
        positions = [0]
        while positions:
            position = positions.pop()
            if position < len(self._heap) and self._heap[position][0] <= until:
                positions += (2 * position + 1, 2 * position + 2)
                yield self._heap[position]

    def clear(self) -> None:
        self._heap.clear()
        self._sorted.clear()

    def keep(self, stands: Callable[[Item], bool]) -> None:
        """Remove all items but those that stand, each once."""
        self._heap = [item for item in {*self._heap, *self._sorted} if stands(item)]
        self._sorted = []
        heapify(self._heap)
