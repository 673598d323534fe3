import static java.nio.charset.StandardCharsets.ISO_8859_1;
import static java.nio.charset.StandardCharsets.UTF_8;

import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.net.InetSocketAddress;
import java.net.StandardSocketOptions;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.nio.ByteBuffer;
import java.nio.CharBuffer;
import java.nio.channels.FileChannel;
import java.nio.channels.SelectionKey;
import java.nio.channels.Selector;
import java.nio.channels.ServerSocketChannel;
import java.nio.channels.SocketChannel;
import java.nio.charset.CharacterCodingException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.nio.file.attribute.FileAttribute;
import java.nio.file.attribute.PosixFilePermissions;
import java.security.SecureRandom;
import java.time.Duration;
import java.time.Instant;
import java.time.ZoneOffset;
import java.time.format.DateTimeFormatter;
import java.util.ArrayDeque;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Deque;
import java.util.HashMap;
import java.util.Iterator;
import java.util.LinkedHashMap;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.PriorityQueue;
import java.util.Queue;
import java.util.Set;
import java.util.TreeSet;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CompletionException;
import java.util.concurrent.CompletionStage;
import java.util.concurrent.ConcurrentLinkedQueue;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Flow;
import java.util.concurrent.ThreadLocalRandom;
import java.util.function.Predicate;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import jdk.net.ExtendedSocketOptions;
import sun.misc.Signal;

/**
 * The herd for the JDK alone: one server, started as {@code java Herd.java serve NAME} with the
 * options of {@code herd serve}, speaking the same lines to clients and neighbours and writing the
 * same log. It has no memory but its own: after a restart its neighbours tell it.
 *
 * <p>One thread and one {@link Selector} do everything but talk HTTP and look up names; the threads
 * that do leave what they found in a mailbox. Bytes are never decoded as text:
 * a line is an ISO 8859-1 string, one character a byte, which the JVM keeps in one byte each.
 */
public final class Herd {
    static final int LINE_BYTES_MAX = 65_536;
    static final int LINK_LINE_BYTES_MAX = LINE_BYTES_MAX + 128;
    static final int OUTPUT_BYTES_MAX = 256 * 1024; // owed to one; beyond it no more is handled
    static final int INPUT_BYTES_MAX = 64 * 1024; // read ahead of what may be handled
    static final int BEGINNING_BYTES = 1024; // of a longer line, in the log
    static final int END_BYTES = 16; // of a longer line: enough to see ` HTTP/1.1` and a CR
    static final int STALL_MS = 300_000;
    static final int LINGER_MS = 250;
    static final int DRAIN_MS = 5_000;

    static final int DIAL_MS = 800;
    static final int HELLO_MS = 5_000;
    static final int YIELD_MS = 150; // the greater name leaves the smaller one this much time
    static final int CROSSING_MS = 250; // how long the smaller name insists on its own dial
    static final int RETRY_FIRST_MS = 20;
    static final int RETRY_MAX_MS = 400;
    static final int HEARTBEAT_MS = 2_000;
    static final int SILENCE_MS = 8_000;
    static final int MARK_MS = 1_000;
    static final int MARK_CHANGES = 4_096;
    static final int TICK_MS = 100;
    static final int UNREACHABLE_MS = 2_000;

    static final int ASKERS_MAX = 1_024;
    static final int CLIENT_QUESTIONS_MAX = 16; // of one client; the line after them waits
    static final int REQUESTS_MAX = 8;
    static final int ANSWER_MS = 10_000;
    static final int JOIN_MS = 5_000;
    static final int BODY_BYTES_MAX = 4 * 1024 * 1024;

    static final int LOG_RETRY_MS = 1_000;
    static final int DESCRIPTORS_OWN = 32;
    static final int STRANGERS_RESERVED = 8;

    /** Which lines of a link are understood stands before the last 15 digits of a HELLO's serial: with 1 CLOCK, with 2 ERASED. */
    static final int MINOR = 2;
    static final long SERIALS_PER_MINOR = 1_000_000_000_000_000L;

    private Herd() {}

    // ---- lines. Patterns are matched whole: $ and . have notions of line ends that are not ours.

    static final String NAME = "[A-Za-z0-9_-]{1,64}";
    static final String LOCATION = "([+-](?:[0-8]\\d(?:\\.\\d+)?|90(?:\\.0+)?))"
            + "([+-](?:(?:0\\d\\d|1[0-7]\\d)(?:\\.\\d+)?|180(?:\\.0+)?))/?";
    static final String TIME = "\\d{1,18}(?:\\.\\d{1,9})?";
    static final String SPACE = "[\\x09-\\x0d ]";
    static final String FIELD = "([^\\x09-\\x0d ]+)";

    static final Pattern COMMAND = Pattern.compile(
            SPACE + "*" + FIELD + (SPACE + "+" + FIELD).repeat(3) + SPACE + "*");
    static final Pattern IS_NAME = Pattern.compile(NAME);
    static final Pattern IS_LOCATION = Pattern.compile(LOCATION);
    static final Pattern IS_TIME = Pattern.compile(TIME);
    static final Pattern IS_RADIUS = Pattern.compile("\\d+(?:\\.\\d+)?");
    static final Pattern BOUND = Pattern.compile("0*(\\d{1,3})");
    static final Pattern AT = Pattern.compile("AT (?<server>" + NAME + ") "
            + "(?<difference>[+-](?:0|[1-9]\\d{0,17})\\.\\d{9}) (?<client>[^\\x09-\\x0d ]+) "
            + "(?<location>" + LOCATION + ") (?<time>" + TIME + ")");
    static final Pattern ERASED = Pattern.compile(
            "ERASED " + NAME + " " + FIELD + " ((?:0|[1-9]\\d{0,17})\\.\\d{9})");
    static final Pattern HELLO = Pattern.compile("HELLO herd/1 (" + NAME + ") (" + NAME
            + ") ([0-9a-f]{16}) (\\d+) (?:-|([0-9a-f]{16})) (\\d+)");
    static final Pattern IS_HTTP = Pattern.compile(
            SPACE + "*(?:" + FIELD + SPACE + "+){2}HTTP/1\\.\\d" + SPACE + "*");
    static final Pattern IS_END_OF_HTTP = Pattern.compile(".*" + SPACE + "HTTP/1\\.\\d" + SPACE + "*",
            Pattern.DOTALL);

    /** A moment, or a difference of two: whole seconds rounded down, and the nanoseconds above. */
    record Time(long seconds, int nanos) implements Comparable<Time> {
        static final int SECOND = 1_000_000_000;

        static Time now() {
            Instant now = Instant.now();
            return new Time(now.getEpochSecond(), now.getNano());
        }

        /** Reads {@code [sign]seconds[.fraction]}, checked before. */
        static Time parse(String text) {
            boolean negative = text.startsWith("-");
            int start = negative || text.startsWith("+") ? 1 : 0;
            int point = text.indexOf('.');
            long seconds = Long.parseLong(text.substring(start, point < 0 ? text.length() : point));
            int nanos = 0;
            if (point >= 0) {
                nanos = Integer.parseInt((text.substring(point + 1) + "00000000").substring(0, 9));
            }
            return negative ? new Time(0, 0).minus(new Time(seconds, nanos)) : new Time(seconds, nanos);
        }

        Time minus(Time other) {
            int below = nanos < other.nanos ? 1 : 0;
            return new Time(seconds - other.seconds - below, nanos - other.nanos + below * SECOND);
        }

        Time plus(Time other) {
            int sum = nanos + other.nanos;
            return new Time(seconds + other.seconds + sum / SECOND, sum % SECOND);
        }

        /** As AT lines have a difference: a sign always, seconds, nine decimals. */
        String signed() {
            Time magnitude = seconds < 0 ? new Time(0, 0).minus(this) : this;
            return (seconds < 0 ? "-" : "+") + magnitude.seconds + "." + nineDigits(magnitude.nanos);
        }

        @Override
        public int compareTo(Time other) {
            int order = Long.compare(seconds, other.seconds);
            return order != 0 ? order : Integer.compare(nanos, other.nanos);
        }
    }

    static String nineDigits(int nanos) {
        String digits = Integer.toString(nanos);
        return "000000000".substring(digits.length()) + digits;
    }

    /** Reads decimal digits that fit 64 bits, unsigned; null otherwise. */
    static Long u64(String text) {
        try {
            boolean digits = !text.isEmpty() && text.chars().allMatch(c -> c >= '0' && c <= '9');
            return digits ? Long.valueOf(Long.parseUnsignedLong(text)) : null;
        } catch (NumberFormatException tooGreat) {
            return null;
        }
    }

    /** Without {@code +}, leading zeros, or zeros that end a fraction; {@code -0} becomes 0. */
    static String plainDecimal(String text) {
        boolean negative = text.startsWith("-");
        String magnitude = negative || text.startsWith("+") ? text.substring(1) : text;
        int point = magnitude.indexOf('.');
        int start = 0;
        int end = magnitude.length();
        int whole = point < 0 ? end : point;
        while (start < whole - 1 && magnitude.charAt(start) == '0') {
            start++;
        }
        while (point >= 0 && end > point && "0.".indexOf(magnitude.charAt(end - 1)) >= 0) {
            end--;
        }
        String plain = magnitude.substring(start, Math.max(end, whole));
        return negative && !plain.equals("0") ? "-" + plain : plain;
    }

    /** One report of a client's location: the AT line that carries it, and what orders it. */
    static final class Report {
        String line;
        String client;
        private final Time effective;
        private final Time receipt;
        /** Its place in the feed. */
        long number;
        /** Who told us; null if a client did. */
        Link source;

        Report(String line, String client, Time time, Time receipt) {
            this.line = line;
            this.client = client;
            this.receipt = receipt;
            effective = time.compareTo(receipt) < 0 ? time : receipt;
        }

        /** Reads exactly what herds write; null otherwise. */
        static Report parse(String line) {
            Matcher at = AT.matcher(line);
            if (!at.matches()) {
                return null;
            }
            String difference = at.group("difference");
            String client = at.group("client");
            String timeText = at.group("time");
            int iamatBytes = "IAMAT   ".length() + client.length()
                    + at.group("location").length() + timeText.length();
            if (iamatBytes > LINE_BYTES_MAX || difference.equals("-0.000000000")) {
                return null;
            }
            Time time = Time.parse(timeText);
            return new Report(line, client, time, time.plus(Time.parse(difference)));
        }

        /** The same of a line that says that a client is erased. */
        static Report parseErased(String line) {
            Matcher erased = ERASED.matcher(line);
            if (!erased.matches()
                    || "IAMAT  +00+000 1".length() + erased.group(1).length() > LINE_BYTES_MAX) {
                return null;
            }
            Time time = Time.parse(erased.group(2));
            return new Report(line, erased.group(1), time, time);
        }

        boolean isErasure() {
            return line.startsWith("ERASED ");
        }

        /** There is a more recent one: what is left in the feed is only the number. */
        void supersede() {
            line = client = null;
        }

        boolean isSuperseded() {
            return line == null;
        }

        String location() {
            return line.split(" ", 6)[4];
        }

        /** Whether this is the more recent: the same answer on every server. */
        boolean isAfter(Report other) {
            int order = effective.compareTo(other.effective);
            order = order != 0 ? order : Boolean.compare(isErasure(), other.isErasure());
            order = order != 0 ? order : receipt.compareTo(other.receipt);
            String[] fields = order != 0 ? null : line.split(" ");
            String[] others = order != 0 ? null : other.line.split(" ");
            int[] deciding = isErasure() ? new int[] {1} : new int[] {1, 4, 5}; // server, location, the time's digits
            for (int field : deciding) {
                order = order != 0 ? order : fields[field].compareTo(others[field]);
            }
            return order > 0;
        }
    }

    /** The latest report of every client, and the feed of what changed. */
    static final class Table {
        final Map<String, Report> reports = new HashMap<>();
        /** Ascending by number; superseded ones are swept when half are. */
        private final ArrayList<Report> feed = new ArrayList<>();
        long end;

        void accept(Report report, Link source) {
            Report known = reports.get(report.client);
            if (known != null) {
                if (!report.isAfter(known)) {
                    return;
                }
                known.supersede();
            }
            report.number = ++end;
            report.source = source;
            reports.put(report.client, report);
            feed.add(report);
            if (feed.size() > 2 * reports.size() + 1024) {
                feed.removeIf(Report::isSuperseded);
            }
        }

        /** Gives the changes after {@code cursor}, in order, as long as {@code take} wants more. */
        void changesAfter(long cursor, Predicate<Report> take) {
            int low = 0;
            for (int high = feed.size(); low < high; ) {
                int middle = (low + high) >>> 1;
                if (feed.get(middle).number > cursor) {
                    high = middle;
                } else {
                    low = middle + 1;
                }
            }
            for (; low < feed.size(); low++) {
                if (!feed.get(low).isSuperseded() && !take.test(feed.get(low))) {
                    return;
                }
            }
        }
    }

    /** Everything up to {@code number}, unsigned, of one life of a feed. */
    record Mark(String incarnation, long number) {}

    /** Bytes that grow at one end and shrink at the other. An empty one holds no memory. */
    static final class Bytes {
        private static final byte[] NONE = {};
        byte[] array = NONE;
        int from;
        int to;

        int size() {
            return to - from;
        }

        void add(byte[] bytes, int start, int count) {
            if (to + count > array.length) {
                int size = size();
                byte[] target = size + count > array.length || from < array.length / 2
                        ? new byte[Math.max(size + count, 2 * array.length)] : array;
                System.arraycopy(array, from, target, 0, size);
                array = target;
                from = 0;
                to = size;
            }
            System.arraycopy(bytes, start, array, to, count);
            to += count;
        }

        void add(String text) {
            byte[] bytes = text.getBytes(ISO_8859_1);
            add(bytes, 0, bytes.length);
        }

        void take(int count) {
            from += count;
            if (from == to) {
                clear();
            }
        }

        void clear() {
            array = NONE;
            from = to = 0;
        }

        String text(int start, int end) {
            return new String(array, start, end - start, ISO_8859_1);
        }
    }

    // ---- the log

    static String escaped(String line) {
        StringBuilder out = null;
        for (int at = 0; at < line.length(); at++) {
            char c = line.charAt(at);
            boolean plain = c >= ' ' && c <= '~' && c != '\\';
            if (!plain && out == null) {
                out = new StringBuilder(line.length() + 16).append(line, 0, at);
            }
            if (out == null) {
                continue;
            }
            if (plain) {
                out.append(c);
            } else if (c == '\\') {
                out.append("\\\\");
            } else {
                out.append("\\x").append(Character.forDigit(c >> 4, 16)).append(Character.forDigit(c & 15, 16));
            }
        }
        return out == null ? line : out.toString();
    }

    /** What came in and went out, for people: it is never read again. */
    static final class Log {
        private static final DateTimeFormatter DATE =
                DateTimeFormatter.ofPattern("uuuu-MM-dd'T'HH:mm:ss.").withZone(ZoneOffset.UTC);
        private static final Set<StandardOpenOption> OPTIONS =
                Set.of(StandardOpenOption.APPEND, StandardOpenOption.CREATE);
        private static final FileAttribute<?> OWNER_ONLY =
                PosixFilePermissions.asFileAttribute(PosixFilePermissions.fromString("rw-------"));
        private final Path file;
        private final Server server;
        private FileChannel channel;
        private final Bytes pending = new Bytes();
        private boolean torn; // the last write broke off within a record
        boolean failing;
        private long missing;
        private long second = Long.MIN_VALUE;
        private String date = "";

        Log(Path file, Server server) {
            this.file = file;
            this.server = server;
        }

        /** Opens or makes it. */
        void open() throws IOException {
            Files.createDirectories(file.toAbsolutePath().getParent());
            FileChannel opened = FileChannel.open(file, OPTIONS, OWNER_ONLY);
            torn = false;
            if (Files.isRegularFile(file)) {
                try (FileChannel reader = FileChannel.open(file)) {
                    ByteBuffer last = ByteBuffer.allocate(1);
                    long size = reader.size();
                    torn = size > 0 && reader.read(last, size - 1) == 1 && last.get(0) != '\n';
                }
            }
            if (channel != null) {
                channel.close();
            }
            channel = opened;
        }

        private String stamp(Time time) {
            if (time.seconds != second) {
                second = time.seconds;
                date = DATE.format(Instant.ofEpochSecond(second));
            }
            return date + nineDigits(time.nanos) + "Z";
        }

        void add(char direction, String label, String text, String more) {
            String record = stamp(server.now) + " " + direction + " " + label + " " + escaped(text) + more + "\n";
            if (failing) {
                missing++;
            } else {
                pending.add(record);
            }
        }

        void add(char direction, String label, String text) {
            add(direction, label, text, "");
        }

        /** A line, of which only AT lines are whole beyond 64 KiB. */
        void line(char direction, String label, String line) {
            if (line.length() <= LINE_BYTES_MAX || line.startsWith("AT ")) {
                add(direction, label, line);
            } else {
                add(direction, label, line.substring(0, BEGINNING_BYTES), "\\... " + line.length() + " bytes");
            }
        }

        /** Hands the turn's records to the kernel. */
        void commit() {
            if (failing || pending.size() == 0) {
                return;
            }
            try {
                write(pending);
            } catch (IOException error) {
                fail(error);
            }
        }

        void fail(IOException error) {
            if (!failing) {
                server.say("cannot write the log, serving on without: " + file + ": " + reasonOf(error));
            }
            failing = true;
            for (int at = pending.from; at < pending.to; at++) {
                missing += pending.array[at] == '\n' ? 1 : 0;
            }
            pending.clear();
            server.after(LOG_RETRY_MS, this::retry);
        }

        /** Opens it anew: it may have been moved away. */
        void reopen() {
            commit();
            try {
                open();
            } catch (IOException error) {
                close();
                if (!failing) {
                    fail(error);
                }
            }
        }

        private void close() {
            try {
                if (channel != null) {
                    channel.close();
                }
            } catch (IOException error) {
                // it is given up anyway
            }
            channel = null;
        }

        private void retry() {
            try {
                if (channel == null) {
                    open();
                }
                Bytes note = new Bytes();
                note.add(stamp(server.now) + " * - gap: " + missing
                        + " records could not be written before this one\n");
                write(note);
                failing = false;
                server.say("the log is written again; " + missing + " records are missing");
                missing = 0;
            } catch (IOException error) {
                fail(error);
            }
        }

        private void write(Bytes bytes) throws IOException {
            if (channel == null) {
                throw new IOException("it is not open");
            }
            if (torn) {
                ByteBuffer mark = ByteBuffer.wrap("\\... torn\n".getBytes(ISO_8859_1));
                while (mark.hasRemaining()) {
                    channel.write(mark);
                }
                torn = false;
            }
            while (bytes.size() > 0) {
                int count = Math.min(bytes.size(), 1 << 16); // the JDK copies it to native memory
                count = channel.write(ByteBuffer.wrap(bytes.array, bytes.from, count));
                if (count > 0) {
                    torn = bytes.array[bytes.from + count - 1] != '\n';
                    bytes.take(count);
                }
            }
        }
    }

    // ---- connections

    /** Whoever wants to know that a channel is ready. */
    interface Ready {
        void handleReady();
    }

    /** Lines in, lines out, both bounded. */
    abstract static class Connection implements Ready {
        final Server server;
        final SocketChannel channel;
        final SelectionKey key;
        final String plainLabel;
        private final int limit;
        private final Bytes in = new Bytes();
        private int scanned; // no LF lies in so many bytes of `in`
        long overlong; // bytes so far of a line past the limit
        private final Bytes out = new Bytes();
        private long tookAt; // when the peer last took a byte, while any is owed
        boolean ended;
        /** Why what else it says is not heard; null while it is. */
        String deaf;
        private boolean isShut;
        /** Why it is being closed; nothing it says counts any longer. */
        String reason;

        Connection(Server server, SocketChannel channel, SelectionKey key, char kind, int limit) {
            this.server = server;
            this.channel = channel;
            this.key = key;
            this.limit = limit;
            plainLabel = kind + Long.toString(++server.serials);
            key.attach(this);
            server.connections.add(this);
        }

        String label() {
            return plainLabel;
        }

        void record(char direction, String text) {
            server.log.add(direction, label(), text);
        }

        void logOpened() {
            try {
                InetSocketAddress peer = (InetSocketAddress) channel.getRemoteAddress();
                record('+', addressText(peer.getAddress().getHostAddress(), peer.getPort()));
            } catch (IOException error) {
                record('+', reasonOf(error)); // it has gone already
            }
            updateInterest();
        }

        abstract void handleLine(String line);

        abstract void handleOverlong(String piece, boolean first, boolean last);

        boolean isOpen() {
            return reason == null;
        }

        /** Whether the next line may be handled now. */
        boolean isWilling() {
            return isOpen();
        }

        /** Whether nothing more is to be said unless the peer says more. */
        boolean isSettled() {
            return true;
        }

        /** Bytes not yet taken. */
        int owed() {
            return out.size();
        }

        @Override
        public void handleReady() {
            try {
                if (key.isWritable()) {
                    flush();
                }
                if (key.isValid() && key.isReadable()) {
                    read();
                }
            } catch (IOException error) {
                abort(reasonOf(error));
            }
        }

        private void read() throws IOException {
            ByteBuffer scratch = server.scratch;
            int count = channel.read(scratch.clear());
            if (count < 0) {
                ended = true;
                if (!isOpen() && isShut) {
                    handleClosed();
                    return;
                }
            } else if (isOpen() && deaf == null) { // else it is read only so that closing does not reset it
                in.add(scratch.array(), 0, count);
            }
            serve();
        }

        /** Handles what may be handled. */
        void serve() {
            while (isWilling()) {
                int at = in.from + scanned;
                while (at < in.to && in.array[at] != '\n') {
                    at++;
                }
                boolean whole = at < in.to;
                scanned = at - in.from;
                if (!whole && (in.size() == 0 || (overlong == 0 && in.size() <= limit))) {
                    break;
                }
                int length = at - in.from;
                String text = in.text(in.from, at);
                in.take(length + (whole ? 1 : 0));
                scanned = 0;
                if (whole && overlong == 0 && length <= limit) {
                    handleLine(text);
                } else {
                    boolean first = overlong == 0;
                    overlong += length;
                    handleOverlong(text, first, whole);
                    overlong = whole ? 0 : overlong;
                }
            }
            if (ended && isWilling() && (in.size() > 0 || overlong > 0)) {
                String text = in.text(in.from, in.to);
                in.clear();
                scanned = 0;
                handleUnended(text);
                overlong = 0;
            }
            if ((ended || deaf != null) && isWilling() && isSettled()) {
                handleLast();
            }
            updateInterest();
        }

        /** What came after the last LF, now that the peer has ended in good order. */
        abstract void handleUnended(String text);

        /** It has said its last. */
        abstract void handleLast();

        /** It gets what replies it is owed, and then we close, though it has not ended. */
        void stopHearing(String why) {
            deaf = why;
            in.clear();
            scanned = 0;
        }

        private void updateInterest() {
            if (key.isValid()) {
                boolean reads = !ended && (!isOpen() || isWilling() || in.size() <= INPUT_BYTES_MAX);
                key.interestOps((reads ? SelectionKey.OP_READ : 0)
                        | (out.size() > 0 ? SelectionKey.OP_WRITE : 0));
            }
        }

        void send(String text) {
            if (isOpen()) {
                if (out.size() == 0) {
                    tookAt = mono();
                }
                out.add(text);
                server.dirty.add(this);
            }
        }

        /** Says a line and logs it. */
        void say(String line) {
            if (isOpen()) {
                server.log.line('>', label(), line);
                send(line);
                send("\n");
            }
        }

        /** The turn's records are written: its replies leave. */
        final void flush() throws IOException {
            while (out.size() > 0) {
                int count = Math.min(out.size(), 1 << 16); // the JDK copies it to native memory
                count = channel.write(ByteBuffer.wrap(out.array, out.from, count));
                if (count == 0) {
                    break;
                }
                out.take(count);
                tookAt = mono();
            }
            if (isOpen()) {
                serve();
            } else if (out.size() == 0 && !isShut) {
                shut();
            }
            updateInterest();
        }

        /** What is unread when a socket is closed resets the connection, so it is read, for a while. */
        private void shut() throws IOException {
            isShut = true;
            channel.shutdownOutput();
            if (ended) {
                handleClosed();
            } else {
                server.after(LINGER_MS, this::handleClosed);
            }
        }

        void checkStall() {
            if (out.size() > 0 && mono() >= tookAt + STALL_MS) {
                abort("it took no byte for 5 minutes");
            }
        }

        /** Sends what is owed, then closes. */
        void lose(String why) {
            if (isOpen()) {
                reason = why;
                in.clear();
                scanned = 0;
                server.dirty.add(this);
            }
        }

        /** Closes at once. */
        void abort(String why) {
            reason = isOpen() ? why : reason;
            in.clear();
            out.clear();
            handleClosed();
        }

        void handleClosed() {
            if (!server.connections.remove(this)) {
                return;
            }
            server.dirty.remove(this);
            try {
                channel.close();
            } catch (IOException error) {
                // it is closed all the same
            }
            if (overlong > 0) {
                server.log.add('<', label(), "", "\\... " + overlong + " bytes");
            }
            record('-', reason);
            server.acceptAgain();
        }
    }

    /** The place of an answer among a client's replies. */
    static final class Place {
        final Client client;
        /** What it waits for; null once it is answered. */
        Question question;
        Timer deadline;
        /** The line that leaves together with the answer. */
        private final String at;
        /** What Twitter said; null until it has come. */
        private String answer;
        /** What was said behind it meanwhile. */
        private final StringBuilder behind = new StringBuilder(0);

        Place(Client client, String at) {
            this.client = client;
            this.at = at;
        }

        int bytes() {
            return at.length() + (answer == null ? 0 : answer.length()) + behind.length();
        }
    }

    /** A phone, say. */
    static final class Client extends Connection {
        /** The first of them has no answer yet. */
        private final Deque<Place> places = new ArrayDeque<>(0);
        private int unanswered;
        private int kept; // bytes in `places`
        private String overlongEnd = "";

        Client(Server server, SocketChannel channel, SelectionKey key) {
            super(server, channel, key, 'c', LINE_BYTES_MAX);
            logOpened();
        }

        @Override
        boolean isWilling() {
            return isOpen() && unanswered < CLIENT_QUESTIONS_MAX && !server.stopping
                    && owed() < OUTPUT_BYTES_MAX;
        }

        @Override
        boolean isSettled() {
            return places.isEmpty();
        }

        @Override
        int owed() {
            return super.owed() + kept;
        }

        /** What is said behind an answer that has not come is kept until it has. */
        @Override
        void send(String text) {
            if (places.isEmpty()) {
                super.send(text);
            } else {
                places.getLast().behind.append(text);
                kept += text.length();
            }
        }

        @Override
        void handleLine(String line) {
            server.log.line('<', label(), line);
            if (!handleCommand(line)) {
                say("? " + line);
                if (IS_HTTP.matcher(line).matches()) {
                    stopHearing("an HTTP request");
                }
            }
        }

        private boolean handleCommand(String line) {
            Matcher fields = COMMAND.matcher(line);
            if (!fields.matches()) {
                return false;
            }
            String name = fields.group(2);
            String third = fields.group(4);
            switch (fields.group(1)) {
                case "IAMAT":
                    String location = fields.group(3);
                    if (!IS_LOCATION.matcher(location).matches() || !IS_TIME.matcher(third).matches()) {
                        return false;
                    }
                    Time time = Time.parse(third);
                    String at = "AT " + server.name + " " + server.now.minus(time).signed() + " "
                            + name + " " + location + " " + third;
                    server.table.accept(new Report(at, name, time, server.now), null);
                    say(at);
                    return true;
                case "WHATSAT":
                    Matcher bound = BOUND.matcher(third);
                    Report report = server.table.reports.get(name);
                    if (report == null || report.isErasure() || !IS_RADIUS.matcher(fields.group(3)).matches()
                            || !bound.matches() || Integer.parseInt(bound.group(1)) > 100) {
                        return false;
                    }
                    Place place = new Place(this, report.line);
                    places.add(place);
                    kept += place.bytes();
                    unanswered++;
                    server.twitter.ask(place, report.location(), plainDecimal(fields.group(3)),
                            Integer.parseInt(bound.group(1)));
                    return true;
                default:
                    return false;
            }
        }

        /** Fills a place; all that waited for nothing else leaves. */
        void answer(Place place, String json) {
            cancel(place.deadline);
            place.question = null;
            unanswered--;
            if (!isOpen()) {
                return;
            }
            server.log.line('>', label(), place.at);
            server.log.line('>', label(), json);
            place.answer = json;
            kept += json.length();
            while (isAnswered(places.peek())) {
                Place first = places.remove();
                kept -= first.bytes();
                super.send(first.at + "\n" + first.answer + "\n");
                super.send(first.behind.toString());
            }
        }

        private static boolean isAnswered(Place place) {
            return place != null && place.answer != null;
        }

        /** Answers what waits by an error. */
        void giveUp(String why) {
            for (Place place : new ArrayList<>(places)) {
                if (!isAnswered(place)) {
                    server.twitter.leave(place);
                    answer(place, errorJson(why));
                }
            }
        }

        @Override
        void handleOverlong(String piece, boolean first, boolean last) {
            if (first) {
                server.log.add('<', label(), piece.substring(0, BEGINNING_BYTES), "\\...");
                server.log.add('>', label(), "? " + piece.substring(0, BEGINNING_BYTES - 2), "\\...");
                send("? ");
                overlongEnd = "";
            }
            overlongEnd += piece;
            overlongEnd = overlongEnd.substring(Math.max(0, overlongEnd.length() - END_BYTES));
            send(piece);
            if (last) {
                server.log.add('<', label(), "", "\\... " + overlong + " bytes");
                server.log.add('>', label(), "", "\\... " + (overlong + 2) + " bytes");
                send("\n");
                if (IS_END_OF_HTTP.matcher(overlongEnd).matches()) {
                    stopHearing("an HTTP request");
                }
            }
        }

        /** The end of a client is the end of its last line. */
        @Override
        void handleUnended(String text) {
            if (overlong == 0) {
                handleLine(text);
            } else {
                overlong += text.length();
                handleOverlong(text, false, true);
            }
        }

        @Override
        void handleLast() {
            lose(deaf == null ? "closed by the client" : deaf);
        }

        @Override
        void handleClosed() {
            super.handleClosed();
            places.forEach(server.twitter::leave);
        }
    }

    /** A connection between servers. */
    static final class Peer extends Connection {
        private Link link;
        private boolean presented;
        private final Timer deadline;

        Peer(Server server, SocketChannel channel, SelectionKey key, Link dialled) {
            super(server, channel, key, 's', LINK_LINE_BYTES_MAX);
            link = dialled;
            deadline = server.after(HELLO_MS, () -> refuse("no HELLO within 5 seconds"));
            logOpened();
        }

        @Override
        String label() {
            return link == null ? plainLabel : plainLabel + ":" + link.name;
        }

        /** Who says what comes in is known only once it has presented itself. */
        private String heardLabel() {
            return presented ? label() : plainLabel;
        }

        @Override
        void handleLine(String said) {
            String line = withoutCr(said);
            if (presented) {
                link.heardAt = mono();
            }
            int space = line.indexOf(' ');
            String word = space < 0 ? line : line.substring(0, space);
            String refused = switch (word) {
                case "AT" -> presented ? handleReport(Report.parse(line), word, said) : "the first line must be HELLO";
                case "ERASED" -> presented
                        ? handleReport(Report.parseErased(line), word, said) : "the first line must be HELLO";
                case "CLOCK" -> presented ? null : "the first line must be HELLO"; // nothing is judged by clocks
                case "MARK" -> presented ? handleMark(line, said) : "the first line must be HELLO";
                case "HELLO" -> presented ? "a second HELLO" : handleHello(line, said);
                case "BYE" -> {
                    server.log.line('<', heardLabel(), said);
                    drop("the neighbour said " + escaped(line), false);
                    yield null;
                }
                default -> "a line that is none of HELLO, AT, ERASED, MARK, CLOCK, BYE";
            };
            if (refused != null) {
                server.log.line('<', heardLabel(), said);
                refuse(refused);
            }
        }

        /** A CR before the LF is white space, which some transports add. */
        private static String withoutCr(String line) {
            int end = line.length();
            while (end > 0 && line.charAt(end - 1) == '\r') {
                end--;
            }
            return line.substring(0, end);
        }

        private String handleReport(Report report, String word, String said) {
            if (report == null) {
                return "a malformed " + word + " line";
            }
            server.log.line('<', label(), said);
            server.table.accept(report, link);
            return null;
        }

        private String handleMark(String line, String said) {
            Long number = u64(line.substring(Math.min("MARK ".length(), line.length())));
            if (number == null) {
                return "a malformed MARK line";
            }
            if (link.handleMark(number)) {
                server.log.line('<', label(), said);
            }
            return null;
        }

        /** Gives why it is refused, or null. */
        private String handleHello(String line, String said) {
            Matcher hello = HELLO.matcher(line);
            if (!hello.matches()) {
                return line.startsWith("HELLO herd/1 ")
                        ? "a malformed HELLO line" : "a HELLO of another version than herd/1";
            }
            Long serial = u64(hello.group(4));
            Long number = u64(hello.group(6));
            if (serial == null || number == null) {
                return "a malformed HELLO line";
            }
            if (!hello.group(2).equals(server.name)) {
                return "a HELLO to somebody else";
            }
            Link from = server.links.get(hello.group(1));
            if (from == null) {
                return "a HELLO from no neighbour of ours";
            }
            if (link != null && link != from) {
                return "a HELLO from another neighbour than was dialled";
            }
            boolean dialled = link != null;
            String refused = dialled ? null : from.judge(hello.group(3), serial);
            if (refused != null) {
                return refused;
            }
            link = from;
            presented = true;
            deadline.cancel();
            server.log.line('<', label(), said);
            if (!dialled) {
                link.giveUpDial();
                if (link.peer != null) {
                    link.peer.drop("the neighbour has connected anew", true);
                }
                link.sayHello(this);
            }
            String incarnation = hello.group(5);
            link.begin(this, hello.group(3), serial, incarnation == null ? null : new Mark(incarnation, number));
            return null;
        }

        @Override
        void handleOverlong(String piece, boolean first, boolean last) {
            server.log.add('<', heardLabel(), piece.substring(0, BEGINNING_BYTES), "\\...");
            refuse("a line over 65664 bytes");
            overlong = 0;
        }

        /** Says why, then closes. */
        void refuse(String why) {
            say("BYE " + why);
            if (link != null) {
                link.handleDown(this, why);
            }
            lose("refused: " + why);
        }

        /** Is done with it. */
        void drop(String why, boolean atOnce) {
            if (link != null) {
                link.handleDown(this, why);
            }
            if (atOnce) {
                abort(why);
            } else {
                lose(why);
            }
        }

        @Override
        void handleUnended(String text) {
            record('*', text.length() + " bytes after the last LF were discarded");
        }

        @Override
        void handleLast() {
            drop("closed by the neighbour", true);
        }

        @Override
        void handleClosed() {
            deadline.cancel();
            super.handleClosed();
            if (link != null) {
                link.handleDown(this, reason);
            }
        }
    }

    // ---- links

    /** One neighbour: who dials and when, hello, marks and heartbeats, how far it has read our feed. */
    static final class Link implements Ready {
        private final Server server;
        final String name;
        private final Address address;
        private final boolean first;
        /** The dial under way; an answer to an earlier one is recognised by not being this. */
        private Object dial;
        private SocketChannel dialling;
        /** A dial of ours that awaits its answer. */
        private Peer dialled;
        private long dialledAt;
        private int attempts;
        private long unreachableSince = -1;
        private boolean unreachableSaid;
        private Timer timer;
        /** The connection, while the link is up. */
        Peer peer;
        String life;
        private long serial;
        /** What we have of its feed. */
        Mark known;
        private long floor; // what it told us up to here, it told in an earlier life
        private long cursor;
        private long marked;
        private int unmarked;
        private long markedAt;
        private long saidAt;
        long heardAt;

        Link(Server server, Member neighbour) {
            this.server = server;
            name = neighbour.name;
            address = neighbour.servers;
            first = server.name.compareTo(name) < 0;
        }

        void begin() {
            dialAfter(first ? 0 : YIELD_MS);
        }

        private void dialAfter(long ms) {
            cancel(timer);
            timer = server.stopping ? null : server.after(ms, this::dial);
        }

        /** A name may take long to look up, so a worker does. */
        private void dial() {
            Object ours = new Object();
            dial = ours;
            timer = server.after(DIAL_MS, () -> {
                attempts = 0; // that took long enough: a way that has just opened is found at once
                dialFailed("no answer to the dial");
            });
            server.workers.execute(() -> {
                InetSocketAddress found = new InetSocketAddress(address.host, address.port);
                server.post(() -> {
                    if (dial == ours) {
                        connect(found);
                    }
                });
            });
        }

        private void connect(InetSocketAddress found) {
            try {
                if (found.isUnresolved()) {
                    throw new IOException("nobody knows this host");
                }
                dialling = SocketChannel.open();
                configure(dialling);
                dialling.connect(found);
                dialling.register(server.selector, SelectionKey.OP_CONNECT, this);
            } catch (IOException | RuntimeException error) {
                dialFailed(reasonOf(error));
            }
        }

        @Override
        public void handleReady() {
            SocketChannel channel = dialling;
            try {
                if (channel == null || !channel.finishConnect()) {
                    return;
                }
            } catch (IOException error) {
                dialFailed(reasonOf(error));
                return;
            }
            cancel(timer);
            dial = dialling = null;
            dialled = new Peer(server, channel, channel.keyFor(server.selector), this);
            dialledAt = mono();
            sayHello(dialled);
        }

        private void dialFailed(String why) {
            closeDial();
            int half = Math.min(RETRY_FIRST_MS << Math.min(attempts++, 16), RETRY_MAX_MS) / 2;
            dialAfter(half + ThreadLocalRandom.current().nextInt(half + 1));
            unreachableSince = unreachableSince < 0 ? mono() : unreachableSince;
            if (!unreachableSaid && mono() >= unreachableSince + UNREACHABLE_MS) {
                unreachableSaid = true;
                server.tell("cannot reach " + name + " at " + address + ": " + why + ". Still trying.");
            }
        }

        private void closeDial() {
            SocketChannel channel = dialling;
            dial = dialling = null;
            dialled = null;
            try {
                if (channel != null) {
                    channel.close();
                }
            } catch (IOException error) {
                // it is given up anyway
            }
        }

        void giveUpDial() {
            cancel(timer);
            Peer given = dialled;
            closeDial();
            if (given != null) {
                given.abort("the neighbour's own dial was taken");
            }
        }

        /**
         * Whether the hello on a connection that the neighbour made is to be taken; gives why not.
         * Of two dials that cross that of the smaller name stays; a link that is up gives way to a
         * later hello only.
         */
        String judge(String incarnation, long hello) {
            if (peer != null) {
                boolean late = incarnation.equals(life) && Long.compareUnsigned(hello, serial) <= 0;
                return late ? "a late hello" : null;
            }
            boolean insists = first && dialled != null && mono() < dialledAt + CROSSING_MS;
            return insists ? "our dial crossed yours" : null;
        }

        void sayHello(Peer to) {
            String mark = known == null ? "- 0"
                    : known.incarnation + " " + Long.toUnsignedString(known.number);
            to.say("HELLO herd/1 " + server.name + " " + name + " " + server.incarnation + " "
                    + (MINOR * SERIALS_PER_MINOR + ++server.hellos) + " " + mark);
        }

        void begin(Peer connection, String incarnation, long hello, Mark theirs) {
            long end = server.table.end;
            floor = incarnation.equals(life) ? floor : end;
            life = incarnation;
            serial = hello;
            dialled = null;
            attempts = 0;
            peer = connection;
            boolean resumes = theirs != null && theirs.incarnation.equals(server.incarnation)
                    && Long.compareUnsigned(theirs.number, end) <= 0;
            cursor = marked = resumes ? theirs.number : 0;
            unmarked = 0;
            markedAt = saidAt = heardAt = mono();
            unreachableSince = -1;
            unreachableSaid = false;
            server.say("link to " + name + " is up");
        }

        void handleDown(Peer connection, String why) {
            if (dialled == connection) {
                dialFailed(why);
            } else if (peer == connection) {
                peer = null;
                server.say("link to " + name + " is down: " + why);
                int half = RETRY_FIRST_MS / 2;
                dialAfter(half + ThreadLocalRandom.current().nextInt(half) + (first ? 0 : YIELD_MS));
            }
        }

        /** Whether a mark is news, not only a heartbeat. */
        boolean handleMark(long number) {
            boolean old = known != null && known.incarnation.equals(life)
                    && Long.compareUnsigned(number, known.number) <= 0;
            if (life == null || number == 0 || old) {
                return false;
            }
            known = new Mark(life, number);
            return true;
        }

        boolean canFlood() {
            return peer != null && cursor < server.table.end
                    && OUTPUT_BYTES_MAX - peer.owed() > LINK_LINE_BYTES_MAX;
        }

        /** Sends what has not been sent, as far as there is room. A slow neighbour costs the cursor. */
        void flood() {
            if (!canFlood()) {
                return;
            }
            Peer to = peer;
            boolean knowsErasures = Long.divideUnsigned(serial, SERIALS_PER_MINOR) >= 2;
            server.table.changesAfter(cursor, report -> {
                boolean isUnderstood = knowsErasures || !report.isErasure();
                if (isUnderstood && (report.source != this || report.number <= floor)) {
                    if (to.owed() + report.line.length() + 1 > OUTPUT_BYTES_MAX) {
                        return false;
                    }
                    to.say(report.line);
                    unmarked++;
                    saidAt = mono();
                }
                cursor = report.number;
                return true;
            });
            sayDueMark();
        }

        private void sayDueMark() {
            long now = mono();
            boolean fresh = marked < cursor;
            boolean due = fresh && (unmarked >= MARK_CHANGES || now >= markedAt + MARK_MS);
            if (peer == null || (!due && now < saidAt + HEARTBEAT_MS)) {
                return;
            }
            if (fresh) {
                peer.say("MARK " + cursor);
            } else {
                peer.send("MARK " + cursor + "\n"); // a heartbeat is not logged
            }
            marked = cursor;
            unmarked = 0;
            markedAt = saidAt = now;
        }

        /** What is due though nothing happens. */
        void handleTick() {
            if (peer != null && mono() >= heardAt + SILENCE_MS) {
                peer.drop("nothing heard for " + SILENCE_MS / 1000 + " seconds", true);
            }
            sayDueMark();
        }
    }

    // ---- Twitter

    /** What was asked, and who waits for the answer. */
    static final class Question {
        final String query;
        final int bound;
        final long askedAt = mono();
        final Set<Place> askers = new LinkedHashSet<>();
        final Body body = new Body();
        /** Null until it is asked. */
        CompletableFuture<HttpResponse<byte[]>> exchange;

        Question(String query, int bound) {
            this.query = query;
            this.bound = bound;
        }
    }

    /** The body of an answer, up to a limit; JDK 17's own have none. */
    static final class Body implements HttpResponse.BodySubscriber<byte[]> {
        private final CompletableFuture<byte[]> whole = new CompletableFuture<>();
        private final ByteArrayOutputStream bytes = new ByteArrayOutputStream();
        private volatile Flow.Subscription subscription;

        @Override
        public CompletionStage<byte[]> getBody() {
            return whole;
        }

        @Override
        public void onSubscribe(Flow.Subscription given) {
            subscription = given;
            given.request(Long.MAX_VALUE);
        }

        @Override
        public void onNext(List<ByteBuffer> buffers) {
            for (ByteBuffer buffer : buffers) {
                byte[] chunk = new byte[buffer.remaining()];
                buffer.get(chunk);
                bytes.writeBytes(chunk);
            }
            if (bytes.size() > BODY_BYTES_MAX) {
                cancel("its answer is over " + BODY_BYTES_MAX + " bytes");
            }
        }

        @Override
        public void onError(Throwable error) {
            whole.completeExceptionally(error);
        }

        @Override
        public void onComplete() {
            whole.complete(bytes.toByteArray());
        }

        void cancel(String why) {
            Flow.Subscription given = subscription;
            if (given != null) {
                given.cancel();
            }
            whole.completeExceptionally(new IOException(why));
        }
    }

    /** Asks, a few questions at a time. Deadlines are those of who waits. */
    static final class Twitter {
        private final Server server;
        private final String url;
        private final HttpClient client = HttpClient.newBuilder()
                .version(HttpClient.Version.HTTP_1_1).connectTimeout(Duration.ofSeconds(5)).build();
        /** The one to join, by query. */
        private final Map<String, Question> open = new HashMap<>();
        private final Set<Question> waiting = new LinkedHashSet<>();
        private int running;
        private int askers;

        Twitter(Server server, String url) {
            this.server = server;
            this.url = url.replaceFirst("(?s)#.*", "");
        }

        void ask(Place asker, String location, String radius, int bound) {
            if (askers >= ASKERS_MAX) {
                asker.client.answer(asker, errorJson("too many questions are waiting for Twitter, ask again later"));
                return;
            }
            Matcher parts = IS_LOCATION.matcher(location);
            parts.matches();
            String query = "q=&geocode=" + plainDecimal(parts.group(1)) + "%2C" + plainDecimal(parts.group(2))
                    + "%2C" + radius + "km&rpp=" + bound;
            Question question = open.get(query);
            if (question == null || mono() >= question.askedAt + JOIN_MS) {
                question = new Question(query, bound);
                open.put(query, question);
                waiting.add(question);
            }
            question.askers.add(asker);
            asker.question = question;
            askers++;
            asker.deadline = server.after(ANSWER_MS, () -> {
                leave(asker);
                asker.client.answer(asker, errorJson("Twitter did not answer within " + ANSWER_MS / 1000 + " seconds"));
                asker.client.serve();
            });
            dispatch();
        }

        /** The last to leave takes the question along. */
        void leave(Place asker) {
            Question question = asker.question;
            if (question == null || !question.askers.remove(asker)) {
                return;
            }
            asker.deadline.cancel();
            askers--;
            if (question.askers.isEmpty()) {
                open.remove(question.query, question);
                waiting.remove(question);
                if (question.exchange != null) {
                    question.exchange.cancel(true);
                    question.body.cancel("nobody waits any longer");
                }
            }
        }

        private void dispatch() {
            for (Iterator<Question> next = waiting.iterator(); next.hasNext() && running < REQUESTS_MAX; ) {
                Question question = next.next();
                next.remove();
                running++;
                URI uri = URI.create(url + (url.contains("?") ? "&" : "?") + question.query);
                HttpRequest request = HttpRequest.newBuilder(uri).header("User-Agent", "herd/0.1.0").build();
                question.exchange = client.sendAsync(request, head -> question.body);
                question.exchange.handle((response, error) -> { // on a thread of the client's
                    String json = error != null ? unanswered(error) : answered(response.body(), question.bound);
                    server.post(() -> handleAnswer(question, json));
                    return null;
                });
            }
        }

        private void handleAnswer(Question question, String json) {
            running--;
            open.remove(question.query, question);
            askers -= question.askers.size();
            for (Place asker : question.askers) {
                asker.client.answer(asker, json);
                asker.client.serve();
            }
            dispatch();
        }

        private static String answered(byte[] body, int bound) {
            try {
                return oneLine(body, bound);
            } catch (IOException | RuntimeException error) {
                return unanswered(error);
            }
        }

        private static String unanswered(Throwable error) {
            Throwable cause = error instanceof CompletionException ? error.getCause() : error;
            return errorJson("Twitter cannot be had: " + reasonOf(cause));
        }
    }

    /** An error of ours in the shape of Twitter's own. */
    static String errorJson(String message) {
        StringBuilder json = new StringBuilder("{\"error\":\"");
        for (char c : message.toCharArray()) {
            if (c < ' ' || c > '~' || c == '"' || c == '\\') {
                json.append(String.format("\\u%04x", (int) c));
            } else {
                json.append(c);
            }
        }
        return json.append("\"}").toString();
    }

    /** An answer as one line, byte for byte but for line breaks between tokens. */
    static String oneLine(byte[] body, int bound) throws IOException {
        try {
            UTF_8.newDecoder().decode(ByteBuffer.wrap(body));
        } catch (CharacterCodingException error) {
            throw new IOException("its answer is not UTF-8");
        }
        Json json = new Json(new String(body, ISO_8859_1), bound);
        if (!json.isValid()) {
            throw new IOException("its answer is not JSON");
        }
        return json.kept().replace("\r", "").replace("\n", "");
    }

    /**
     * Is it JSON? The JDK cannot tell. Also finds what "results" of the outermost object has beyond
     * a bound. Without recursion: a hostile depth must not cost stack.
     */
    static final class Json {
        private static final Pattern NUMBER =
                Pattern.compile("-?(?:0|[1-9]\\d*)(?:\\.\\d+)?(?:[eE][+-]?\\d+)?");
        private final String text;
        private final int bound;
        private int at;
        private final StringBuilder kept = new StringBuilder();
        private int keptFrom;
        private final ArrayDeque<Boolean> depth = new ArrayDeque<>(); // whether each is an object
        private boolean inResults;
        private int elements;
        private int keptEnd;
        private int lastEnd;

        Json(String text, int bound) {
            this.text = text;
            this.bound = bound;
        }

        String kept() {
            return kept + text.substring(keptFrom);
        }

        private char peek() {
            while (at < text.length() && " \t\r\n".indexOf(text.charAt(at)) >= 0) {
                at++;
            }
            return at < text.length() ? text.charAt(at) : '\0';
        }

        private boolean eat(char c) {
            boolean eaten = peek() == c;
            at += eaten ? 1 : 0;
            return eaten;
        }

        boolean isValid() {
            String key = null;
            while (true) {
                char c = peek();
                boolean opened = false;
                if (c == '{' || c == '[') {
                    at++;
                    if (c == '[' && depth.size() == 1 && "results".equals(key)) {
                        inResults = true;
                        elements = 0;
                        keptEnd = lastEnd = at;
                    }
                    depth.push(c == '{');
                    opened = true;
                } else if (!scalar(c)) {
                    return false;
                }
                while (true) { // a value has ended, or an empty one may
                    if (depth.isEmpty()) {
                        return peek() == '\0' && at == text.length();
                    }
                    boolean object = depth.peek();
                    if (!opened) {
                        handleElement();
                    }
                    int before = at;
                    if (eat(object ? '}' : ']')) {
                        close();
                        opened = false;
                        continue;
                    }
                    if (!opened && !eat(',')) {
                        return false;
                    }
                    if (object) {
                        peek();
                        int start = at;
                        if (!string()) {
                            return false;
                        }
                        key = depth.size() == 1 ? unquoted(text.substring(start, at)) : key;
                        if (!eat(':')) {
                            return false;
                        }
                    }
                    if (before == at && !opened) {
                        return false;
                    }
                    break;
                }
            }
        }

        /** Of the results one more has been passed. */
        private void handleElement() {
            if (inResults && depth.size() == 2) {
                elements++;
                lastEnd = at;
                keptEnd = elements <= bound ? at : keptEnd;
            }
        }

        private void close() {
            if (inResults && depth.size() == 2) {
                inResults = false;
                kept.append(text, keptFrom, keptEnd);
                keptFrom = lastEnd;
            }
            depth.pop();
        }

        private boolean scalar(char c) {
            if (c == '"') {
                return string();
            }
            for (String word : List.of("true", "false", "null")) {
                if (text.startsWith(word, at)) {
                    at += word.length();
                    return true;
                }
            }
            Matcher number = NUMBER.matcher(text).region(at, text.length());
            boolean found = number.lookingAt();
            at = found ? number.end() : at;
            return found;
        }

        private boolean string() {
            if (at >= text.length() || text.charAt(at++) != '"') {
                return false;
            }
            while (at < text.length()) {
                char c = text.charAt(at++);
                if (c == '"') {
                    return true;
                }
                if (c < ' ') {
                    return false;
                }
                if (c == '\\') {
                    char escape = at < text.length() ? text.charAt(at++) : '\0';
                    if (escape == 'u') {
                        int digits = 0;
                        while (digits < 4 && at < text.length() && Character.digit(text.charAt(at), 16) >= 0) {
                            digits++;
                            at++;
                        }
                        if (digits < 4) {
                            return false;
                        }
                    } else if ("\"\\/bfnrt".indexOf(escape) < 0) {
                        return false;
                    }
                }
            }
            return false;
        }

        /** What a key of letters means; others are left as they are. */
        private static String unquoted(String key) {
            Matcher escapes = Pattern.compile("\\\\u00([0-9a-fA-F]{2})").matcher(key);
            String plain = escapes.replaceAll(
                    found -> Matcher.quoteReplacement("" + (char) Integer.parseInt(found.group(1), 16)));
            return plain.substring(1, plain.length() - 1);
        }
    }

    // ---- the server

    /** Where somebody listens. */
    record Address(String host, int port) {
        @Override
        public String toString() {
            return addressText(host, port);
        }
    }

    /** A line of the topology. */
    record Member(String name, Address clients, Address servers, Set<String> neighbours) {}

    /** What stops a server from starting: one line, status 2. */
    static final class StartException extends Exception {
        private static final long serialVersionUID = 1;

        StartException(String message) {
            super(message);
        }
    }

    /** Something to be done later, unless it is cancelled. */
    static final class Timer implements Comparable<Timer> {
        final long at;
        private Runnable task;

        Timer(long at, Runnable task) {
            this.at = at;
            this.task = task;
        }

        void cancel() {
            task = null;
        }

        void run() {
            if (task != null) {
                task.run();
            }
        }

        @Override
        public int compareTo(Timer other) {
            return Long.compare(at, other.at);
        }
    }

    static void cancel(Timer timer) {
        if (timer != null) {
            timer.cancel();
        }
    }

    /** One server and all it owns. */
    static final class Server {
        final String name;
        private final Member member;
        final String incarnation = String.format("%016x", new SecureRandom().nextLong());
        final Selector selector;
        final Table table = new Table();
        final Map<String, Link> links = new LinkedHashMap<>();
        final Set<Connection> connections = new LinkedHashSet<>();
        /** Whose replies leave when the turn is over. */
        final Set<Connection> dirty = new LinkedHashSet<>();
        final ByteBuffer scratch = ByteBuffer.allocate(64 * 1024);
        final ExecutorService workers = Executors.newCachedThreadPool(Herd::daemon);
        private final Queue<Runnable> mail = new ConcurrentLinkedQueue<>();
        private final PriorityQueue<Timer> timers = new PriorityQueue<>();
        final Log log;
        final Twitter twitter;
        private final List<Listener> listeners = new ArrayList<>();
        /** The system's clock when this turn began: all that it brings happens at once. */
        Time now = Time.now();
        long serials;
        long hellos;
        boolean stopping;
        private boolean done;
        private long fullSaidAt = Long.MIN_VALUE / 2;
        Server(Member member, List<Member> members, Path logDir, String twitterUrl) throws IOException {
            this.member = member;
            name = member.name;
            selector = Selector.open();
            log = new Log(logDir.resolve(name + ".log"), this);
            twitter = new Twitter(this, twitterUrl);
            for (Member other : members) {
                if (member.neighbours.contains(other.name)) {
                    links.put(other.name, new Link(this, other));
                }
            }
        }

        void start() throws IOException, StartException {
            long limit = descriptors() - DESCRIPTORS_OWN;
            long forServers = 2L * links.size() + STRANGERS_RESERVED;
            listen("clients", member.clients, limit - forServers,
                    (channel, key) -> new Client(this, channel, key));
            listen("servers", member.servers, limit,
                    (channel, key) -> new Peer(this, channel, key, null));
            openLog();
            for (Link link : links.values()) {
                link.begin();
            }
            handleTick();
            say("clients on " + member.clients + ", servers on " + member.servers);
        }

        private void listen(String whom, Address address, long most, Adopt adopt)
                throws IOException, StartException {
            ServerSocketChannel channel = ServerSocketChannel.open();
            try {
                channel.setOption(StandardSocketOptions.SO_REUSEADDR, true);
                channel.bind(new InetSocketAddress(address.host, address.port), 1024);
            } catch (IOException | RuntimeException error) {
                throw new StartException(name + " cannot listen for " + whom + " on " + address + ": "
                        + reasonOf(error));
            }
            channel.configureBlocking(false);
            listeners.add(new Listener(this, channel, Math.max(most, 1), adopt));
        }

        private void openLog() {
            try {
                log.open();
            } catch (IOException error) {
                say("cannot use the log " + log.file + ", serving on without: " + reasonOf(error));
                log.failing = true; // it has been said
                log.fail(error);
            }
            note("started, incarnation " + incarnation);
        }

        // -- a turn

        void run() throws IOException {
            while (!done) {
                finishTurn();
                if (done) {
                    return;
                }
                sleep();
                now = Time.now();
                for (Iterator<SelectionKey> keys = selector.selectedKeys().iterator(); keys.hasNext(); ) {
                    SelectionKey key = keys.next();
                    keys.remove();
                    if (key.isValid()) {
                        ((Ready) key.attachment()).handleReady();
                    }
                }
                for (Runnable letter; (letter = mail.poll()) != null; ) {
                    letter.run();
                }
                while (!timers.isEmpty() && timers.peek().at <= mono()) {
                    timers.poll().run();
                }
            }
        }

        private void sleep() throws IOException {
            if (!mail.isEmpty() || !dirty.isEmpty()
                    || links.values().stream().anyMatch(Link::canFlood)) {
                selector.selectNow();
            } else {
                selector.select(timers.isEmpty() ? 0 : Math.max(timers.peek().at - mono(), 1));
            }
        }

        /** Hands the turn's records to the kernel, and only then lets its replies out. */
        private void finishTurn() {
            links.values().forEach(Link::flood);
            log.commit();
            List<Connection> flushed = new ArrayList<>(dirty);
            dirty.clear();
            for (Connection connection : flushed) {
                try {
                    connection.flush();
                } catch (IOException error) {
                    connection.abort(reasonOf(error));
                }
            }
            if (stopping) {
                drain();
            }
        }

        private void handleHangUp() {
            log.reopen();
            note("the log was reopened");
        }

        private void handleTick() {
            links.values().forEach(Link::handleTick);
            new ArrayList<>(connections).forEach(Connection::checkStall);
            after(TICK_MS, this::handleTick);
        }

        Timer after(long ms, Runnable task) {
            Timer timer = new Timer(mono() + ms, task);
            timers.add(timer);
            return timer;
        }

        /** Lets the loop's thread do something; any thread may ask. */
        void post(Runnable letter) {
            mail.add(letter);
            selector.wakeup();
        }

        void acceptAgain() {
            listeners.forEach(Listener::update);
        }

        void handleFull() {
            if (mono() >= fullSaidAt + 60_000) {
                fullSaidAt = mono();
                tell("connections have to wait: no more descriptors");
            }
        }

        // -- words

        /** Tells the operator. */
        void say(String text) {
            System.err.println(name + ": " + text);
        }

        /** Tells the log. */
        void note(String text) {
            log.add('*', "-", new String(text.getBytes(UTF_8), ISO_8859_1));
        }

        void tell(String text) {
            say(text);
            note(text);
        }

        // -- the way out

        /** Finishes the replies under way. */
        private void stop() {
            if (stopping) {
                return;
            }
            stopping = true;
            note("told to stop");
            listeners.forEach(Listener::close);
            links.values().forEach(Link::giveUpDial);
            after(DRAIN_MS, this::giveUp);
        }

        /** Closes clients that wait for nothing; when none is left, the links; then ends. */
        private void drain() {
            boolean clients = connections.stream().anyMatch(Client.class::isInstance);
            for (Connection connection : new ArrayList<>(connections)) {
                if (connection.isSettled() && (!clients || connection instanceof Client)) {
                    connection.lose("the server stops");
                }
            }
            if (connections.isEmpty()) {
                exit();
            }
        }

        /** Who still waits for Twitter is told so; then all have a moment to read their last. */
        private void giveUp() {
            for (Connection connection : connections) {
                if (connection instanceof Client client) {
                    client.giveUp("the server stops");
                }
            }
            after(2 * LINGER_MS, this::exit);
        }

        private void exit() {
            note("stopped");
            log.commit();
            say("stopped");
            done = true;
        }

        void watchSignals() {
            Signal.handle(new Signal("TERM"), signal -> post(this::stop));
            Signal.handle(new Signal("INT"), signal -> post(this::stop));
            Signal.handle(new Signal("HUP"), signal -> post(this::handleHangUp));
        }
    }

    /** Makes a connection of a channel. */
    interface Adopt {
        Connection adopt(SocketChannel channel, SelectionKey key);
    }

    /** Accepts up to a limit; whoever comes beyond it waits in the kernel's backlog. */
    static final class Listener implements Ready {
        private final Server server;
        private final ServerSocketChannel channel;
        private final SelectionKey key;
        private final long most;
        private final Adopt adopt;

        Listener(Server server, ServerSocketChannel channel, long most, Adopt adopt) throws IOException {
            this.server = server;
            this.channel = channel;
            this.most = most;
            this.adopt = adopt;
            key = channel.register(server.selector, SelectionKey.OP_ACCEPT, this);
        }

        void update() {
            if (key.isValid()) {
                key.interestOps(server.connections.size() < most ? SelectionKey.OP_ACCEPT : 0);
            }
        }

        @Override
        public void handleReady() {
            try {
                for (int budget = 256; budget > 0 && server.connections.size() < most; budget--) {
                    SocketChannel accepted = channel.accept();
                    if (accepted == null) {
                        return;
                    }
                    adopt(accepted);
                }
                if (server.connections.size() >= most) {
                    server.handleFull();
                    update();
                }
            } catch (IOException error) {
                server.handleFull();
                key.interestOps(0);
                server.after(1_000, this::update);
            }
        }

        private void adopt(SocketChannel accepted) throws IOException {
            try {
                configure(accepted);
            } catch (IOException gone) {
                accepted.close();
                return;
            }
            adopt.adopt(accepted, accepted.register(server.selector, 0));
        }

        void close() {
            try {
                channel.close();
            } catch (IOException error) {
                // it is closed all the same
            }
        }
    }

    static void configure(SocketChannel channel) throws IOException {
        channel.configureBlocking(false);
        channel.setOption(StandardSocketOptions.TCP_NODELAY, true);
        channel.setOption(StandardSocketOptions.SO_KEEPALIVE, true);
        channel.setOption(ExtendedSocketOptions.TCP_KEEPIDLE, 120);
    }

    static Thread daemon(Runnable task) {
        Thread thread = new Thread(task);
        thread.setDaemon(true);
        return thread;
    }

    /** Monotonic milliseconds. */
    static long mono() {
        return System.nanoTime() / 1_000_000;
    }

    /** How many descriptors we may have. */
    static long descriptors() throws IOException {
        for (String line : Files.readAllLines(Path.of("/proc/self/limits"))) {
            Matcher found = Pattern.compile("Max open files +(\\d+) .*").matcher(line);
            if (found.matches()) {
                return Long.parseLong(found.group(1));
            }
        }
        return Long.MAX_VALUE; // unlimited
    }

    static String reasonOf(Throwable error) {
        String message = error.getMessage();
        return message == null ? error.getClass().getSimpleName() : message;
    }

    static String addressText(String host, int port) {
        return (host.contains(":") ? "[" + host + "]" : host) + ":" + port;
    }

    // ---- the command line

    static Address parseAddress(String text) throws StartException {
        Matcher parts = Pattern.compile("(\\[[^\\]]+\\]|[^:]+):(\\d+)").matcher(text);
        if (!parts.matches()) {
            throw new StartException(
                    "'" + text + "' is no address: host:port is wanted, an IPv6 host in [brackets]");
        }
        Long port = u64(parts.group(2));
        if (port == null || port < 1 || port > 65_535) {
            throw new StartException("'" + text + "' has no port from 1 to 65535 after the colon");
        }
        return new Address(parts.group(1).replaceAll("[\\[\\]]", "").toLowerCase(Locale.ROOT),
                port.intValue());
    }

    static String checkName(String name) throws StartException {
        if (!IS_NAME.matcher(name).matches()) {
            throw new StartException("'" + name + "' is no name: 1 to 64 of A-Z a-z 0-9 _ - are wanted");
        }
        return name;
    }

    /** A link that a line of the topology wants. */
    record Wanted(int line, String name, String neighbour) {}

    static List<Member> parseTopology(byte[] bytes) throws StartException {
        Map<String, Member> members = new LinkedHashMap<>();
        Set<Address> addresses = new LinkedHashSet<>();
        List<Wanted> wanted = new ArrayList<>();
        int line = 0;
        try {
            for (String row : new String(bytes, ISO_8859_1).split("\n", -1)) {
                line++;
                parseMember(row.split("#", -1)[0], line, members, addresses, wanted);
            }
            for (Wanted link : wanted) {
                line = link.line;
                Member other = members.get(link.neighbour);
                if (other == null) {
                    throw new StartException(link.name + " has a neighbour " + link.neighbour
                            + ", but no line names " + link.neighbour);
                }
                members.get(link.name).neighbours.add(link.neighbour);
                other.neighbours.add(link.name);
            }
        } catch (StartException error) {
            throw new StartException(line + ": " + error.getMessage());
        }
        return List.copyOf(members.values());
    }

    static void parseMember(String latin1, int line, Map<String, Member> members,
            Set<Address> addresses, List<Wanted> wanted) throws StartException {
        CharBuffer code;
        try {
            code = UTF_8.newDecoder().decode(ByteBuffer.wrap(latin1.getBytes(ISO_8859_1)));
        } catch (CharacterCodingException error) {
            throw new StartException("the line is not UTF-8 text");
        }
        List<String> fields = Arrays.stream(code.toString().split(SPACE + "+"))
                .filter(field -> !field.isEmpty()).toList();
        if (fields.isEmpty()) {
            return;
        }
        String name = checkName(fields.get(0));
        if (members.containsKey(name)) {
            throw new StartException("the name " + name + " is used twice");
        }
        if (fields.size() < 3) {
            String what = fields.size() < 2 ? "client" : "server";
            throw new StartException(name + " has no " + what + " address (host:port)");
        }
        Address clients = parseAddress(fields.get(1));
        Address servers = parseAddress(fields.get(2));
        for (Address address : List.of(clients, servers)) {
            if (!addresses.add(address)) {
                throw new StartException("the address " + address + " is used twice");
            }
        }
        for (String neighbour : fields.subList(3, fields.size())) {
            if (neighbour.contains("=")) {
                continue; // an attribute (http=, tls=, key=) of what only the program in Rust has
            }
            if (checkName(neighbour).equals(name)) {
                throw new StartException(name + " is its own neighbour");
            }
            wanted.add(new Wanted(line, name, neighbour));
        }
        members.put(name, new Member(name, clients, servers, new TreeSet<>()));
    }

    static final String USAGE = "usage: java Herd.java serve NAME"
            + " [--topology FILE] [--log-dir DIRECTORY] [--data-dir DIRECTORY] [--twitter-url URL]";

    /** One line, whatever it is. */
    static String shown(String text) {
        return text.replace("\\", "\\\\").replace("\n", "\\n").replace("\r", "\\r");
    }

    static Server prepare(String[] arguments) throws IOException, StartException {
        Map<String, String> options = new HashMap<>(Map.of("--topology", "topology.txt",
                "--log-dir", "logs", "--data-dir", "data", "--twitter-url", "http://127.0.0.1:12599/search.json"));
        if (List.of(arguments).contains("--help")) {
            System.out.println(USAGE);
            options.forEach((option, value) -> System.out.println("  " + option + " (" + value + ")"));
            System.out.println("--data-dir is taken and not used: nothing is remembered over a restart.");
            System.exit(0);
        }
        List<String> names = new ArrayList<>();
        for (int at = arguments.length > 0 && arguments[0].equals("serve") ? 1 : 0; at < arguments.length; at++) {
            String word = arguments[at];
            if (!word.startsWith("--")) {
                names.add(word);
            } else if (!options.containsKey(word) || at + 1 == arguments.length) {
                throw new StartException("unknown or unfinished option " + shown(word));
            } else {
                options.put(word, arguments[++at]);
            }
        }
        if (names.size() != 1) {
            throw new StartException(USAGE);
        }
        String name = names.get(0);
        String file = options.get("--topology");
        List<Member> members;
        try {
            members = parseTopology(Files.readAllBytes(Path.of(file)));
        } catch (IOException error) {
            throw new StartException("cannot read the topology " + shown(file) + ": " + error);
        } catch (StartException error) {
            throw new StartException(shown(file) + ":" + error.getMessage());
        }
        String url = options.get("--twitter-url");
        URI uri;
        try {
            uri = URI.create(url);
        } catch (IllegalArgumentException error) {
            uri = URI.create("");
        }
        if (uri.getHost() == null || !List.of("http", "https").contains(uri.getScheme())) {
            throw new StartException("--twitter-url '" + shown(url) + "': http://HOST… or https://HOST… is wanted");
        }
        for (Member member : members) {
            if (member.name.equals(name)) {
                return new Server(member, members, Path.of(options.get("--log-dir")), url);
            }
        }
        if (members.isEmpty()) {
            throw new StartException(shown(file) + " names no server");
        }
        throw new StartException(shown(file) + " has no server '" + shown(name) + "', only: "
                + String.join(", ", members.stream().map(Member::name).toList()));
    }

    public static void main(String[] arguments) throws IOException {
        try {
            Server server = prepare(arguments);
            server.start();
            server.watchSignals();
            server.run();
            System.exit(0); // whatever the workers are about
        } catch (StartException error) {
            System.err.println("herd: " + error.getMessage());
            System.exit(2);
        }
    }
}
