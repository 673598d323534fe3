"""Neighbours: their connections, who dials and when, hello, marks and heartbeats, and how far each
has been told what changed. The README of herd describes the lines."""

from twisted.internet import error, protocol, reactor as _reactor

import lines
from connection import Lines

MYPY = False
if MYPY:
    from typing import Any, Optional, Tuple
    from twisted.python.failure import Failure
    from herd import Herd

reactor = _reactor  # type: Any

# All in seconds.
DIAL_TIMEOUT = 0.8
HELLO_TIMEOUT = 5.0
CROSSING = 0.25  # how long the smaller name insists on its own dial when the other's crosses it
HEARTBEAT = 2.0
SILENCE_MAX = 8.0
MARK_EVERY = 1.0
BYE_TIMEOUT = 2.0  # a neighbour that does not take its BYE is not waited for
UNREACHABLE_AFTER = 2.0

MARK_EVERY_CHANGES = 4096
ROOM_BYTES = 64 * 1024  # of news given to a neighbour's transport at a time


class Peer(Lines):
    """A connection between servers: a stranger's until it presents itself, one that we dialled, or
    the one that carries a link."""

    line_bytes_max = lines.LINK_LINE_BYTES_MAX

    def __init__(self, herd, link=None):
        # type: (Herd, Optional[Link]) -> None
        super(Peer, self).__init__(herd)
        self.link = link
        self.dialled = link is not None
        self.presented = False
        self.since = reactor.seconds()
        self._serial = b""
        self._timer = None  # type: Any

    def connectionMade(self):
        # type: () -> None
        self.herd.set_time()
        super(Peer, self).connectionMade()
        self._timer = reactor.callLater(HELLO_TIMEOUT, self._unpresented)
        if self.link is not None:
            self.link.dialled = self
            self.since = reactor.seconds()
            self.send(self.link.hello().line())
        self.herd.flush()

    def name(self, serial):
        # type: (bytes) -> None
        self._serial = serial
        self.label = serial + (b":" + self.link.name if self.link else b"")

    def _unpresented(self):
        # type: () -> None
        self.herd.set_time()
        self.refuse("no HELLO within 5 seconds")
        self.herd.flush()

    def heard(self, line):
        # type: (bytes) -> None
        # Only who has presented itself is believed to be that neighbour, whoever was dialled.
        label = self.label if self.presented else self._serial
        self.herd.records.record(b"<", label, line)

    def line_received(self, said):
        # type: (bytes) -> None
        line = said.rstrip(b"\r")  # white space before the LF, which some transports add
        link = self.link
        if link is not None and self.presented:
            link.heard_at = reactor.seconds()
            if line.startswith(b"AT "):
                self.heard(said)
                location = lines.parse_at(line)
                if location is None:
                    return self.refuse("a malformed AT line")
                self.herd.table.accept(location, link)
                return None
            if line.startswith(b"ERASED "):
                self.heard(said)
                erasure = lines.parse_erased(line)
                if erasure is None:
                    return self.refuse("a malformed ERASED line")
                self.herd.table.accept(erasure, link)
                return None
            if line.startswith(b"CLOCK "):
                return None  # nothing here is judged by clocks
            if line.startswith(b"MARK "):
                number = lines.parse_number(line[5:])
                if number is None or link.handle_mark(number):  # heartbeats are not logged
                    self.heard(said)
                return self.refuse("a malformed MARK line") if number is None else None
        elif line.startswith(b"HELLO "):
            try:
                hello = lines.parse_hello(line)
                link = self._judge(hello)
            except lines.Malformed as why:
                self.heard(said)
                return self.refuse(str(why))
            self.link, self.presented = link, True
            self.name(self._serial)
            self.heard(said)
            link.begin_session(self, hello)
            return None
        self.heard(said)
        word = line.split(b" ")[0]
        if word == b"BYE":
            self.lose("the neighbour said BYE " + repr(line[4:]).lstrip("b").strip("'\""))
        elif word == b"HELLO" and self.presented:
            self.refuse("a second HELLO")
        elif word in (b"AT", b"ERASED", b"MARK", b"CLOCK", b"HELLO"):
            self.refuse("a malformed line" if self.presented else "the first line must be HELLO")
        else:
            self.refuse("a line that is none of HELLO, AT, ERASED, MARK, CLOCK, BYE")
        return None

    def _judge(self, hello):
        # type: (lines.Hello) -> Link
        if hello.to != self.herd.name:
            raise lines.Malformed("a HELLO to somebody else")
        link = self.herd.links.get(hello.sender)
        if link is None:
            raise lines.Malformed("a HELLO from no neighbour of ours")
        if self.dialled and link is not self.link:
            raise lines.Malformed("a HELLO from another neighbour than was dialled")
        if not self.dialled:
            link.judge(hello)
        return link

    def piece_received(self, piece, first, last):
        # type: (bytes, bool, bool) -> None
        self.herd.records.record_beginning(b"<", self.label, piece)
        self.refuse("a line over %d bytes" % self.line_bytes_max)

    def refuse(self, why):
        # type: (str) -> None
        self.send(b"BYE " + why.encode("ascii"))
        self.lose("refused: " + why)

    def really_lose(self):
        # type: () -> None
        self.forget(self.reason)
        self._timer = reactor.callLater(BYE_TIMEOUT, self.transport.abortConnection)
        super(Peer, self).really_lose()

    def end_received(self):
        # type: () -> None
        self.abort("closed by the neighbour")

    def abort(self, reason):
        # type: (str) -> None
        self.forget(reason)
        super(Peer, self).abort(reason)

    def lost(self, why):
        # type: (str) -> None
        self.forget(why)

    def forget(self, why):
        # type: (str) -> None
        """It carries its link no longer, though it may not have ended yet."""
        if self._timer is not None and self._timer.active():
            self._timer.cancel()
        if self.link is not None:
            self.link.forget(self, why)

    def present(self):
        # type: () -> None
        if self._timer is not None and self._timer.active():
            self._timer.cancel()


class Link(protocol.ReconnectingClientFactory):
    """One neighbour: dials it while the link is down, and follows it through our feed."""

    noisy = False
    maxDelay = 0.4  # type: ignore[assignment] # the annotations derive an int from 3600
    factor = 2

    def __init__(self, herd, member):
        # type: (Herd, lines.Member) -> None
        self.herd = herd
        self.name = member.name.encode("ascii")
        self.address = member.servers
        self.first = herd.name < self.name
        # Of two that lose a link at the same time the greater name leaves the dial to the other.
        self.delay = self.initialDelay = 0.01 if self.first else 0.08
        self.dialled = None  # type: Optional[Peer]
        self.session = None  # type: Optional[Peer]
        self.heard_at = 0.0
        self._peer = (b"", 0)  # its incarnation and its hello's serial
        self._known = None  # type: Optional[Tuple[bytes, int]]
        self._life = b""
        self._floor = 0  # what we heard over this link up to here, its present life may have lost
        self._cursor = self._marked = self._unmarked = 0
        self._marked_at = self._said_at = 0.0
        self._unreachable = None  # type: Optional[Tuple[float, bool]]

    # ---- dialling

    def dial(self):
        # type: () -> None
        if self.session is None and self.connector is None and not self.herd.leaving:
            reactor.connectTCP(self.address[0], self.address[1], self, timeout=DIAL_TIMEOUT)

    def buildProtocol(self, addr):
        # type: (Any) -> Peer
        return Peer(self.herd, self)

    def startedConnecting(self, connector):
        # type: (Any) -> None
        self.connector = connector

    def clientConnectionFailed(self, connector, reason):
        # type: (Any, Failure) -> None
        if reason.check(error.TimeoutError):
            self.resetDelay()  # that took long enough
        self._say_unreachable(reason.getErrorMessage())
        self._redial()

    def clientConnectionLost(self, connector, reason):
        # type: (Any, Failure) -> None
        self._redial()

    def _redial(self):
        # type: () -> None
        if self.session is not None or self._callID or self.herd.leaving:
            return
        if self.connector is None:
            self.dial()  # it came to us before we first dialled
        elif self.connector.state == "disconnected":
            self.continueTrying = 1
            self.retry(self.connector)

    def _say_unreachable(self, why):
        # type: (str) -> None
        now = reactor.seconds()
        since, said = self._unreachable or (now, False)
        if not said and now >= since + UNREACHABLE_AFTER:
            said = True
            self.herd.tell("cannot reach %s at %s: %s. Still trying." % (
                self.name.decode("ascii"), lines.address_text(self.address), why))
            self.herd.flush()
        self._unreachable = (since, said)

    # ---- hello and goodbye

    def hello(self):
        # type: () -> lines.Hello
        self.herd.hellos += 1
        serial = lines.MINOR * lines.SERIALS_PER_MINOR + self.herd.hellos
        return lines.Hello(self.herd.name, self.name, self.herd.incarnation, serial, self._known)

    def judge(self, hello):
        # type: (lines.Hello) -> None
        """Whether the hello of a connection that the neighbour made is to be taken."""
        if self.session is not None:
            incarnation, serial = self._peer
            if hello.incarnation == incarnation and hello.serial <= serial:
                raise lines.Malformed("a late hello")
        elif (self.dialled is not None and self.first
              and reactor.seconds() < self.dialled.since + CROSSING):
            raise lines.Malformed("our dial crossed yours")

    def begin_session(self, peer, hello):
        # type: (Peer, lines.Hello) -> None
        if not peer.dialled:
            if self.dialled is not None:
                self.dialled.abort("the neighbour's own dial was taken")
            if self.session is not None:
                self.session.abort("the neighbour has connected anew")
            peer.send(self.hello().line())
        peer.present()
        self.session, self.dialled = peer, None
        self.stopTrying() if not peer.dialled else self.resetDelay()
        end = self.herd.table.end
        if self._life != hello.incarnation:
            self._life, self._floor = hello.incarnation, end
        self._peer = (hello.incarnation, hello.serial)
        known, number = hello.known or (b"", 0)
        resumes = known == self.herd.incarnation and number <= end
        self._cursor = self._marked = number if resumes else 0
        self._unmarked = 0
        self.heard_at = self._said_at = self._marked_at = reactor.seconds()
        self._unreachable = None
        self.herd.say("link to %s is up" % self.name.decode("ascii"))

    def forget(self, peer, why):
        # type: (Peer, str) -> None
        if self.dialled is peer:
            self.dialled = None
        if self.session is peer:
            self.session = None
            self.herd.say("link to %s is down: %s" % (self.name.decode("ascii"), why))
            if not self._callID:
                self.resetDelay()
            self._redial()

    # ---- the feed

    def handle_mark(self, number):
        # type: (int) -> bool
        """Whether it is news, and not only a heartbeat."""
        if number == 0 or (self._known is not None and self._known[0] == self._life
                           and number <= self._known[1]):
            return False
        self._known = (self._life, number)
        return True

    def flood(self):
        # type: () -> None
        """Gives the neighbour what it lacks, as far as its transport likes to take it."""
        table = self.herd.table
        knows_erasures = self._peer[1] // lines.SERIALS_PER_MINOR >= 2
        while self.session is not None and not self.session.full and self._cursor < table.end:
            room, end = ROOM_BYTES, self._cursor
            for end, location, source in table.after(self._cursor):
                if source is self and end > self._floor:
                    continue
                if location.is_erasure() and not knows_erasures:
                    continue
                self.session.send(location.line)
                self._unmarked += 1
                room -= len(location.line)
                if room <= 0 or self._unmarked >= MARK_EVERY_CHANGES:
                    break
            else:
                end = table.end
            self._cursor = end
            if self.session.out:
                self._said_at = reactor.seconds()
            if self._unmarked >= MARK_EVERY_CHANGES:
                self._mark()
            self.herd.flush_out()

    def _mark(self):
        # type: () -> None
        assert self.session is not None
        line = b"MARK " + lines.decimal(self._cursor)
        if self._marked < self._cursor:
            self.session.send(line)
        else:
            self.session.write(line + b"\n")  # a heartbeat is not logged
        self._marked, self._unmarked = self._cursor, 0
        self._marked_at = self._said_at = reactor.seconds()

    def tick(self):
        # type: () -> None
        now = reactor.seconds()
        if self.session is None:
            return
        if now >= self.heard_at + SILENCE_MAX:
            return self.session.abort("nothing heard for %d seconds" % SILENCE_MAX)
        due = self._marked < self._cursor and now >= self._marked_at + MARK_EVERY
        if (due or now >= self._said_at + HEARTBEAT) and not self.session.full:
            self._mark()
        return None
