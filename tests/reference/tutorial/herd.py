#!/usr/bin/env python
"""A server of the herd as Twisted's tutorial teaches it, in an afternoon: LineReceiver for the lines,
ReconnectingClientFactory for the neighbours, Agent for Twitter. Runs on Twisted 12.3.0 and today's.

It is not to be used: README.md beside it says what it gets wrong, as the black-box tests see it.
"""
import argparse
import json
import os
import sys
import time

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.protocol import Factory, Protocol, ReconnectingClientFactory
from twisted.protocols.basic import LineReceiver
from twisted.python import log
from twisted.web.client import Agent
from twisted.web.http_headers import Headers


class Body(Protocol):
    def __init__(self, finished):
        self.finished, self.data = finished, b""

    def dataReceived(self, data):
        self.data += data

    def connectionLost(self, reason):
        self.finished.callback(self.data)


class HerdProtocol(LineReceiver):
    """Clients and neighbours speak lines, and so one protocol does for both."""
    delimiter = b"\n"

    def __init__(self, server):
        self.server = server

    def lineReceived(self, line):
        log.msg("in: %r" % line)
        fields = line.split()
        try:
            handler = getattr(self, "handle_" + fields[0].decode("ascii"))
        except (AttributeError, IndexError, UnicodeDecodeError):
            return self.invalid(line)
        handler(line, fields)

    def reply(self, line):
        log.msg("out: %r" % line)
        self.sendLine(line)

    def invalid(self, line):
        self.reply(b"? " + line)

    def handle_IAMAT(self, line, fields):
        try:
            _, client, location, sent = fields
            difference = "%+.9f" % (time.time() - float(sent))
            split_location(location)
        except ValueError:
            return self.invalid(line)
        at = b" ".join((b"AT", self.server.name, difference.encode("ascii"), client, location, sent))
        self.server.update(at)
        self.reply(at)

    def handle_WHATSAT(self, line, fields):
        try:
            _, client, radius, bound = fields
            at, bound = self.server.clients[client], int(bound)
            float(radius)
        except (ValueError, KeyError):
            return self.invalid(line)
        if bound > 100:
            return self.invalid(line)
        latitude, longitude = split_location(at.split()[4])
        query = "?q=&geocode=%s,%s,%skm&rpp=%d" % (latitude, longitude, radius.decode("ascii"), bound)
        url = self.server.twitter_url + query
        answer = Agent(reactor).request(b"GET", url.encode("ascii"), Headers({}), None)
        answer.addCallback(self.got_response)
        answer.addCallback(self.got_tweets, at, bound)
        answer.addErrback(log.err)

    def got_response(self, response):
        finished = Deferred()
        response.deliverBody(Body(finished))
        return finished

    def got_tweets(self, body, at, bound):
        tweets = json.loads(body.decode("utf-8"))
        tweets["results"] = tweets["results"][:bound]
        self.reply(at)
        self.reply(json.dumps(tweets).encode("ascii"))

    def handle_AT(self, line, fields):
        self.server.update(line)

    def handle_HELLO(self, line, fields):
        if not self.server.is_neighbour(self):
            self.reply(self.server.hello(fields[2]))

    def handle_MARK(self, line, fields):
        pass


def split_location(location):
    text = location.decode("ascii")
    at = max(text.rfind("+"), text.rfind("-"))
    return float(text[:at]), float(text[at:])


class HerdFactory(Factory):
    def __init__(self, server):
        self.server = server

    def buildProtocol(self, addr):
        return HerdProtocol(self.server)


class NeighbourFactory(ReconnectingClientFactory):
    def __init__(self, server, name):
        self.server, self.name, self.connection = server, name, None

    def buildProtocol(self, addr):
        self.resetDelay()
        self.connection = NeighbourProtocol(self.server)
        self.connection.factory = self
        return self.connection

    def clientConnectionLost(self, connector, reason):
        self.connection = None
        sys.stderr.write("%s: link to %s is down\n" % (self.server.name.decode("ascii"), self.name))
        ReconnectingClientFactory.clientConnectionLost(self, connector, reason)


class NeighbourProtocol(HerdProtocol):
    def connectionMade(self):
        self.reply(self.server.hello(self.factory.name.encode("ascii")))
        sys.stderr.write("%s: link to %s is up\n" % (self.server.name.decode("ascii"), self.factory.name))


class Server(object):
    def __init__(self, name, topology, twitter_url):
        self.name, self.twitter_url, self.clients = name.encode("ascii"), twitter_url, {}
        rows = [line.partition("#")[0].split() for line in open(topology)]
        rows = dict((row[0], row[1:]) for row in rows if row)
        pairs = [(one, two) for one in rows for two in rows[one][2:] if "=" not in two]
        self.neighbours = []
        for port, factory in zip(rows[name][:2], (HerdFactory(self), HerdFactory(self))):
            reactor.listenTCP(int(port.rpartition(":")[2]), factory, interface="127.0.0.1")
        for other in set([b for a, b in pairs if a == name] + [a for a, b in pairs if b == name]):
            factory = NeighbourFactory(self, other)
            self.neighbours.append(factory)
            host, _, port = rows[other][1].rpartition(":")
            reactor.connectTCP(host, int(port), factory)
        sys.stderr.write("%s: clients on %s, servers on %s\n" % ((name,) + tuple(rows[name][:2])))

    def is_neighbour(self, connection):
        return any(factory.connection is connection for factory in self.neighbours)

    def hello(self, to):
        return b" ".join((b"HELLO herd/1", self.name, to, b"%016x" % id(self), b"1 - 0"))

    def update(self, at):
        client, sent = at.split()[3], float(at.split()[5])
        known = self.clients.get(client)
        if known is not None and float(known.split()[5]) >= sent:
            return  # an old one, and what ends the flood
        self.clients[client] = at
        for factory in self.neighbours:
            if factory.connection is not None:
                factory.connection.reply(at)


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("command", choices=["serve"])
    parser.add_argument("name")
    for option in ("topology", "log-dir", "data-dir", "twitter-url"):
        parser.add_argument("--" + option)
    options = parser.parse_args()
    if not os.path.isdir(options.log_dir):
        os.makedirs(options.log_dir)
    log.startLogging(open(os.path.join(options.log_dir, options.name + ".log"), "a"), setStdout=False)
    Server(options.name, options.topology, options.twitter_url)
    reactor.run()
