#!/usr/bin/env python
"""One server of the herd on Twisted: `herd.py serve NAME [options]`.

Runs on CPython 3 with the current Twisted, and on Python 2.7 with Twisted 12.3.0, the versions of
the assignment. Whatever happens is handled by a method that ends with `Herd.flush`: the records of
it are handed to the kernel, and then the replies and the news for the neighbours leave.
"""

import argparse
import binascii
import os
import resource
import signal
import sys
from collections import deque

from twisted.internet import error, protocol, reactor as _reactor, task
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IHalfCloseableProtocol, IPushProducer
from twisted.python import log
from zope.interface import implementer

import lines
from journal import InUse, Journal, wall_nanos
from table import Table
from tweets import Twitter

MYPY = False
if MYPY:
    from typing import Any, Deque, Dict, List, Optional, Tuple
    from twisted.python.failure import Failure

reactor = _reactor  # type: Any

KEPT_BYTES_MAX = 64 * 1024  # of lines that wait, before a client is not read any longer
OUT_BYTES = 64 * 1024  # of replies, before they are handed to the transport
ROOM_BYTES = 64 * 1024  # of news given to a neighbour's transport at a time
DIAL_TIMEOUT = 0.8
HELLO_TIMEOUT = 5.0
CROSSING = 0.25
HEARTBEAT = 2.0
SILENCE_MAX = 8.0
MARK_EVERY = 1.0
MARK_EVERY_CHANGES = 4096
TICK = 0.25  # how often links are looked at
BYE_TIMEOUT = 2.0  # a neighbour that does not take its BYE is not waited for
LINGER = 0.25  # that who is refused may read why before the connection is reset
UNREACHABLE_AFTER = 2.0
DRAIN_MAX = 5.0
DESCRIPTORS_OWN = 32
STRANGERS_RESERVED = 8


@implementer(IHalfCloseableProtocol, IPushProducer)
class Lines(protocol.Protocol, object):
    """Lines ending in LF, in bounded memory, whatever their length.

    LineReceiver copies the rest of its buffer for each line, and gives up on one that is too long.
    """

    line_bytes_max = 0
    label = b""  # how the log names the connection

    def __init__(self, herd):
        # type: (Herd) -> None
        self.herd = herd
        self.waiting_lines = deque()  # type: Deque[bytes]
        self.out = []  # type: List[bytes]
        self._out_bytes = 0
        self.full = False  # the transport has more than it likes to hold
        self.ended = False  # the peer will say no more
        self.closing = False
        self.reason = ""  # why we close
        self._kept = bytearray()  # of a line without its end yet
        self._overlong = False  # within a line over the limit
        self._reading = True
        self._linger = None  # type: Any

    # ---- what comes in

    def connectionMade(self):
        # type: () -> None
        self.transport.setTcpNoDelay(True)
        self.transport.setTcpKeepAlive(True)
        self.transport.registerProducer(self, True)
        self.herd.connected(self)

    def dataReceived(self, data):
        # type: (bytes) -> None
        if self.closing:
            return
        self.herd.set_time()
        if b"\n" in data:
            cut = (bytes(self._kept) + data if self._kept else data).split(b"\n")
            self._kept = bytearray(cut.pop())
            self.waiting_lines.extend(cut)
        else:
            self._kept += data
        self.go_on()
        self.herd.flush()

    def go_on(self):
        # type: () -> None
        """Handles what has come, as far as it may be handled now."""
        while not self.closing and not self.is_held():
            if self.waiting_lines:
                line = self.waiting_lines.popleft()
                if self._overlong or len(line) > self.line_bytes_max:
                    first, self._overlong = not self._overlong, False
                    self.piece_received(line, first, True)
                else:
                    self.line_received(line)
            elif self._kept and (self._overlong or len(self._kept) > self.line_bytes_max):
                piece, self._kept = bytes(self._kept), bytearray()
                first, self._overlong = not self._overlong, True
                self.piece_received(piece, first, False)
            else:
                break
            if self._out_bytes > OUT_BYTES:
                self.herd.flush()  # and then see whether the transport is full
        if self.ended and not self.closing and not self.waiting_lines and not self.is_held():
            if self._kept:
                self.record(b"*", ("%d bytes after the last LF were discarded"
                                   % len(self._kept)).encode("ascii"))
            self.end_received()
        self._read_or_not()

    def _read_or_not(self):
        # type: () -> None
        kept = len(self._kept) + (sum(map(len, self.waiting_lines)) if self.is_held() else 0)
        wanted = kept <= KEPT_BYTES_MAX or not self.is_held()
        if wanted != self._reading and not self.ended and not self.closing:
            self._reading = wanted
            # Once the peer has ended, reading on would only find its end again.
            (self.transport.resumeProducing if wanted else self.transport.pauseProducing)()

    def is_held(self):
        # type: () -> bool
        """Whether the next line must wait."""
        return False

    def line_received(self, line):
        # type: (bytes) -> None
        raise NotImplementedError

    def piece_received(self, piece, first, last):
        # type: (bytes, bool, bool) -> None
        """A part of a line over the limit."""
        raise NotImplementedError

    def end_received(self):
        # type: () -> None
        """The peer said no more, and all that it said has been handled."""
        raise NotImplementedError

    def readConnectionLost(self):
        # type: () -> None
        self.herd.set_time()
        self.ended = True
        if self.closing:
            self.transport.loseConnection()
        else:
            self.go_on()
            self.herd.flush()

    # ---- what goes out

    def send(self, line):
        # type: (bytes) -> None
        self.record(b">", line)
        self.write(line + b"\n")

    def write(self, data):
        # type: (bytes) -> None
        if not self.out:
            self.herd.touched.append(self)
        self.out.append(data)
        self._out_bytes += len(data)

    def flush(self):
        # type: () -> None
        out, self.out, self._out_bytes = self.out, [], 0
        self.transport.write(b"".join(out))

    def record(self, direction, text):
        # type: (bytes, bytes) -> None
        self.herd.journal.record(direction, self.label, text)

    def pauseProducing(self):
        # type: () -> None
        self.full = True

    def resumeProducing(self):
        # type: () -> None
        self.full = False
        self.herd.set_time()
        self.go_on()
        self.herd.flush()

    def stopProducing(self):
        # type: () -> None
        self.full = False

    def lose(self, reason):
        # type: (str) -> None
        """Closes once all has been sent."""
        if not self.closing:
            self.closing, self.reason = True, reason
            self.herd.losing.append(self)

    def really_lose(self):
        # type: () -> None
        self.transport.unregisterProducer()  # one that is resumed keeps a transport from closing
        if self.ended:
            self.transport.loseConnection()
            return
        # What has come and was not read would make the kernel reset the connection, and take away
        # what we said last: so the end is said first, and the rest read and thrown away for a while.
        self.transport.loseWriteConnection()
        self.transport.resumeProducing()

    def writeConnectionLost(self):
        # type: () -> None
        """All has been sent, and our end said."""
        self._linger = reactor.callLater(LINGER, self.transport.loseConnection)

    def abort(self, reason):
        # type: (str) -> None
        self.closing, self.reason = True, reason
        self.transport.abortConnection()

    def connectionLost(self, reason=protocol.connectionDone):
        # type: (Failure) -> None
        self.herd.set_time()
        self.closing = True
        if self._linger is not None and self._linger.active():
            self._linger.cancel()
        why = self.reason or reason.getErrorMessage()
        self.record(b"-", why.encode("utf-8", "replace"))
        self.herd.disconnected(self)
        self.lost(why)
        self.herd.flush()

    def lost(self, why):
        # type: (str) -> None
        raise NotImplementedError


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
            answer.addCallback(self._answered).addErrback(log.err)
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
        self.herd.journal.record(b"<", label, line)

    def line_received(self, line):
        # type: (bytes) -> None
        link = self.link
        if link is not None and self.presented:
            link.heard_at = reactor.seconds()
            if line.startswith(b"AT "):
                self.heard(line)
                location = lines.parse_at(line)
                if location is None:
                    return self.refuse("a malformed AT line")
                self.herd.table.accept(location, link)
                return None
            if line.startswith(b"MARK "):
                number = lines.parse_number(line[5:])
                if number is None or link.handle_mark(number):  # heartbeats are not logged
                    self.heard(line)
                return self.refuse("a malformed MARK line") if number is None else None
        elif line.startswith(b"HELLO "):
            try:
                hello = lines.parse_hello(line)
                link = self._judge(hello)
            except lines.Malformed as why:
                self.heard(line)
                return self.refuse(str(why))
            self.link, self.presented = link, True
            self.name(self._serial)
            self.heard(line)
            link.begin_session(self, hello)
            return None
        self.heard(line)
        word = line.split(b" ")[0]
        if word == b"BYE":
            self.lose("the neighbour said BYE " + repr(line[4:]).lstrip("b").strip("'\""))
        elif word == b"HELLO" and self.presented:
            self.refuse("a second HELLO")
        elif word in (b"AT", b"MARK", b"HELLO"):
            self.refuse("a malformed line" if self.presented else "the first line must be HELLO")
        else:
            self.refuse("a line that is none of HELLO, AT, MARK, BYE")
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
        self.herd.journal.record_beginning(b"<", self.label, piece)
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
    maxDelay = 0.4
    factor = 2.0

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
            self.herd.tell("%s cannot be reached at %s, trying on: %s" % (
                self.name.decode("ascii"), lines.address_text(self.address), why))
            self.herd.flush()
        self._unreachable = (since, said)

    # ---- hello and goodbye

    def hello(self):
        # type: () -> lines.Hello
        self.herd.hellos += 1
        return lines.Hello(self.herd.name, self.name, self.herd.incarnation, self.herd.hellos,
                           self._known)

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
        while self.session is not None and not self.session.full and self._cursor < table.end:
            room, end = ROOM_BYTES, self._cursor
            for end, location, source in table.after(self._cursor):
                if source is self and end > self._floor:
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


class Door(protocol.ServerFactory):
    """Listens for clients, or for servers."""

    noisy = False

    def __init__(self, herd, kind, connections_max):
        # type: (Herd, Any, int) -> None
        self.herd = herd
        self._kind = kind
        self._connections_max = connections_max
        self._port = None  # type: Any
        self._shut = False

    def listen(self, address, whom):
        # type: (Tuple[str, int], str) -> None
        try:
            self._port = reactor.listenTCP(address[1], self, backlog=1024, interface=address[0])
            self.open_or_shut()
        except error.CannotListenError as why:
            raise StartError("%s cannot listen for %s on %s: %s" % (
                self.herd.name.decode("ascii"), whom, lines.address_text(address),
                why.socketError))

    def buildProtocol(self, addr):
        # type: (Any) -> Lines
        made = self._kind(self.herd)  # type: Lines
        return made

    def open_or_shut(self):
        # type: () -> None
        """Leaves those who come in the kernel's backlog while there is no descriptor for them."""
        left = self._connections_max - self.herd.connections
        if self._port is None:
            return
        self._port.numberAccepts = left  # it would take a hundred at a time, whatever we say here
        if (left <= 0) != self._shut:
            self._shut = left <= 0
            (self._port.stopReading if self._shut else self._port.startReading)()
            if self._shut:
                self.herd.say_full()

    def close(self):
        # type: () -> None
        if self._port is not None:
            self._port.stopListening()
            self._port = None


class StartError(Exception):
    """Why a server cannot start, in one line."""


class Herd(object):
    """One server of the herd."""

    def __init__(self, member, log_dir, twitter_url):
        # type: (lines.Member, str, str) -> None
        self.name = member.name.encode("ascii")
        self.incarnation = binascii.hexlify(os.urandom(8))
        self.hellos = 0
        self.table = Table()
        self.journal = Journal(os.path.join(log_dir, member.name + ".log"))
        self.twitter = Twitter(reactor, twitter_url)
        self.links = {}  # type: Dict[bytes, Link]
        for neighbour in member.neighbours:
            self.links[neighbour.name.encode("ascii")] = Link(self, neighbour)
        self.touched = []  # type: List[Lines]
        self.losing = []  # type: List[Lines]
        self.leaving = False
        self.connections = 0
        self._member = member
        self._lines = {}  # type: Dict[Lines, None]
        self._serial = 0
        self._flushing = False
        self._journaled = 0
        self._rewriting = None  # type: Any
        self._full_said = -60.0
        self._drained = None  # type: Optional[Deferred[None]]
        descriptors = _descriptors() - DESCRIPTORS_OWN
        for_servers = 2 * len(self.links) + STRANGERS_RESERVED
        self._doors = [Door(self, Client, max(1, descriptors - for_servers)),
                       Door(self, Peer, max(1, descriptors))]

    def start(self):
        # type: () -> None
        self._doors[0].listen(self._member.clients, "clients")
        self._doors[1].listen(self._member.servers, "servers")
        try:
            self.journal.open()
        except InUse as why:
            raise StartError("%s cannot use %s: another process writes it"
                             % (self._member.name, why))
        except EnvironmentError as why:
            self.journal.failing = True
            self.say("cannot use the log %s, serving on without: %s"
                     % (self.journal.path, why.strerror))
        log.addObserver(self.journal.observe)
        self.journal.note("started, incarnation %s at 0, 0 clients known"
                          % self.incarnation.decode("ascii"))
        for link in self.links.values():
            reactor.callLater(0 if link.first else 0.15, link.dial)
        task.LoopingCall(self._tick).start(TICK, now=False).addErrback(log.err)
        task.LoopingCall(self._retry_journal).start(1.0, now=False).addErrback(log.err)
        reactor.addSystemEventTrigger("before", "shutdown", self._leave)
        signal.signal(signal.SIGHUP, lambda *_: reactor.callFromThread(self._reopen))
        self.say("clients on %s, servers on %s" % (
            lines.address_text(self._member.clients), lines.address_text(self._member.servers)))
        self.flush()

    # ---- words

    def say(self, text):
        # type: (str) -> None
        try:
            sys.stderr.write("%s: %s\n" % (self._member.name, text))
            sys.stderr.flush()
        except EnvironmentError:
            pass  # a standard error that nobody reads is no reason to stop

    def tell(self, text):
        # type: (str) -> None
        self.say(text)
        self.journal.note(text)

    def say_full(self):
        # type: () -> None
        if reactor.seconds() >= self._full_said + 60:
            self._full_said = reactor.seconds()
            self.tell("connections have to wait: %d are open" % self.connections)

    # ---- connections

    def connected(self, connection):
        # type: (Lines) -> None
        self.set_time()
        self._lines[connection] = None
        self.connections += 1
        self._serial += 1
        peer = connection.transport.getPeer()
        if isinstance(connection, Peer):
            connection.name(b"s" + lines.decimal(self._serial))
        else:
            connection.label = b"c" + lines.decimal(self._serial)
        address = lines.address_text((peer.host, peer.port))
        connection.record(b"+", address.encode("ascii"))
        for door in self._doors:
            door.open_or_shut()
        self.flush()

    def disconnected(self, connection):
        # type: (Lines) -> None
        self._lines.pop(connection, None)
        self.connections -= 1
        if not self.leaving:
            for door in self._doors:
                door.open_or_shut()
        else:
            reactor.callLater(0, self._drain)

    def set_time(self):
        # type: () -> None
        """All that happens in a turn happens at one time."""
        self.journal.now = wall_nanos()

    def flush(self):
        # type: () -> None
        """Records first, then replies; then the neighbours hear what is news."""
        if self._flushing:
            return  # the outer one goes on
        self._flushing = True
        try:
            self.flush_out()
            for link in self.links.values():
                link.flood()
            self.flush_out()
        finally:
            self._flushing = False

    def flush_out(self):
        # type: () -> None
        while True:
            why = self.journal.commit()
            if why is not None:
                self.say("cannot write the log, serving on without: " + why)
            if not self.journal.failing and self._rewriting is None:
                self._journaled = self.table.end
            touched, self.touched = self.touched, []
            losing, self.losing = self.losing, []
            for connection in touched:
                connection.flush()
            for connection in losing:
                connection.really_lose()
            if not self.touched and not self.losing:
                return

    def _tick(self):
        # type: () -> None
        self.set_time()
        for link in self.links.values():
            link.tick()
        self.flush()

    # ---- the log

    def _retry_journal(self):
        # type: () -> None
        if self.journal.failing:
            self.set_time()
            self.flush()
            missing, fresh = self.journal.missing, self.journal.retry()
            if fresh is not None:
                self.say("the log is written again; %d records are missing" % missing)
                self._rewrite(0 if fresh else self._journaled)

    def _reopen(self):
        # type: () -> None
        self.set_time()
        self.flush()
        try:
            if self.journal.open():
                self._rewrite(0)
        except InUse:
            pass  # by ourselves: it has not been moved
        except EnvironmentError as why:
            self.say("cannot use the log %s: %s" % (self.journal.path, why.strerror))
        self.journal.note("the log was reopened")
        self.flush()

    def _rewrite(self, cursor):
        # type: (int) -> None
        """Writes what the log lacks, in slices, so that nobody waits for it."""
        if self._rewriting is not None:
            self._rewriting.stop()
        self._journaled = cursor

        def slices():
            # type: () -> Any
            while self._journaled < self.table.end and not self.journal.failing:
                self.set_time()
                end = self.table.end
                for count, (number, location, _) in enumerate(self.table.after(self._journaled)):
                    if count == 500:
                        break
                    self.journal.record(b"=", b"-", location.line)
                    end = number
                self.flush_out()
                if not self.journal.failing:
                    self._journaled = end
                yield None
            self._rewriting = None
            if not self.journal.failing:
                self.tell("the log holds all %d clients" % len(self.table))
                self.flush()
        self._rewriting = task.cooperate(slices())

    # ---- the way out

    def _leave(self):
        # type: () -> Deferred[None]
        """Replies under way still leave; the reactor stops when this fires."""
        self.set_time()
        self.leaving = True
        self.journal.note("told to stop")
        for door in self._doors:
            door.close()
        for link in self.links.values():
            link.stopTrying()
        self._drained = Deferred()
        reactor.callLater(DRAIN_MAX, self._stop)
        self._drain()
        return self._drained

    def _drain(self):
        # type: () -> None
        clients = [one for one in self._lines if isinstance(one, Client)]
        for client in clients:
            if not client.is_waiting:
                client.lose("the server stops")
        if not clients:
            for peer in list(self._lines):
                peer.lose("the server stops")
        self.flush()
        if not self._lines:
            self._stop()

    def _stop(self):
        # type: () -> None
        drained, self._drained = self._drained, None
        if drained is not None:
            self.set_time()
            self.journal.note("stopped")
            self.flush()
            self.say("stopped")
            drained.callback(None)


def _descriptors():
    # type: () -> int
    """How many we may have, after asking for as many as the system lets us."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        soft = hard
    except (ValueError, EnvironmentError):
        pass
    return soft if soft != resource.RLIM_INFINITY else 1 << 20


def _member(path, name):
    # type: (str, str) -> lines.Member
    try:
        with open(path, "rb") as file:
            members = lines.parse_topology(file.read())
    except EnvironmentError as why:
        raise StartError("cannot read the topology %s: %s" % (path, why.strerror))
    except lines.TopologyError as why:
        raise StartError("%s:%d: %s" % ((path,) + why.args))
    if name not in members:
        raise StartError("%s has no server %r, only: %s" % (path, name, ", ".join(members)))
    return members[name]


def main():
    # type: () -> int
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    commands = parser.add_subparsers(dest="command")
    commands.required = True
    serve = commands.add_parser("serve", help="run one server, in the foreground")
    serve.add_argument("name", help="which server of the topology to run")
    serve.add_argument("--topology", default="topology.txt", help="default: topology.txt")
    serve.add_argument("--log-dir", default="logs", help="where NAME.log goes; default: logs")
    serve.add_argument("--twitter-url", default="http://127.0.0.1:12599/search.json",
                       help="Twitter's search address; default: %(default)s")
    options = parser.parse_args()
    try:
        try:
            member = _member(options.topology, options.name)
            Herd(member, options.log_dir, options.twitter_url).start()
        except ValueError as why:
            raise StartError("--twitter-url %r: %s" % (options.twitter_url, why))
    except StartError as why:
        sys.stderr.write("herd: %s\n" % why)
        return 2
    reactor.run()
    return 0


if __name__ == "__main__":
    sys.exit(main())
