"""The latest location of each client, or that it is erased, and the feed: what changed, in which order."""

from bisect import bisect_right

MYPY = False
if MYPY:
    from typing import Any, Dict, Iterator, List, Tuple
    from lines import Location

_SLACK = 1024  # superseded entries that are not worth sweeping


class Table(object):
    """A client that reports again moves to the end of the feed, so a reader's cursor is all that a
    slow neighbour costs."""

    def __init__(self):
        # type: () -> None
        self.end = 0  # the number of the last change
        self._records = {}  # type: Dict[bytes, Tuple[int, Location, Any]]
        self._numbers = []  # type: List[int]
        self._clients = []  # type: List[bytes]

    def __len__(self):
        # type: () -> int
        return len(self._records)

    def __getitem__(self, client):
        # type: (bytes) -> Location
        return self._records[client][1]

    def __contains__(self, client):
        # type: (bytes) -> bool
        record = self._records.get(client)
        return record is not None and not record[1].is_erasure()

    def accept(self, location, source):
        # type: (Location, Any) -> bool
        """Takes in what is newer than what is held. `source` is the link it came by, or None."""
        held = self._records.get(location.client)
        if held is not None and location.recency <= held[1].recency:
            return False
        self.end += 1
        self._records[location.client] = (self.end, location, source)
        self._numbers.append(self.end)
        self._clients.append(location.client)
        if len(self._numbers) > 2 * len(self._records) + _SLACK:
            live = sorted((number, client) for client, (number, _, _) in self._records.items())
            self._numbers = [number for number, _ in live]
            self._clients = [client for _, client in live]
        return True

    def after(self, cursor):
        # type: (int) -> Iterator[Tuple[int, Location, Any]]
        """The changes above `cursor`. Nothing may be accepted before the last one is taken."""
        for at in range(bisect_right(self._numbers, cursor), len(self._numbers)):
            record = self._records[self._clients[at]]
            if record[0] == self._numbers[at]:
                yield record
