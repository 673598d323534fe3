"""What clients say, and what they are told."""

from twisted.internet import reactor as _reactor
from twisted.python import log

import lines
from connection import Lines

MYPY = False
if MYPY:
    from typing import Any

reactor = _reactor  # type: Any


class Client(Lines):
    """A client's connection."""

    line_bytes_max = lines.LINE_BYTES_MAX
    _overlong_bytes = 0
    is_waiting = False  # for Twitter

    def is_held(self):
        # type: () -> bool
        return self.is_waiting or self.full

    def line_received(self, line):
        # type: (bytes) -> None
        self.record(b"<", line)
        fields = line.split()
        location = lines.iamat(fields, self.herd.name, self.herd.journal.now)
        if location is not None:
            self.herd.table.accept(location, None)
            return self.send(location.line)
        question = lines.whatsat(fields)
        if question is not None and question[0] in self.herd.table:
            location = self.herd.table[question[0]]
            self.send(location.line)
            self.is_waiting = True
            place = (location.latitude, location.longitude)
            answer = self.herd.twitter.ask(self, place, question[1], question[2])
            answer.addCallback(self._answered).addErrback(lambda reason: log.err(reason))
        else:
            self.send(b"? " + line)

    def _answered(self, json):
        # type: (bytes) -> None
        self.is_waiting = False
        self.herd.set_time()
        if not self.closing:
            self.send(json)
            # From a line's handling, its loop goes on; from Twitter's answer, we do.
            reactor.callLater(0, self._go_on_later)
        self.herd.flush()

    def _go_on_later(self):
        # type: () -> None
        self.herd.set_time()
        self.go_on()
        if self.herd.leaving and not self.is_waiting:
            self.lose("the server stops")
        self.herd.flush()

    def piece_received(self, piece, first, last):
        # type: (bytes, bool, bool) -> None
        if first:
            self._overlong_bytes = 0
            self.herd.journal.record_beginning(b"<", self.label, piece)
            self.herd.journal.record_beginning(b">", self.label, b"? " + piece)
            self.write(b"? ")
        self._overlong_bytes += len(piece)
        self.write(piece)
        if last:
            self.herd.journal.record_length(b"<", self.label, self._overlong_bytes)
            self.herd.journal.record_length(b">", self.label, self._overlong_bytes + 2)
            self.write(b"\n")

    def end_received(self):
        # type: () -> None
        self.lose("closed by the client")

    def lost(self, why):
        # type: (str) -> None
        self.herd.twitter.leave(self)
