"""What clients say, and what they are told."""

from collections import deque

from twisted.internet import reactor as _reactor
from twisted.python import log

import lines
from connection import Lines

MYPY = False
if MYPY:
    from typing import Any, Deque
    from herd import Herd

reactor = _reactor  # type: Any

QUESTIONS_MAX = 16  # of one client; the line after them waits until one has been answered
KEPT_BYTES_MAX = 256 * 1024  # of replies behind an answer, before no more lines are handled


class Place(object):
    """The place of an answer among the replies, and what was said behind it meanwhile."""

    def __init__(self, at):
        # type: (bytes) -> None
        self.at = at  # the line that leaves together with the answer
        self.answer = b""  # both, once it has come
        self.behind = bytearray()


class Client(Lines):
    """A client's connection."""

    line_bytes_max = lines.LINE_BYTES_MAX
    end_ends_line = True
    _overlong_bytes = 0
    _overlong_end = b""
    _kept_bytes = 0  # of answers and replies in `_places`

    def __init__(self, herd):
        # type: (Herd) -> None
        Lines.__init__(self, herd)
        self._places = deque()  # type: Deque[Place] # of which the first has no answer yet
        self._unanswered = 0

    def is_held(self):
        # type: () -> bool
        return (self.full or self._unanswered >= QUESTIONS_MAX
                or self._kept_bytes >= KEPT_BYTES_MAX or self.herd.leaving)

    def is_waiting(self):
        # type: () -> bool
        return bool(self._places)

    def line_received(self, line):
        # type: (bytes) -> None
        self.record(b"<", line)
        fields = line.split()
        location = lines.iamat(fields, self.herd.name, self.herd.records.now)
        if location is not None:
            self.herd.table.accept(location, None)
            return self.send(location.line)
        question = lines.whatsat(fields)
        if question is not None and question[0] in self.herd.table:
            location = self.herd.table[question[0]]
            place = Place(location.line)
            self._places.append(place)
            self._kept_bytes += len(place.at)
            self._unanswered += 1
            at = (location.latitude, location.longitude)
            answer = self.herd.twitter.ask(place, at, question[1], question[2])
            answer.addCallback(self._answered, place).addErrback(lambda reason: log.err(reason))
        else:
            self.send(b"? " + line)
            if lines.is_http(fields):
                self.stop_hearing("an HTTP request")

    def write(self, data):
        # type: (bytes) -> None
        """What is said behind an answer that has not come is kept until it has."""
        if self._places:
            self._places[-1].behind += data
            self._kept_bytes += len(data)
        else:
            Lines.write(self, data)

    def _answered(self, json, place):
        # type: (bytes, Place) -> None
        self._unanswered -= 1
        self.herd.set_time()
        if not self.closing:
            self.record(b">", place.at)
            self.record(b">", json)
            self._kept_bytes -= len(place.at)
            place.answer = b"\n".join((place.at, json, b""))
            self._kept_bytes += len(place.answer)
            while self._places and self._places[0].answer:
                first = self._places.popleft()
                self._kept_bytes -= len(first.answer) + len(first.behind)
                Lines.write(self, first.answer + bytes(first.behind))
            # From a line's handling, its loop goes on; from Twitter's answer, we do.
            reactor.callLater(0, self._go_on_later)
        self.herd.flush()

    def _go_on_later(self):
        # type: () -> None
        self.herd.set_time()
        self.go_on()
        if self.herd.leaving and not self.is_waiting():
            self.lose("the server stops")
        self.herd.flush()

    def piece_received(self, piece, first, last):
        # type: (bytes, bool, bool) -> None
        if first:
            self._overlong_bytes = 0
            self._overlong_end = b""
            self.herd.records.record_beginning(b"<", self.label, piece)
            self.herd.records.record_beginning(b">", self.label, b"? " + piece)
            self.write(b"? ")
        self._overlong_bytes += len(piece)
        self._overlong_end = (self._overlong_end + piece)[-lines.HTTP_END_BYTES:]
        self.write(piece)
        if last:
            self.herd.records.record_length(b"<", self.label, self._overlong_bytes)
            self.herd.records.record_length(b">", self.label, self._overlong_bytes + 2)
            self.write(b"\n")
            if lines.is_end_of_http(self._overlong_end):
                self.stop_hearing("an HTTP request")

    def end_received(self):
        # type: () -> None
        self.lose(self.deaf or "closed by the client")

    def give_up(self, why):
        # type: (str) -> None
        """Answers what waits by this error."""
        for place in list(self._places):
            self.herd.twitter.give_up(place, why)

    def lost(self, why):
        # type: (str) -> None
        for place in self._places:
            self.herd.twitter.leave(place)
