"""Twitter's search, asked for tweets round a place; its answer made into one line of JSON."""

import json
import re
from collections import OrderedDict, deque

from twisted.internet import defer, protocol
from twisted.internet.endpoints import TCP4ClientEndpoint
from twisted.python import failure
from twisted.web.client import Agent, HTTPConnectionPool, ResponseDone
from twisted.web.http import PotentialDataLoss
from twisted.web.http_headers import Headers
from zope.interface import implementer

from lines import decimal, plain_decimal

MYPY = False
if MYPY:
    from typing import Any, Deque, Dict, List, Optional, Tuple

BODY_BYTES_MAX = 4 << 20
ANSWER_TIMEOUT = 10.0  # seconds, from a client's question on
JOIN_MAX = 5.0  # a question open for longer is asked anew, so that who joins has time left
WAITING_MAX = 1024  # questions of clients
REQUESTS_MAX = 8  # at a time

_URL = re.compile(r"(https?://(?:\[[0-9A-Fa-f:.]+\]|[^\s/?#:@\[\]]+)(?::[0-9]{1,5})?)(/[^\s?#]*)?"
                  r"(\?[^\s#]*)?(?:#\S*)?\Z")

_TOKEN = re.compile(
    br'[ \t\r\n]*(?:'
    br'([\[\]{},:])'
    br'|("[^"\\\x00-\x1f]*(?:\\(?:["\\/bfnrt]|u[0-9A-Fa-f]{4})[^"\\\x00-\x1f]*)*")'
    br'|(-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?|true|false|null)'
    br')[ \t\r\n]*')


class NotJSON(ValueError):
    pass


def _surplus(body, bound):
    # type: (bytes, int) -> List[Tuple[int, int]]
    """Checks that `body` is JSON; gives where results beyond `bound` stand, with their commas.

    Not by `json`, which recurses with the depth of what it reads, takes NaN, refuses numbers of
    more than 4,300 digits, and does not say where a value stood.
    """
    surplus, key = [], b""
    stack = []  # type: List[bytes]
    within, elements, kept, last = False, 0, 0, 0  # of the results
    at, end, wanted = 0, len(body), "value"
    while at < end:
        found = _TOKEN.match(body, at)
        if found is None:
            raise NotJSON()
        at, (mark, string, scalar) = found.end(), found.groups()
        closed = False
        if string and wanted in ("key", "key or }"):
            key, wanted = string, ":"
            continue
        if (string or scalar) and wanted in ("value", "value or ]"):
            closed = True
        elif mark in (b"[", b"{") and wanted in ("value", "value or ]"):
            if len(stack) == 1 and mark == b"[" and stack == [b"{"] and _is_results(key):
                within, elements, kept, last = True, 0, found.end(1), found.end(1)
            stack.append(mark)
            wanted = "value or ]" if mark == b"[" else "key or }"
        elif mark == b":" and wanted == ":":
            wanted = "value"
        elif mark == b"," and wanted == "more":
            wanted = "value" if stack[-1] == b"[" else "key"
        elif (mark == b"]" and wanted in ("value or ]", "more") and stack[-1] == b"["
              or mark == b"}" and wanted in ("key or }", "more") and stack[-1] == b"{"):
            stack.pop()
            closed = True
            if within and len(stack) == 1:
                within = False
                if elements > bound:
                    surplus.append((kept, last))
        else:
            raise NotJSON()
        if closed:
            wanted = "more" if stack else "nothing"
            if within and len(stack) == 2:
                elements, last = elements + 1, found.end(found.lastindex or 0)
                kept = last if elements <= bound else kept
    if wanted != "nothing":
        raise NotJSON()
    return surplus


def _is_results(key):
    # type: (bytes) -> bool
    return bool(json.loads(key.decode("utf-8")) == u"results")


def one_line(body, bound):
    # type: (bytes, int) -> bytes
    """The answer byte for byte, but on one line and with at most `bound` results."""
    try:
        body.decode("utf-8")
    except UnicodeDecodeError:
        raise NotJSON()
    pieces, at = [], 0
    for start, end in _surplus(body, bound):
        pieces.append(body[at:start])
        at = end
    pieces.append(body[at:])
    # Within a string a CR or LF is always escaped, so any that is left is between tokens.
    return b"".join(pieces).replace(b"\r", b"").replace(b"\n", b"")


def error_line(why):
    # type: (str) -> bytes
    return json.dumps({"error": why}, separators=(",", ":")).encode("ascii")


class TooLong(Exception):
    pass


class _Body(protocol.Protocol):
    """Gathers a response's body, as far as that is bearable."""

    def __init__(self, done):
        # type: (defer.Deferred[bytes]) -> None
        self._done = done  # type: Optional[defer.Deferred[bytes]]
        self._pieces = []  # type: List[bytes]
        self._left = BODY_BYTES_MAX

    def dataReceived(self, data):
        # type: (bytes) -> None
        self._left -= len(data)
        if self._left < 0:
            self.stop(TooLong())
        elif self._done is not None:
            self._pieces.append(data)

    def stop(self, why):
        # type: (Exception) -> None
        """Hangs up."""
        done, self._done = self._done, None
        if done is not None:
            self.transport.stopProducing()  # type: ignore[union-attr]
            done.errback(failure.Failure(why))

    def connectionLost(self, reason=protocol.connectionDone):
        # type: (failure.Failure) -> None
        done, self._done = self._done, None
        if done is None:
            return
        # The second is an end without a length that would confirm it, as of HTTP/1.0.
        if reason.check(ResponseDone, PotentialDataLoss):
            done.callback(b"".join(self._pieces))
        else:
            done.errback(reason)


def _agent(reactor, host, pool):
    # type: (Any, str, HTTPConnectionPool) -> Agent
    literal = re.match(r"http://[0-9]+(?:\.[0-9]+){3}(?::[0-9]+)?\Z", host)
    if not literal or not hasattr(Agent, "usingEndpointFactory"):
        return Agent(reactor, connectTimeout=ANSWER_TIMEOUT, pool=pool)
    # Since it took to HostnameEndpoint, an Agent has threads look up every host, 127.0.0.1 too, and
    # waits 0.3 s for another address before it says that a connection was refused.
    from twisted.web.iweb import IAgentEndpointFactory

    @implementer(IAgentEndpointFactory)
    class AtAddress(object):
        def endpointForURI(self, uri):
            # type: (Any) -> TCP4ClientEndpoint
            return TCP4ClientEndpoint(reactor, uri.host.decode("ascii"), uri.port, ANSWER_TIMEOUT)
    agent = Agent.usingEndpointFactory(reactor, AtAddress(), pool)  # type: Agent
    return agent


class _Question(object):
    def __init__(self, query, asked_at):
        # type: (Tuple[bytes, bytes, bytes, int], float) -> None
        self.query = query
        self.asked_at = asked_at
        self.waiting = OrderedDict()  # type: Dict[Any, Tuple[defer.Deferred[bytes], Any]]
        self.request = None  # type: Any
        self.body = None  # type: Optional[_Body]


class Twitter(object):
    """Asks; equal questions at about the same time are one."""

    def __init__(self, reactor, url):
        # type: (Any, str) -> None
        found = _URL.match(url)
        if found is None:
            raise ValueError("http://host or https://host is wanted")
        host, path, query = found.groups()
        start = host + (path or "/") + (query + "&" if query else "?") + "q=&geocode="
        self._start = start.encode("ascii")
        self._reactor = reactor
        pool = HTTPConnectionPool(reactor)
        pool.maxPersistentPerHost = REQUESTS_MAX
        self._agent = _agent(reactor, host, pool)
        self._open = {}  # type: Dict[Tuple[bytes, bytes, bytes, int], _Question]
        self._asked = {}  # type: Dict[Any, _Question]
        self._queue = deque()  # type: Deque[_Question]
        self._requests = 0

    def ask(self, asker, place, radius, bound):
        # type: (Any, Tuple[bytes, bytes], bytes, int) -> defer.Deferred[bytes]
        """A line of JSON, whatever happens. `asker` stands for this question alone."""
        if len(self._asked) >= WAITING_MAX:
            return defer.succeed(error_line("too many questions are waiting for Twitter"))
        query = (plain_decimal(place[0]), plain_decimal(place[1]), plain_decimal(radius), bound)
        now = self._reactor.seconds()
        question = self._open.get(query)
        if question is None or now >= question.asked_at + JOIN_MAX:
            question = self._open[query] = _Question(query, now)
            self._queue.append(question)
        answer = defer.Deferred()  # type: defer.Deferred[bytes]
        timeout = self._reactor.callLater(ANSWER_TIMEOUT, self._overdue, asker)
        question.waiting[asker] = (answer, timeout)
        self._asked[asker] = question
        self._go_on()
        return answer

    def leave(self, asker):
        # type: (Any) -> Optional[defer.Deferred[bytes]]
        """Forgets an asker, and with the last one the question."""
        question = self._asked.pop(asker, None)
        if question is None:
            return None
        answer, timeout = question.waiting.pop(asker)
        if timeout.active():
            timeout.cancel()
        if not question.waiting:
            self._close(question)
            if question.body is not None:
                question.body.stop(defer.CancelledError())
            elif question.request is not None:
                question.request.cancel()
            else:
                self._queue.remove(question)
        return answer

    def _overdue(self, asker):
        # type: (Any) -> None
        self.give_up(asker, "Twitter did not answer within 10 seconds")

    def give_up(self, asker, why):
        # type: (Any, str) -> None
        """Answers an asker that still waits by an error."""
        answer = self.leave(asker)
        if answer is not None:
            answer.callback(error_line(why))

    def _close(self, question):
        # type: (_Question) -> None
        if self._open.get(question.query) is question:
            del self._open[question.query]

    def _go_on(self):
        # type: () -> None
        while self._queue and self._requests < REQUESTS_MAX:
            self._requests += 1
            self._request(self._queue.popleft())

    def _request(self, question):
        # type: (_Question) -> None
        latitude, longitude, radius, bound = question.query
        url = b"".join((self._start, latitude, b"%2C", longitude, b"%2C", radius, b"km&rpp=",
                        decimal(bound)))
        headers = Headers({b"User-Agent": [b"herd-twisted/0.1.0"]})
        question.request = self._agent.request(b"GET", url, headers, None)
        question.request.addCallback(self._read, question)
        question.request.addErrback(self._fail)
        question.request.addCallback(self._answer, question)

    def _read(self, response, question):
        # type: (Any, _Question) -> defer.Deferred[bytes]
        done = defer.Deferred()  # type: defer.Deferred[bytes]
        question.body = _Body(done)
        response.deliverBody(question.body)

        def on_one_line(body):
            # type: (bytes) -> bytes
            try:
                return one_line(body, question.query[3])
            except NotJSON:
                return error_line("Twitter's answer (HTTP status %d) is not JSON" % response.code)
        return done.addCallback(on_one_line)

    def _fail(self, reason):
        # type: (failure.Failure) -> bytes
        if reason.check(TooLong):
            return error_line("Twitter's answer is over %d bytes" % BODY_BYTES_MAX)
        return error_line("Twitter cannot be had: %s" % type(reason.value).__name__)

    def _answer(self, line, question):
        # type: (bytes, _Question) -> None
        self._requests -= 1
        self._close(question)
        waiting = question.waiting
        question.waiting = OrderedDict()
        for asker, (answer, timeout) in waiting.items():
            del self._asked[asker]
            timeout.cancel()
            answer.callback(line)
        self._go_on()
