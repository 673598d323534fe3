"""The lines: what clients say, what servers say to each other, and who is in the herd.

Pure: bytes in, values out. All numbers are integers: a float cannot hold 1353118103.108893381.
"""

import re

MYPY = False
if MYPY:  # Python 2.7 has no typing
    from typing import Any, Dict, List, Optional, Tuple

# The longest line a client may say, LF not counted; and a neighbour, whose AT is somewhat longer.
LINE_BYTES_MAX = 65536
LINK_LINE_BYTES_MAX = LINE_BYTES_MAX + 128

BOUND_MAX = 100  # tweets
NANOS = 10 ** 9

# \Z and not $, which would let a LF pass; [0-9] and not \d, which in text is any script's digit.
_NAME = re.compile(br"[A-Za-z0-9_-]{1,64}\Z")
_POSITION = re.compile(br"([+-][0-9]{2}(?:\.[0-9]+)?)([+-][0-9]{3}(?:\.[0-9]+)?)/?\Z")
_TIME = re.compile(br"([0-9]{1,18})(?:\.([0-9]{1,9}))?\Z")
_ERASED_TIME = re.compile(br"(?:0|[1-9][0-9]{0,17})\.[0-9]{9}\Z")
_DIFFERENCE = re.compile(br"([+-])(0|[1-9][0-9]{0,17})\.([0-9]{9})\Z")
_RADIUS = re.compile(br"[0-9]+(?:\.[0-9]+)?\Z")
_BOUND = re.compile(br"0*([0-9]{1,3})\Z")
_NUMBER = re.compile(br"0*([0-9]{1,20})\Z")
_INCARNATION = re.compile(br"[0-9a-f]{16}\Z")
_HTTP = re.compile(br"HTTP/1\.[0-9]\Z")

# Which lines of a link are understood: it stands before the last 15 digits of a HELLO's serial. With 1
# there is CLOCK, with 2 ERASED.
MINOR = 2
SERIALS_PER_MINOR = 10 ** 15

HTTP_END_BYTES = 16  # of a line too long to be kept: enough to see ` HTTP/1.1` and a CR


def decimal(number):
    # type: (int) -> bytes
    return str(number).encode("ascii")


class Location(object):
    """One report of a client's location, as the AT line that carries it; or that the client is erased,
    as an ERASED line."""

    __slots__ = ("line", "client", "latitude", "longitude", "recency")

    def __init__(self, line, client, degrees, recency):
        # type: (bytes, bytes, Tuple[bytes, bytes], Tuple[int, bool, int, bytes, bytes, bytes]) -> None
        self.line = line
        self.client = client
        self.latitude, self.longitude = degrees
        # Which of two is newer is the order of these, the same on every server: effective time, whether
        # it is an erasure, receipt, server, location, the time's digits.
        self.recency = recency

    def is_erasure(self):
        # type: () -> bool
        return self.recency[1]


def _degrees(position):
    # type: (bytes) -> Optional[Tuple[bytes, bytes]]
    found = _POSITION.match(position)
    if found is None:
        return None
    for text, digits, limit in ((found.group(1), 3, 90), (found.group(2), 4, 180)):
        whole = int(text[1:digits])
        if whole > limit or (whole == limit and text[digits:].strip(b".0")):
            return None
    return found.group(1), found.group(2)


def _nanos(time):
    # type: (bytes) -> Optional[int]
    found = _TIME.match(time)
    if found is None:
        return None
    return int(found.group(1)) * NANOS + int((found.group(2) or b"").ljust(9, b"0"))


def _location(server, difference, client, position, time, line=None):
    # type: (bytes, int, bytes, bytes, bytes, Optional[bytes]) -> Optional[Location]
    degrees, sent = _degrees(position), _nanos(time)
    if degrees is None or sent is None:
        return None
    if line is None:
        line = b" ".join((b"AT", server, _difference(difference), client, position, time))
    receipt = sent + difference
    return Location(line, client, degrees,
                    (min(sent, receipt), False, receipt, server, position, time))


def _difference(nanos):
    # type: (int) -> bytes
    whole, fraction = divmod(abs(nanos), NANOS)
    return ("%s%d.%09d" % ("-" if nanos < 0 else "+", whole, fraction)).encode("ascii")


def iamat(fields, server, now):
    # type: (List[bytes], bytes, int) -> Optional[Location]
    """The report of `IAMAT <client-id> <location> <time>`, received by `server` at `now` ns."""
    if len(fields) != 4 or fields[0] != b"IAMAT":
        return None
    sent = _nanos(fields[3])
    return sent is not None and _location(server, now - sent, *fields[1:]) or None


def whatsat(fields):
    # type: (List[bytes]) -> Optional[Tuple[bytes, bytes, int]]
    """Client, radius and bound of `WHATSAT <client-id> <radius-km> <bound>`."""
    if len(fields) != 4 or fields[0] != b"WHATSAT" or not _RADIUS.match(fields[2]):
        return None
    # Zeros in front go first: Python refuses to make an int of 64 KiB of digits.
    bound = _BOUND.match(fields[3])
    if bound is None or int(bound.group(1)) > BOUND_MAX:
        return None
    return fields[1], fields[2], int(bound.group(1))


def is_http(fields):
    # type: (List[bytes]) -> bool
    """`METHOD target HTTP/1.x`: somebody takes us for a web server, and a body is to follow."""
    return len(fields) == 3 and _HTTP.match(fields[2]) is not None


def is_end_of_http(end):
    # type: (bytes) -> bool
    """The same of the end of a line that is too long to be kept."""
    fields = end.split()
    return len(fields) > 0 and _HTTP.match(fields[-1]) is not None


def parse_at(line):
    # type: (bytes) -> Optional[Location]
    """Reads exactly the form in which an AT line is written: one report has one text."""
    fields = line.split(b" ")
    if len(fields) != 6 or fields[0] != b"AT":
        return None
    _, server, difference, client, position, time = fields
    found = _DIFFERENCE.match(difference)
    # No longer than an IAMAT can be, so that whatever one server takes in all can pass on.
    iamat_bytes = len(b"IAMAT   ") + len(client) + len(position) + len(time)
    if (found is None or difference == b"-0.000000000" or not _NAME.match(server)
            or client.split() != [client] or iamat_bytes > LINE_BYTES_MAX):
        return None
    nanos = int(found.group(2)) * NANOS + int(found.group(3))
    return _location(server, -nanos if found.group(1) == b"-" else nanos,
                     client, position, time, line)


def parse_erased(line):
    # type: (bytes) -> Optional[Location]
    """The same of an ERASED line."""
    fields = line.split(b" ")
    if len(fields) != 4 or fields[0] != b"ERASED":
        return None
    _, server, client, time = fields
    if (not _NAME.match(server) or client.split() != [client] or not _ERASED_TIME.match(time)
            or len(b"IAMAT  +00+000 1") + len(client) > LINE_BYTES_MAX):
        return None
    nanos = _nanos(time) or 0
    return Location(line, client, (b"", b""), (nanos, True, nanos, server, b"", b""))


def plain_decimal(text):
    # type: (bytes) -> bytes
    """A checked decimal without `+`, leading zeros, or zeros that end a fraction."""
    whole, _, fraction = text.lstrip(b"+-").partition(b".")
    whole, fraction = whole.lstrip(b"0"), fraction.rstrip(b"0")
    plain = (whole or b"0") + (b"." + fraction if fraction else b"")
    return b"-" + plain if text[:1] == b"-" and (whole or fraction) else plain


def parse_number(text):
    # type: (bytes) -> Optional[int]
    """Decimal digits that fit 64 bits."""
    found = _NUMBER.match(text)
    number = int(found.group(1)) if found else 1 << 64
    return number if number < 1 << 64 else None


class Hello(object):
    """`HELLO herd/1 <from> <to> <incarnation> <serial> <known> <number>`."""

    def __init__(self, sender, to, incarnation, serial, known):
        # type: (bytes, bytes, bytes, int, Optional[Tuple[bytes, int]]) -> None
        self.sender = sender
        self.to = to
        self.incarnation = incarnation
        self.serial = serial
        self.known = known  # the listener's incarnation, and a number of its feed

    def line(self):
        # type: () -> bytes
        incarnation, number = self.known or (b"-", 0)
        return b" ".join((b"HELLO herd/1", self.sender, self.to, self.incarnation,
                          decimal(self.serial), incarnation, decimal(number)))


class Malformed(Exception):
    """A line of a link that makes no sense; says why."""


def parse_hello(line):
    # type: (bytes) -> Hello
    fields = line.split(b" ")
    if fields[1:2] != [b"herd/1"]:
        raise Malformed("a HELLO of another version than herd/1")
    if len(fields) == 8:
        _, _, sender, to, incarnation, serial_text, known, number_text = fields
        serial, number = parse_number(serial_text), parse_number(number_text)
        if (_NAME.match(sender) and _NAME.match(to) and _INCARNATION.match(incarnation)
                and (known == b"-" or _INCARNATION.match(known))
                and serial is not None and number is not None):
            mark = None if known == b"-" else (known, number)
            return Hello(sender, to, incarnation, serial, mark)
    raise Malformed("a malformed HELLO line")


class TopologyError(Exception):
    """A bad topology file: the line, counted from 1, and what is wrong with it."""


class Member(object):
    """One server of the herd: its name, where clients and servers connect, its neighbours."""

    def __init__(self, name, clients, servers):
        # type: (str, Tuple[str, int], Tuple[str, int]) -> None
        self.name = name
        self.clients = clients
        self.servers = servers
        self.neighbours = []  # type: List[Member]


def address_text(address):
    # type: (Tuple[str, int]) -> str
    return ("[%s]:%d" if ":" in address[0] else "%s:%d") % address


def _address(text):
    # type: (str) -> Tuple[str, int]
    host, _, port = text.rpartition(":")
    bracketed = host.startswith("[") and host.endswith("]")
    if not host or (":" in host and not bracketed):
        raise ValueError("%r is no address: host:port is wanted, an IPv6 host in [brackets]"
                         % text)
    if not re.match("[0-9]{1,9}\\Z", port) or not 1 <= int(port) <= 65535:
        raise ValueError("%r has no port from 1 to 65535 after the colon" % text)
    return host.strip("[]").lower(), int(port)


def _server_name(text):
    # type: (str) -> str
    if not _NAME.match(text.encode("utf-8")):
        raise ValueError("%r is no name: 1 to 64 of A-Z a-z 0-9 _ - are wanted" % text[:80])
    return str(text)


def parse_topology(text):
    # type: (bytes) -> Dict[str, Member]
    """The members by name. A link that either side names is one link."""
    members = {}  # type: Dict[str, Member]
    links = []  # type: List[Tuple[int, Member, str]]
    taken = set()  # type: Any
    number = 0
    try:
        for number, line in enumerate(text.split(b"\n"), 1):
            fields = line.partition(b"#")[0].decode("utf-8").split()
            if not fields:
                continue
            name = _server_name(fields[0])
            if name in members:
                raise ValueError("the name %s is used twice" % name)
            if len(fields) < 3:
                raise ValueError("%s wants two addresses (host:port): clients', servers'" % name)
            member = Member(name, _address(fields[1]), _address(fields[2]))
            for address in (member.clients, member.servers):
                if address in taken:
                    raise ValueError("the address %s is used twice" % address_text(address))
                taken.add(address)
            # Attributes (http=, tls=, key=) are of what only the program in Rust has.
            for other in [_server_name(field) for field in fields[3:] if "=" not in field]:
                if other == name:
                    raise ValueError("%s is its own neighbour" % name)
                links.append((number, member, other))
            members[name] = member
        for number, member, other in links:
            if other not in members:
                raise ValueError("%s has a neighbour %s, but no line names %s"
                                 % (member.name, other, other))
            for one, two in ((member, members[other]), (members[other], member)):
                if two not in one.neighbours:
                    one.neighbours.append(two)
    except UnicodeDecodeError:
        raise TopologyError(number, "the line is not UTF-8 text")
    except ValueError as error:
        raise TopologyError(number, str(error))
    return members
