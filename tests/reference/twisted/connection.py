"""A connection: lines in, lines out, in bounded memory, half-closed or not."""

from collections import deque

from twisted.internet import protocol, reactor as _reactor
from twisted.internet.interfaces import IHalfCloseableProtocol, IPushProducer
from zope.interface import implementer

MYPY = False
if MYPY:
    from typing import Any, Deque, List
    from twisted.python.failure import Failure
    from herd import Herd

reactor = _reactor  # type: Any

KEPT_BYTES_MAX = 64 * 1024  # of lines that wait, before a client is not read any longer
OUT_BYTES = 64 * 1024  # of replies, before they are handed to the transport
LINGER = 0.25  # seconds for who is closed to read why, before what it still says resets it


@implementer(IHalfCloseableProtocol, IPushProducer)
class Lines(protocol.Protocol, object):
    """Lines ending in LF, in bounded memory, whatever their length.

    LineReceiver copies the rest of its buffer for each line, gives up on one that is too long, and
    drops what has no LF when the peer ends.
    """

    line_bytes_max = 0
    end_ends_line = False  # whether the peer's end (FIN) ends a line, as a LF does
    label = b""  # how the log names the connection
    transport = None  # type: Any # which is None, or no more than ITransport, to the annotations

    def __init__(self, herd):
        # type: (Herd) -> None
        self.herd = herd
        self.waiting_lines = deque()  # type: Deque[bytes]
        self.out = []  # type: List[bytes]
        self._out_bytes = 0
        self.full = False  # the transport has more than it likes to hold
        self.ended = False  # the peer will say no more
        self.deaf = ""  # why what else it says is not heard
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
        if self.closing or self.deaf:
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
        done = (self.ended or self.deaf) and not self.waiting_lines and not self.is_held()
        if done and not self.closing and not self.is_waiting():
            if self._kept:
                self.record(b"*", ("%d bytes after the last LF were discarded"
                                   % len(self._kept)).encode("ascii"))
            self.end_received()
        self._read_or_not()

    def stop_hearing(self, why):
        # type: (str) -> None
        """It gets what replies it is owed, and then we close, though it has not ended."""
        self.deaf = why
        self.waiting_lines.clear()
        self._kept = bytearray()

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

    def is_waiting(self):
        # type: () -> bool
        """Whether something is still to be said to a peer that has ended."""
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
            unended = self._kept or (self._overlong and not self.waiting_lines)
            if self.end_ends_line and unended:
                self.waiting_lines.append(bytes(self._kept))
                self._kept = bytearray()
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
        self.herd.records.record(direction, self.label, text)

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
        # what we said last: so the end is said first, and the rest read and thrown away for a bit.
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
