"""The log, NAME.log, in herd's own format: what came in and went out, one record a line. It is
for people, and never read again.

Records are gathered and handed to the kernel by `commit`, before the replies they tell of leave.
They do not go through twisted.python.log, which would make an event of each and show it to every
observer; what Twisted itself has to say comes in through `observe`.
"""

import errno
import fcntl
import os
import re
import stat
import sys
import time

from twisted.python import log

MYPY = False
if MYPY:
    from typing import Any, Dict, List, Match, Optional

WHOLE_BYTES_MAX = 64 * 1024  # longer lines are not logged whole, but for AT lines
BEGINNING_BYTES = 1024

_SPECIAL = re.compile(br"[^ -\[\]-~]")  # a backslash, and what is not printable ASCII

if hasattr(time, "time_ns"):
    wall_nanos = time.time_ns
else:
    def wall_nanos():
        # type: () -> int
        """Python 2 has a float, of the microseconds that gettimeofday(2) gave it."""
        return int(round(time.time() * 1e6)) * 1000


def _escape(found):
    # type: (Match[bytes]) -> bytes
    byte = found.group()
    return b"\\\\" if byte == b"\\" else ("\\x%02x" % ord(byte)).encode("ascii")


def escaped(line):
    # type: (bytes) -> bytes
    return _SPECIAL.sub(_escape, line)


class Records(object):
    """One server's log. One that cannot be written never stops the server: it is tried again by
    `retry`, each second."""

    def __init__(self, path):
        # type: (str) -> None
        self.path = path
        self.fd = None  # type: Optional[int]
        self.now = wall_nanos()
        self.failing = False
        self.missing = 0  # records that could not be written since it fails
        self._records = []  # type: List[bytes]
        self._torn = False  # the file breaks off within a record
        self._second = -1
        self._stamp = b""

    def open(self):
        # type: () -> None
        """Opens or makes it. Raises EnvironmentError."""
        directory = os.path.dirname(self.path)
        if directory and not os.path.isdir(directory):
            os.makedirs(directory)
        fd = os.open(self.path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_NONBLOCK, 0o600)
        try:
            found = os.fstat(fd)
            fcntl.fcntl(fd, fcntl.F_SETFD, fcntl.FD_CLOEXEC)
            torn = stat.S_ISREG(found.st_mode) and found.st_size > 0
            if torn:
                os.lseek(fd, -1, os.SEEK_END)
                torn = os.read(fd, 1) != b"\n"
        except EnvironmentError:
            os.close(fd)
            raise
        if self.fd is not None:
            os.close(self.fd)
        self.fd, self._torn = fd, torn

    def record(self, direction, label, line):
        # type: (bytes, bytes, bytes) -> None
        if len(line) > WHOLE_BYTES_MAX and not line.startswith(b"AT "):
            text = self._beginning(line) + self._length(len(line))
        else:
            text = escaped(line)
        self._add(direction, label, text)

    def record_beginning(self, direction, label, line):
        # type: (bytes, bytes, bytes) -> None
        """Of a line that goes on beyond this."""
        self._add(direction, label, self._beginning(line) + b"\\...")

    def record_length(self, direction, label, count):
        # type: (bytes, bytes, int) -> None
        """Of that line's end: it had so many bytes in all."""
        self._add(direction, label, self._length(count))

    def note(self, text):
        # type: (str) -> None
        self.record(b"*", b"-", text.encode("utf-8", "replace"))

    def observe(self, event):
        # type: (Dict[str, Any]) -> None
        """An observer for twisted.python.log: errors become notes, and are told to the operator."""
        if event.get("isError"):
            text = log.textFromEventDict(event) or "an error without a text"
            sys.stderr.write(text + "\n")
            self.note("error: " + text)

    @staticmethod
    def _beginning(line):
        # type: (bytes) -> bytes
        return escaped(line[:BEGINNING_BYTES])

    @staticmethod
    def _length(count):
        # type: (int) -> bytes
        return ("\\... %d bytes" % count).encode("ascii")

    def _add(self, direction, label, text):
        # type: (bytes, bytes, bytes) -> None
        self._records.append(b" ".join((self._time(), direction, label, text)))

    def _time(self):
        # type: () -> bytes
        second, nanos = divmod(self.now, 10 ** 9)
        if second != self._second:
            text = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(second))
            self._second, self._stamp = second, text.encode("ascii")
        return self._stamp + (".%09dZ" % nanos).encode("ascii")

    def commit(self):
        # type: () -> Optional[str]
        """Hands the records to the kernel. Gives the reason when that begins to fail."""
        if not self._records:
            return None
        records, self._records = self._records, []
        if not self.failing:
            try:
                self._write(b"\n".join(records) + b"\n")
                return None
            except EnvironmentError as error:
                self.failing = True
                self.missing = len(records)  # or fewer: some may have been written
                return "%s: %s" % (self.path, error.strerror)
        self.missing += len(records)
        return None

    def retry(self):
        # type: () -> bool
        """Whether it can be written again. Tells of the gap first."""
        assert not self._records, "what was gathered has been committed"
        try:
            if self.fd is None:
                self.open()
            self.note("gap: %d records could not be written before this one" % self.missing)
            self._write(self._records.pop() + b"\n")
        except EnvironmentError:
            del self._records[:]
            return False
        self.failing = False
        return True

    def _write(self, data):
        # type: (bytes) -> None
        if self.fd is None:
            raise EnvironmentError(errno.EBADF, "it is not open")
        if self._torn:
            data = b"\\... torn\n" + data
        while data:
            written = os.write(self.fd, data)
            self._torn = data[written - 1:written] != b"\n"
            data = data[written:]
