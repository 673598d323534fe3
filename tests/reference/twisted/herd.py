#!/usr/bin/env python
"""One server of the herd on Twisted: `herd.py serve NAME [options]`.

Runs on CPython 3 with the current Twisted, and on Python 2.7 with Twisted 12.3.0, the versions of
the assignment. It has no memory but its own: after a restart its neighbours tell it. Whatever
happens is handled by a method that ends with `Herd.flush`: the records of it are handed to the
kernel, and then the replies and the news for the neighbours leave.
"""

import argparse
import binascii
import os
import resource
import signal
import sys

from twisted.internet import error, protocol, reactor as _reactor, task
from twisted.internet.defer import Deferred
from twisted.python import log

import lines
from clients import Client
from connection import LINGER
from records import Records, wall_nanos
from links import Link, Peer
from table import Table
from tweets import Twitter

MYPY = False
if MYPY:
    from typing import Any, Dict, List, Optional, Tuple
    from twisted.python.failure import Failure
    from connection import Lines

reactor = _reactor  # type: Any

TICK = 0.25  # seconds; how often links are looked at
DRAIN_MAX = 5.0  # seconds for replies under way, once told to stop
DESCRIPTORS_OWN = 32
STRANGERS_RESERVED = 8


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


def _unexpected(reason):
    # type: (Failure) -> None
    log.err(reason)


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
        self.records = Records(os.path.join(log_dir, member.name + ".log"))
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
            self.records.open()
        except EnvironmentError as why:
            self.records.failing = True
            self.say("cannot use the log %s, serving on without: %s"
                     % (self.records.path, why.strerror))
        log.addObserver(self.records.observe)
        self.records.note("started, incarnation " + self.incarnation.decode("ascii"))
        for link in self.links.values():
            reactor.callLater(0 if link.first else 0.15, link.dial)
        task.LoopingCall(self._tick).start(TICK, now=False).addErrback(_unexpected)
        task.LoopingCall(self._retry_records).start(1.0, now=False).addErrback(_unexpected)
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
        self.records.note(text)

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
        peer = connection.transport.getPeer()  # type: Any
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
        self.records.now = wall_nanos()

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
            why = self.records.commit()
            if why is not None:
                self.say("cannot write the log, serving on without: " + why)
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

    def _retry_records(self):
        # type: () -> None
        if self.records.failing:
            self.set_time()
            self.flush()
            missing = self.records.missing
            if self.records.retry():
                self.say("the log is written again; %d records are missing" % missing)

    def _reopen(self):
        # type: () -> None
        self.set_time()
        self.flush()
        try:
            self.records.open()
        except EnvironmentError as why:
            self.say("cannot use the log %s: %s" % (self.records.path, why.strerror))
        self.records.note("the log was reopened")
        self.flush()

    # ---- the way out

    def _leave(self):
        # type: () -> Deferred[None]
        """Replies under way still leave; the reactor stops when this fires."""
        self.set_time()
        self.leaving = True
        self.records.note("told to stop")
        for door in self._doors:
            door.close()
        for link in self.links.values():
            link.stopTrying()
        self._drained = Deferred()
        reactor.callLater(DRAIN_MAX, self._give_up)
        self._drain()
        return self._drained

    def _drain(self):
        # type: () -> None
        clients = [one for one in self._lines if isinstance(one, Client)]
        for client in clients:
            if not client.is_waiting():
                client.lose("the server stops")
        if not clients:
            for peer in list(self._lines):
                peer.lose("the server stops")
        self.flush()
        if not self._lines:
            self._stop()

    def _give_up(self):
        # type: () -> None
        """Who still waits for Twitter is told so; then all have a moment to read their last."""
        for client in [one for one in self._lines if isinstance(one, Client)]:
            client.give_up("the server stops")
        reactor.callLater(2 * LINGER, self._stop)

    def _stop(self):
        # type: () -> None
        drained, self._drained = self._drained, None
        if drained is not None:
            self.set_time()
            self.records.note("stopped")
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
    if not members:
        raise StartError("%s names no server" % path)
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
    serve.add_argument("--data-dir", default="data",
                       help="taken and not used: nothing is remembered over a restart")
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
