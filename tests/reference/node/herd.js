// @ts-check
'use strict';
/*
 * The herd for plain Node.js: one server, started as `node herd.js serve NAME` with the options of
 * `herd serve`, speaking the same lines to clients and neighbours and writing the same log. It has
 * no memory but its own: after a restart its neighbours tell it.
 *
 * Bytes are never decoded as text: a line is a latin1 string, in which one character is one byte,
 * so that strings compare, split and concatenate as bytes do. Time is a BigInt of nanoseconds.
 *
 * A turn is Node's own: all that one poll brings is handled, then `setImmediate` hands the turn's
 * records to the kernel in one write and only then lets its replies out.
 */
const crypto = require('node:crypto');
const fs = require('node:fs');
const http = require('node:http');
const https = require('node:https');
const net = require('node:net');
const path = require('node:path');

const LINE_BYTES_MAX = 65_536;
const LINK_LINE_BYTES_MAX = LINE_BYTES_MAX + 128;
const OUTPUT_BYTES_MAX = 256 * 1024; // owed to one connection; beyond it nothing more is handled
const INPUT_BYTES_MAX = 64 * 1024; // read ahead of what may be handled
const BEGINNING_BYTES = 1024; // of a longer line, in the log
const END_BYTES = 16; // of a longer line: enough to see ` HTTP/1.1` and a CR
const STALL_MS = 300_000;
const LINGER_MS = 250;
const DRAIN_MS = 5_000;

const DIAL_MS = 800;
const HELLO_MS = 5_000;
const YIELD_MS = 150; // the greater name leaves the smaller one this much time to dial first
const CROSSING_MS = 250; // how long the smaller name insists on its own dial
const RETRY_FIRST_MS = 20;
const RETRY_MAX_MS = 400;
const HEARTBEAT_MS = 2_000;
const SILENCE_MS = 8_000;
const MARK_MS = 1_000;
const MARK_CHANGES = 4_096;
const TICK_MS = 100;
const UNREACHABLE_MS = 2_000;

const ASKERS_MAX = 1_024;
const CLIENT_QUESTIONS_MAX = 16; // of one client; the line after them waits for an answer
const REQUESTS_MAX = 8;
const ANSWER_MS = 10_000;
const JOIN_MS = 5_000;
const BODY_BYTES_MAX = 4 * 1024 * 1024;

const LOG_RETRY_MS = 1_000;
const DESCRIPTORS_OWN = 32;
const STRANGERS_RESERVED = 8;

// ---- lines

const NAME = '[A-Za-z0-9_-]{1,64}';
const LATITUDE = '[+-](?:[0-8]\\d(?:\\.\\d+)?|90(?:\\.0+)?)';
const LONGITUDE = '[+-](?:(?:0\\d\\d|1[0-7]\\d)(?:\\.\\d+)?|180(?:\\.0+)?)';
const LOCATION = `${LATITUDE}${LONGITUDE}/?`;
const TIME = '\\d{1,18}(?:\\.\\d{1,9})?';
const SPACE = '[\\t-\\r ]'; // not \s, which takes in U+00A0, a byte like any other
const FIELD = '[^\\t-\\r ]+';

const COMMAND = new RegExp(`^${SPACE}*(${FIELD})${`${SPACE}+(${FIELD})`.repeat(3)}${SPACE}*$`);
const IS_NAME = new RegExp(`^${NAME}$`);
const IS_LOCATION = new RegExp(`^${LOCATION}$`);
const IS_TIME = new RegExp(`^${TIME}$`);
const IS_RADIUS = /^\d+(?:\.\d+)?$/;
const BOUND = /^0*(\d{1,3})$/;
const AT = new RegExp(
  `^AT (${NAME}) ([+-](?:0|[1-9]\\d{0,17})\\.\\d{9}) (${FIELD}) (${LOCATION}) (${TIME})$`,
);
const ERASED = new RegExp(`^ERASED (${NAME}) (${FIELD}) ((?:0|[1-9]\\d{0,17})\\.\\d{9})$`);
const HELLO = new RegExp(
  `^HELLO herd/1 (${NAME}) (${NAME}) ([0-9a-f]{16}) (\\d+) (?:(-)|([0-9a-f]{16})) (\\d+)$`,
);
const IS_HTTP = new RegExp(`^${SPACE}*(?:${FIELD}${SPACE}+){2}HTTP/1\\.\\d${SPACE}*$`);
const IS_END_OF_HTTP = new RegExp(`${SPACE}HTTP/1\\.\\d${SPACE}*$`);

const NANOS = 1_000_000_000n;
const U64_MAX = 2n ** 64n - 1n;

/** Which lines of a link are understood stands before the last 15 digits of a HELLO's serial: with 1 CLOCK, with 2 ERASED. */
const MINOR = 2n;
const SERIALS_PER_MINOR = 10n ** 15n;

/**
 * Reads `[sign]seconds[.fraction]` in nanoseconds.
 * @param {string} text
 */
function nanos(text) {
  const [whole, fraction = ''] = text.replace(/^[+-]/, '').split('.');
  const value = BigInt(whole) * NANOS + BigInt(fraction.padEnd(9, '0'));
  return text.startsWith('-') ? -value : value;
}

/**
 * A difference as AT lines have it: a sign always, seconds, nine decimals.
 * @param {bigint} value nanoseconds
 */
function differenceText(value) {
  const magnitude = value < 0n ? -value : value;
  const fraction = String(magnitude % NANOS).padStart(9, '0');
  return `${value < 0n ? '-' : '+'}${magnitude / NANOS}.${fraction}`;
}

/** @param {string} text decimal digits @returns {bigint | undefined} if it fits 64 bits */
function u64(text) {
  if (!/^\d+$/.test(text) || text.replace(/^0+/, '').length > 20) return undefined;
  const value = BigInt(text);
  return value <= U64_MAX ? value : undefined;
}

/**
 * Without `+`, leading zeros, or zeros that end a fraction; `-0` becomes `0`.
 * @param {string} text a checked decimal
 */
function plainDecimal(text) {
  const [whole, fraction = ''] = text.replace(/^[+-]/, '').split('.');
  const digits = whole.replace(/^0+/, '') || '0';
  const decimals = fraction.replace(/0+$/, '');
  const plain = decimals ? `${digits}.${decimals}` : digits;
  return text.startsWith('-') && plain !== '0' ? `-${plain}` : plain;
}

/** One report of a client's location, or that it is erased: the line that carries it, and what orders it. */
class Report {
  /** @param {string} line @param {string} client @param {bigint} time @param {bigint} receipt */
  constructor(line, client, time, receipt) {
    this.line = line;
    this.client = client;
    this.effective = time < receipt ? time : receipt;
    this.receipt = receipt;
    /** Its place in the feed. */
    this.number = 0;
    /** @type {Link | null} Who told us; null if a client did. */
    this.source = null;
  }

  /** @param {string} line @returns {Report | undefined} if it is exactly what herds write */
  static parse(line) {
    const match = AT.exec(line);
    if (!match) return undefined;
    const [, , difference, client, location, timeText] = match;
    const iamatBytes = 'IAMAT   '.length + client.length + location.length + timeText.length;
    if (iamatBytes > LINE_BYTES_MAX || difference === '-0.000000000') return undefined;
    const time = nanos(timeText);
    return new Report(line, client, time, time + nanos(difference));
  }

  /** The same of a line that says that a client is erased. @param {string} line @returns {Report | undefined} */
  static parseErased(line) {
    const match = ERASED.exec(line);
    if (!match || 'IAMAT  +00+000 1'.length + match[2].length > LINE_BYTES_MAX) return undefined;
    const time = nanos(match[3]);
    return new Report(line, match[2], time, time);
  }

  get isErasure() {
    return this.line.startsWith('ERASED ');
  }

  /** There is a more recent one: what is left in the feed is only the number. */
  supersede() {
    this.line = this.client = '';
  }

  get isSuperseded() {
    return this.line === '';
  }

  get location() {
    return this.line.split(' ')[4];
  }

  /** Whether this is the more recent: the same answer on every server. @param {Report} other */
  isAfter(other) {
    if (this.effective !== other.effective) return this.effective > other.effective;
    if (this.isErasure !== other.isErasure) return this.isErasure;
    if (this.receipt !== other.receipt) return this.receipt > other.receipt;
    const [fields, others] = [this.line.split(' '), other.line.split(' ')];
    const differs = [1, 4, 5].find((field) => fields[field] !== others[field]); // server, location, digits
    return differs !== undefined && fields[differs] > others[differs];
  }
}

/** The latest report of every client, and the feed of what changed. */
class Table {
  constructor() {
    /** @type {Map<string, Report>} */
    this.reports = new Map();
    /** @type {Report[]} ascending by number; superseded ones are swept when half are */
    this.feed = [];
    this.end = 0;
  }

  /** @param {Report} report @param {Link | null} source */
  accept(report, source) {
    const known = this.reports.get(report.client);
    if (known) {
      if (!report.isAfter(known)) return;
      known.supersede();
    }
    report.number = ++this.end;
    report.source = source;
    this.reports.set(report.client, report);
    this.feed.push(report);
    if (this.feed.length > 2 * this.reports.size + 1024) {
      this.feed = this.feed.filter((entry) => !entry.isSuperseded);
    }
  }

  /** The changes after `cursor`, in order. @param {number} cursor */
  *changesAfter(cursor) {
    let [low, high] = [0, this.feed.length];
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (this.feed[middle].number > cursor) high = middle;
      else low = middle + 1;
    }
    for (; low < this.feed.length; low++) {
      if (!this.feed[low].isSuperseded) yield this.feed[low];
    }
  }
}

/** @typedef {{incarnation: string, number: bigint}} Mark */

// ---- the clocks

/** Monotonic milliseconds. */
const mono = () => performance.now();

/**
 * The system's clock in nanoseconds. Node shows it in milliseconds only, so it is the monotonic
 * clock plus an offset, found at a tick of the other and found anew when somebody has set that.
 */
class Clock {
  constructor() {
    this.offset = 0n;
    this.calibrate();
  }

  calibrate() {
    let best = null;
    for (let round = 0; round < 5; round++) {
      const before = Date.now();
      let tick = before;
      while (tick === before) tick = Date.now();
      const offset = BigInt(tick) * 1_000_000n - process.hrtime.bigint();
      if (best === null || offset > best) best = offset; // the least late
    }
    this.offset = best ?? 0n;
  }

  now() {
    const wall = process.hrtime.bigint() + this.offset;
    if (Math.abs(Number(wall / 1_000_000n) - Date.now()) <= 2) return wall;
    this.calibrate();
    return process.hrtime.bigint() + this.offset;
  }
}

// ---- the log

/** @param {string} line */
function escaped(line) {
  if (!/[^ -~]|\\/.test(line)) return line;
  return line.replace(/[^ -~]|\\/g, (byte) =>
    byte === '\\' ? '\\\\' : `\\x${byte.charCodeAt(0).toString(16).padStart(2, '0')}`,
  );
}

/** What came in and went out, for people: it is never read again. */
class Log {
  /** @param {string} file @param {Server} server */
  constructor(file, server) {
    this.file = file;
    this.server = server;
    this.fd = -1;
    this.pending = ''; // the turn's records
    this.torn = false; // the last write broke off within a record
    this.failing = false;
    this.missing = 0;
    this.second = -1n;
    this.date = '';
  }

  open() {
    const { O_APPEND, O_CREAT, O_RDWR, O_NONBLOCK } = fs.constants;
    fs.mkdirSync(path.dirname(this.file), { recursive: true });
    const fd = fs.openSync(this.file, O_APPEND | O_CREAT | O_RDWR | O_NONBLOCK, 0o600);
    const found = fs.fstatSync(fd);
    const last = Buffer.alloc(1);
    if (found.isFile() && found.size) fs.readSync(fd, last, 0, 1, found.size - 1);
    this.torn = found.isFile() && found.size > 0 && last[0] !== 0x0a;
    if (this.fd >= 0) fs.closeSync(this.fd);
    this.fd = fd;
  }

  /** @param {bigint} wall */
  stamp(wall) {
    const second = wall / NANOS;
    if (second !== this.second) {
      this.second = second;
      this.date = new Date(Number(second) * 1000).toISOString().slice(0, 20);
    }
    return `${this.date}${String(wall % NANOS).padStart(9, '0')}Z`;
  }

  /** @param {string} direction @param {string} label @param {string} text raw @param {string} [more] */
  add(direction, label, text, more = '') {
    this.server.schedule();
    this.pending += `${this.stamp(this.server.wall)} ${direction} ${label} ${escaped(text)}${more}\n`;
  }

  /** A line, of which only AT lines are whole beyond 64 KiB. @param {string} direction @param {string} label @param {string} line */
  line(direction, label, line) {
    if (line.length <= LINE_BYTES_MAX || line.startsWith('AT ')) this.add(direction, label, line);
    else this.add(direction, label, line.slice(0, BEGINNING_BYTES), `\\... ${line.length} bytes`);
  }

  /** Hands the turn's records to the kernel. */
  commit() {
    if (this.pending === '' || this.failing) return this.#drop();
    try {
      this.#write(this.pending);
      this.pending = '';
    } catch (error) {
      this.fail(error);
    }
  }

  /** @param {unknown} error */
  fail(error) {
    if (!this.failing) this.server.say(`cannot write the log, serving on without: ${this.file}: ${reasonOf(error)}`);
    this.#drop();
    this.failing = true;
    setTimeout(() => this.#retry(), LOG_RETRY_MS);
  }

  /** Opens it anew: it may have been moved away. */
  reopen() {
    this.commit();
    try {
      this.open();
    } catch (error) {
      if (this.fd >= 0) fs.closeSync(this.fd);
      this.fd = -1;
      if (!this.failing) this.fail(error);
    }
  }

  #retry() {
    try {
      if (this.fd < 0) this.open();
      const note = `gap: ${this.missing} records could not be written before this one`;
      this.#write(`${this.stamp(this.server.clock.now())} * - ${note}\n`);
      this.failing = false;
      this.server.say(`the log is written again; ${this.missing} records are missing`);
      this.missing = 0;
    } catch (error) {
      this.fail(error);
    }
  }

  #drop() {
    if (this.pending !== '') this.missing += this.pending.split('\n').length - 1;
    this.pending = '';
  }

  /** @param {string} text */
  #write(text) {
    let bytes = Buffer.from(this.torn ? `\\... torn\n${text}` : text, 'latin1');
    while (bytes.length) {
      const written = fs.writeSync(this.fd, bytes);
      this.torn = bytes[written - 1] !== 0x0a;
      bytes = bytes.subarray(written);
    }
  }
}

// ---- connections

/** Lines in, lines out, both bounded. */
class Connection {
  /** @param {Server} server @param {net.Socket} socket @param {string} kind @param {number} limit */
  constructor(server, socket, kind, limit) {
    this.server = server;
    this.socket = socket;
    this.kind = kind;
    this.limit = limit;
    this.serial = ++server.serials;
    /** @type {Buffer[]} read, not handled */
    this.queue = [];
    this.queued = 0;
    this.partial = ''; // the beginning of a line
    this.overlong = 0; // bytes so far of a line past the limit
    this.deaf = ''; // why what else it says is not heard
    this.out = ''; // leaves when the turn is over
    this.ended = false;
    this.reason = ''; // why it is being closed; nothing it says counts any longer
    server.connections.add(this);
    socket.setTimeout(STALL_MS, () => {
      if (socket.writableLength > 0) this.abort('it took no byte for 5 minutes');
    });
    socket.on('data', (chunk) => this.handleData(chunk));
    socket.on('end', () => this.handleEnd());
    socket.on('drain', () => (this.serve(), server.schedule()));
    socket.on('error', (error) => (this.reason ||= error.message));
    socket.on('close', () => this.handleClose());
  }

  label() {
    return `${this.kind}${this.serial}`;
  }

  /** @param {string} direction @param {string} text */
  record(direction, text) {
    this.server.log.add(direction, this.label(), text);
  }

  logOpened() {
    const { remoteAddress = '', remotePort } = this.socket;
    const host = remoteAddress.includes(':') ? `[${remoteAddress}]` : remoteAddress;
    this.record('+', `${host}:${remotePort}`);
  }

  /** Whether the next line may be handled now. */
  isWilling() {
    return this.reason === '';
  }

  /** Whether nothing more is to be said unless the peer says more. */
  isSettled() {
    return true;
  }

  /** Bytes not yet taken. */
  owed() {
    return this.out.length + this.socket.writableLength;
  }

  /** @param {Buffer} chunk */
  handleData(chunk) {
    if (this.reason !== '' || this.deaf !== '') return; // read only so that closing does not reset it
    this.queue.push(chunk);
    this.queued += chunk.length;
    this.serve();
  }

  /** Handles what may be handled; reads on unless too much is left. */
  serve() {
    if (this.queued) this.server.tick();
    while (this.queue.length && this.isWilling()) {
      const chunk = this.queue[0];
      const at = chunk.indexOf(10);
      const text = chunk.toString('latin1', 0, at < 0 ? chunk.length : at);
      this.queued -= text.length + (at < 0 ? 0 : 1);
      if (at < 0 || at + 1 === chunk.length) this.queue.shift();
      else this.queue[0] = chunk.subarray(at + 1);
      this.#piece(text, at >= 0);
    }
    if (this.queued > INPUT_BYTES_MAX) this.socket.pause();
    else if (this.socket.isPaused()) this.socket.resume();
    if ((!this.ended && this.deaf === '') || this.queue.length > 0 || !this.isWilling()) return;
    if (this.ended && (this.partial !== '' || this.overlong > 0)) this.handleUnended();
    if (this.isSettled()) this.handleLast();
  }

  /** @param {string} text @param {boolean} whole whether the line ends with it */
  #piece(text, whole) {
    const length = this.partial.length + text.length;
    if (this.overlong === 0 && length <= this.limit) {
      this.partial += text;
      if (!whole) return;
      const line = this.partial;
      this.partial = '';
      return this.handleLine(line);
    }
    const first = this.overlong === 0;
    const piece = this.partial + text;
    this.partial = '';
    this.overlong += piece.length;
    this.handleOverlong(piece, first, whole);
    if (whole) this.overlong = 0;
  }

  /** @param {string} line */
  handleLine(line) {
    throw new Error(`nobody handles ${line}`);
  }

  /** @param {string} piece @param {boolean} first @param {boolean} last */
  handleOverlong(piece, first, last) {
    throw new Error(`nobody handles ${piece} ${first} ${last}`);
  }

  handleEnd() {
    this.ended = true;
    this.serve();
  }

  /** What came after the last LF, now that the peer has ended in good order. */
  handleUnended() {
    this.record('*', `${this.partial.length} bytes after the last LF were discarded`);
    this.partial = '';
    this.overlong = 0;
  }

  /** Ends a line that has no LF. */
  endLine() {
    this.#piece('', true);
  }

  /** It gets what replies it is owed, and then we close, though it has not ended. @param {string} why */
  stopHearing(why) {
    this.deaf = why;
    this.#discard();
  }

  /** It has said its last. */
  handleLast() {
    throw new Error('nobody handles the end');
  }

  /** @param {string} text */
  send(text) {
    if (this.reason !== '') return;
    this.out += text;
    this.server.dirty.add(this);
    this.server.schedule();
  }

  /** Says a line and logs it. @param {string} line */
  say(line) {
    if (this.reason !== '') return;
    this.server.log.line('>', this.label(), line);
    this.send(`${line}\n`);
  }

  /** The turn's records are written: its replies leave. */
  flush() {
    if (this.out !== '' && this.socket.writable) this.socket.write(this.out, 'latin1');
    this.out = '';
    if (this.reason === '') this.serve();
    else if (!this.socket.writableEnded) this.#shutdown();
  }

  /** Sends what is owed, then closes. @param {string} reason */
  lose(reason) {
    if (this.reason !== '') return;
    this.reason = reason;
    this.#discard();
    this.server.dirty.add(this);
    this.server.schedule();
  }

  /** Closes at once. @param {string} reason */
  abort(reason) {
    this.reason ||= reason;
    this.#discard();
    this.out = '';
    this.socket.destroy();
  }

  #discard() {
    this.queue = [];
    this.queued = 0;
    this.partial = '';
  }

  /** What is unread when a socket is closed resets the connection, so it is read, for a while. */
  #shutdown() {
    this.socket.resume();
    this.socket.end(() => {
      if (this.ended) this.socket.destroy();
      else setTimeout(() => this.socket.destroy(), LINGER_MS);
    });
  }

  handleClose() {
    this.server.connections.delete(this);
    this.server.dirty.delete(this);
    if (this.overlong) this.server.log.add('<', this.label(), '', `\\... ${this.overlong} bytes`);
    this.record('-', (this.reason ||= 'closed by the peer'));
  }
}

/**
 * The place of an answer among a client's replies.
 * @typedef {object} Place
 * @property {Client} client
 * @property {Question | null} question what it waits for, until it is answered
 * @property {NodeJS.Timeout | undefined} deadline
 * @property {string} at the line that leaves together with the answer
 * @property {string} answer both; empty until it has come
 * @property {string} behind what was said behind it meanwhile
 */

/** A phone, say. */
class Client extends Connection {
  /** @param {Server} server @param {net.Socket} socket */
  constructor(server, socket) {
    super(server, socket, 'c', LINE_BYTES_MAX);
    /** @type {Place[]} of which the first has no answer yet */
    this.places = [];
    this.unanswered = 0;
    this.kept = 0; // bytes in `places`
    this.overlongEnd = '';
    this.logOpened();
  }

  /** @override */
  isWilling() {
    if (this.unanswered >= CLIENT_QUESTIONS_MAX || this.server.stopping) return false;
    return super.isWilling() && this.owed() < OUTPUT_BYTES_MAX;
  }

  /** @override */
  isSettled() {
    return this.places.length === 0;
  }

  /** @override */
  owed() {
    return super.owed() + this.kept;
  }

  /** What is said behind an answer that has not come is kept until it has. @override @param {string} text */
  send(text) {
    const last = this.places.at(-1);
    if (!last) return super.send(text);
    last.behind += text;
    this.kept += text.length;
  }

  /** @override @param {string} line */
  handleLine(line) {
    this.server.log.line('<', this.label(), line);
    if (this.#command(line)) return;
    this.say(`? ${line}`);
    if (IS_HTTP.test(line)) this.stopHearing('an HTTP request');
  }

  /** @param {string} line @returns {boolean} whether it was a command */
  #command(line) {
    const match = COMMAND.exec(line);
    if (!match) return false;
    const [, command, name, second, third] = match;
    const { server } = this;
    if (command === 'IAMAT' && IS_LOCATION.test(second) && IS_TIME.test(third)) {
      const time = nanos(third);
      const difference = differenceText(server.wall - time);
      const at = `AT ${server.name} ${difference} ${name} ${second} ${third}`;
      server.table.accept(new Report(at, name, time, server.wall), null);
      this.say(at);
      return true;
    }
    const bound = Number(BOUND.exec(third)?.[1] ?? Infinity);
    const known = server.table.reports.get(name);
    const report = known?.isErasure ? undefined : known;
    if (command !== 'WHATSAT' || !IS_RADIUS.test(second) || bound > 100 || !report) return false;
    const at = `${report.line}\n`;
    /** @type {Place} */
    const place = { client: this, question: null, deadline: undefined, at, answer: '', behind: '' };
    this.places.push(place);
    this.kept += at.length;
    this.unanswered++;
    server.twitter.ask(place, report.location, plainDecimal(second), bound);
    return true;
  }

  /** Fills a place; all that waited for nothing else leaves. @param {Place} place @param {string} json */
  answer(place, json) {
    clearTimeout(place.deadline);
    place.question = null;
    this.unanswered--;
    if (this.reason !== '') return;
    this.server.log.line('>', this.label(), place.at.slice(0, -1));
    this.server.log.line('>', this.label(), json);
    place.answer = `${place.at}${json}\n`;
    this.kept += json.length + 1;
    while (this.places[0]?.answer) {
      const { answer, behind } = /** @type {Place} */ (this.places.shift());
      this.kept -= answer.length + behind.length;
      super.send(answer + behind);
    }
  }

  /** An answer may have made room. */
  goOn() {
    this.serve();
    this.server.leaveIfDone();
  }

  /** Answers what waits by an error. @param {string} why */
  giveUp(why) {
    for (const place of this.places.filter((place) => !place.answer)) {
      this.server.twitter.leave(place);
      this.answer(place, errorJson(why));
    }
  }

  /** @override @param {string} piece @param {boolean} first @param {boolean} last */
  handleOverlong(piece, first, last) {
    const { log } = this.server;
    if (first) {
      log.add('<', this.label(), piece.slice(0, BEGINNING_BYTES), '\\...');
      log.add('>', this.label(), `? ${piece}`.slice(0, BEGINNING_BYTES), '\\...');
      this.send('? ');
      this.overlongEnd = '';
    }
    this.overlongEnd = (this.overlongEnd + piece).slice(-END_BYTES);
    this.send(piece);
    if (!last) return;
    log.add('<', this.label(), '', `\\... ${this.overlong} bytes`);
    log.add('>', this.label(), '', `\\... ${this.overlong + 2} bytes`);
    this.send('\n');
    if (IS_END_OF_HTTP.test(this.overlongEnd)) this.stopHearing('an HTTP request');
  }

  /** The end of a client is the end of its last line. @override */
  handleUnended() {
    this.endLine();
  }

  /** @override */
  handleLast() {
    this.lose(this.deaf || 'closed by the client');
  }

  /** @override */
  handleClose() {
    super.handleClose();
    for (const place of this.places) this.server.twitter.leave(place);
    this.server.leaveIfDone();
  }
}

/** A connection between servers. */
class Peer extends Connection {
  /** @param {Server} server @param {net.Socket} socket @param {Link | null} link whom we dialled */
  constructor(server, socket, link) {
    super(server, socket, 's', LINK_LINE_BYTES_MAX);
    this.link = link;
    this.presented = false;
    this.logOpened();
    this.deadline = setTimeout(() => this.refuse('no HELLO within 5 seconds'), HELLO_MS);
  }

  /** @override */
  label() {
    return this.link ? `${super.label()}:${this.link.name}` : super.label();
  }

  /** Who says what comes in is known only once it has presented itself. @param {string} line */
  recordHeard(line) {
    const label = this.presented ? this.label() : super.label();
    this.server.log.line('<', label, line);
  }

  /** @override @param {string} said */
  handleLine(said) {
    const line = said.replace(/\r+$/, ''); // white space before the LF, which some transports add
    const { link, presented } = this;
    if (presented && link) link.heardAt = mono();
    const word = line.split(' ', 1)[0];
    if ((word === 'AT' || word === 'ERASED') && presented) {
      const report = word === 'AT' ? Report.parse(line) : Report.parseErased(line);
      this.recordHeard(said);
      if (!report) return this.refuse(`a malformed ${word} line`);
      this.server.table.accept(report, link);
    } else if (word === 'CLOCK' && presented) {
      // Nothing here is judged by clocks.
    } else if (word === 'MARK' && link && presented) {
      const number = u64(line.slice('MARK '.length));
      if (number === undefined || link.handleMark(number)) this.recordHeard(said);
      if (number === undefined) this.refuse('a malformed MARK line');
    } else if (word === 'HELLO' && !presented) {
      const refused = this.handleHello(line, said);
      if (!refused) return;
      this.recordHeard(said);
      this.refuse(refused);
    } else if (word === 'BYE') {
      this.recordHeard(said);
      this.drop(`the neighbour said ${escaped(line)}`);
    } else {
      this.recordHeard(said);
      this.refuse(
        !['AT', 'ERASED', 'MARK', 'CLOCK', 'HELLO'].includes(word)
          ? 'a line that is none of HELLO, AT, ERASED, MARK, CLOCK, BYE'
          : presented
            ? 'a second HELLO'
            : 'the first line must be HELLO',
      );
    }
  }

  /** @param {string} line @param {string} said the same as it came @returns {string} why it is refused */
  handleHello(line, said) {
    const { server } = this;
    const match = HELLO.exec(line);
    if (!match) {
      return line.startsWith('HELLO herd/1 ')
        ? 'a malformed HELLO line'
        : 'a HELLO of another version than herd/1';
    }
    const [, from, to, incarnation, serialText, , knownIncarnation, numberText] = match;
    const [serial, number] = [u64(serialText), u64(numberText)];
    if (serial === undefined || number === undefined) return 'a malformed HELLO line';
    if (to !== server.name) return 'a HELLO to somebody else';
    const link = server.links.get(from);
    if (!link) return 'a HELLO from no neighbour of ours';
    if (this.link && this.link !== link) return 'a HELLO from another neighbour than was dialled';
    const dialled = this.link !== null;
    const refused = dialled ? '' : link.judge(incarnation, serial);
    if (refused) return refused;
    this.link = link;
    this.presented = true;
    clearTimeout(this.deadline);
    this.recordHeard(said);
    if (!dialled) {
      link.giveUpDial();
      link.peer?.drop('the neighbour has connected anew', true);
      link.sayHello(this);
    }
    link.begin(this, incarnation, serial, knownIncarnation ? { incarnation: knownIncarnation, number } : null);
    return '';
  }

  /** @override @param {string} piece */
  handleOverlong(piece) {
    const label = this.presented ? this.label() : super.label();
    this.server.log.add('<', label, piece.slice(0, BEGINNING_BYTES), '\\...');
    this.overlong = 0;
    this.refuse('a line over 65664 bytes');
  }

  /** Says why, then closes. @param {string} reason */
  refuse(reason) {
    this.say(`BYE ${reason}`);
    this.link?.handleDown(this, reason);
    this.lose(`refused: ${reason}`);
  }

  /** Is done with it. @param {string} reason @param {boolean} [atOnce] */
  drop(reason, atOnce = false) {
    this.link?.handleDown(this, reason);
    if (atOnce) this.abort(reason);
    else this.lose(reason);
  }

  /** @override */
  handleLast() {
    this.drop('closed by the neighbour', true);
  }

  /** @override */
  handleClose() {
    clearTimeout(this.deadline);
    super.handleClose();
    this.link?.handleDown(this, this.reason);
  }
}

// ---- links

/** One neighbour: who dials and when, hello, marks and heartbeats, how far it has read our feed. */
class Link {
  /** @param {Server} server @param {Member} neighbour */
  constructor(server, neighbour) {
    this.server = server;
    this.name = neighbour.name;
    this.address = neighbour.servers;
    this.first = server.name < neighbour.name;
    /** @type {net.Socket | null} */
    this.dialling = null;
    /** @type {Peer | null} a dial of ours that awaits its answer */
    this.dialled = null;
    this.dialledAt = 0;
    this.attempts = 0;
    this.unreachableSince = 0;
    this.unreachableSaid = false;
    /** @type {NodeJS.Timeout | undefined} */
    this.timer = undefined;
    /** @type {Peer | null} the connection, while the link is up */
    this.peer = null;
    this.life = '';
    this.serial = 0n;
    /** @type {Mark | null} what we have of its feed */
    this.known = null;
    this.floor = 0; // what it told us up to here, it told in an earlier life
    this.cursor = 0;
    this.marked = 0;
    this.unmarked = 0;
    this.markedAt = this.saidAt = this.heardAt = 0;
  }

  /** @param {number} ms */
  dialAfter(ms) {
    clearTimeout(this.timer);
    if (!this.server.stopping) this.timer = setTimeout(() => this.dial(), ms);
  }

  dial() {
    const { host, port } = this.address;
    const socket = net.connect({ host, port, noDelay: true, keepAlive: true });
    this.dialling = socket;
    this.timer = setTimeout(() => {
      this.attempts = 0; // that took long enough: a way that has just opened is found at once
      socket.destroy(new Error('no answer to the dial'));
    }, DIAL_MS);
    const failed = (/** @type {Error} */ error) => {
      if (this.dialling === socket) this.dialFailed(error.message);
    };
    socket.once('error', failed);
    socket.once('connect', () => {
      if (this.dialling !== socket) return socket.destroy();
      clearTimeout(this.timer);
      socket.off('error', failed);
      this.dialling = null;
      this.dialled = new Peer(this.server, socket, this);
      this.dialledAt = mono();
      this.sayHello(this.dialled);
    });
  }

  /** @param {string} why */
  dialFailed(why) {
    this.dialling = this.dialled = null;
    const half = Math.min(RETRY_FIRST_MS * 2 ** Math.min(this.attempts++, 16), RETRY_MAX_MS) / 2;
    this.dialAfter(half + Math.random() * half);
    this.unreachableSince ||= mono();
    if (this.unreachableSaid || mono() < this.unreachableSince + UNREACHABLE_MS) return;
    this.unreachableSaid = true;
    const { host, port } = this.address;
    this.server.tell(`cannot reach ${this.name} at ${host}:${port}: ${why}. Still trying.`);
  }

  giveUpDial() {
    clearTimeout(this.timer);
    const { dialling, dialled } = this;
    this.dialling = this.dialled = null;
    dialling?.destroy();
    dialled?.abort("the neighbour's own dial was taken");
  }

  /**
   * Whether the hello on a connection that the neighbour made is to be taken. Of two dials that
   * cross that of the smaller name stays; a link that is up gives way to a later hello only.
   * @param {string} incarnation @param {bigint} serial @returns {string} why not
   */
  judge(incarnation, serial) {
    if (this.peer) return incarnation === this.life && serial <= this.serial ? 'a late hello' : '';
    const insists = this.first && this.dialled && mono() < this.dialledAt + CROSSING_MS;
    return insists ? 'our dial crossed yours' : '';
  }

  /** @param {Peer} peer */
  sayHello(peer) {
    const { server, known } = this;
    const mark = known ? `${known.incarnation} ${known.number}` : '- 0';
    const serial = MINOR * SERIALS_PER_MINOR + BigInt(++server.hellos);
    peer.say(`HELLO herd/1 ${server.name} ${this.name} ${server.incarnation} ${serial} ${mark}`);
  }

  /** @param {Peer} peer @param {string} incarnation @param {bigint} serial @param {Mark | null} known */
  begin(peer, incarnation, serial, known) {
    const { end } = this.server.table;
    if (this.life !== incarnation) this.floor = end;
    this.life = incarnation;
    this.serial = serial;
    this.dialled = null;
    this.attempts = 0;
    this.peer = peer;
    const resumes = known?.incarnation === this.server.incarnation && known.number <= BigInt(end);
    this.cursor = this.marked = known && resumes ? Number(known.number) : 0;
    this.unmarked = 0;
    this.markedAt = this.saidAt = this.heardAt = mono();
    this.unreachableSince = 0;
    this.unreachableSaid = false;
    this.server.say(`link to ${this.name} is up`);
    this.server.schedule();
  }

  /** @param {Peer} peer @param {string} reason */
  handleDown(peer, reason) {
    if (this.dialled === peer) return this.dialFailed(reason);
    if (this.peer !== peer) return;
    this.peer = null;
    this.server.say(`link to ${this.name} is down: ${reason}`);
    this.dialAfter(RETRY_FIRST_MS * (0.5 + Math.random() / 2) + (this.first ? 0 : YIELD_MS));
  }

  /** @param {bigint} number @returns {boolean} whether it is news, not only a heartbeat */
  handleMark(number) {
    const { known, life } = this;
    if (!life || number === 0n) return false;
    if (known && known.incarnation === life && number <= known.number) return false;
    this.known = { incarnation: life, number };
    return true;
  }

  isBehind() {
    return this.peer !== null && this.cursor < this.server.table.end;
  }

  hasRoom() {
    return this.peer !== null && OUTPUT_BYTES_MAX - this.peer.owed() > LINK_LINE_BYTES_MAX;
  }

  /** Sends what has not been sent, as far as there is room. All that a slow neighbour costs is the cursor. */
  flood() {
    const { peer } = this;
    if (!peer || !this.isBehind() || !this.hasRoom()) return;
    let room = OUTPUT_BYTES_MAX - peer.owed();
    for (const report of this.server.table.changesAfter(this.cursor)) {
      const isUnderstood = !report.isErasure || this.serial / SERIALS_PER_MINOR >= 2n;
      if (isUnderstood && (report.source !== this || report.number <= this.floor)) {
        if ((room -= report.line.length + 1) < 0) break;
        peer.say(report.line);
        this.unmarked++;
        this.saidAt = mono();
      }
      this.cursor = report.number;
    }
    this.sayDueMark();
  }

  sayDueMark() {
    const { peer } = this;
    const now = mono();
    const fresh = this.marked < this.cursor;
    const due = fresh && (this.unmarked >= MARK_CHANGES || now >= this.markedAt + MARK_MS);
    if (!peer || (!due && now < this.saidAt + HEARTBEAT_MS)) return;
    if (fresh) peer.say(`MARK ${this.cursor}`);
    else peer.send(`MARK ${this.cursor}\n`); // a heartbeat is not logged
    this.marked = this.cursor;
    this.unmarked = 0;
    this.markedAt = this.saidAt = now;
  }

  /** What is due though nothing happens. */
  handleTick() {
    if (this.peer && mono() >= this.heardAt + SILENCE_MS) {
      this.peer.drop(`nothing heard for ${SILENCE_MS / 1000} seconds`, true);
    }
    this.sayDueMark();
  }
}

// ---- Twitter

/**
 * @typedef {object} Question
 * @property {string} query
 * @property {number} bound
 * @property {number} askedAt
 * @property {Set<Place>} askers
 * @property {http.ClientRequest | null} request
 */

/** An error of ours in the shape of Twitter's own. @param {string} message */
function errorJson(message) {
  return Buffer.from(JSON.stringify({ error: message })).toString('latin1');
}

class Twitter {
  /** @param {string} url */
  constructor(url) {
    this.url = url.replace(/#.*$/s, '');
    this.client = this.url.startsWith('https:') ? https : http;
    this.agent = new this.client.Agent({ keepAlive: true });
    /** @type {Map<string, Question>} the one to join, by query */
    this.open = new Map();
    /** @type {Set<Question>} */
    this.waiting = new Set();
    this.running = 0;
    this.askers = 0;
  }

  /** @param {Place} place @param {string} location @param {string} radius @param {number} bound */
  ask(place, location, radius, bound) {
    const { client } = place;
    if (this.askers >= ASKERS_MAX) {
      return client.answer(place, errorJson('too many questions are waiting for Twitter, ask again later'));
    }
    const [latitude, longitude] = location.replace('/', '').split(/(?!^)(?=[+-])/).map(plainDecimal);
    const query = `q=&geocode=${latitude}%2C${longitude}%2C${radius}km&rpp=${bound}`;
    let question = this.open.get(query);
    if (!question || mono() >= question.askedAt + JOIN_MS) {
      question = { query, bound, askedAt: mono(), askers: new Set(), request: null };
      this.open.set(query, question);
      this.waiting.add(question);
    }
    question.askers.add(place);
    place.question = question;
    this.askers++;
    place.deadline = setTimeout(() => {
      this.leave(place);
      client.answer(place, errorJson(`Twitter did not answer within ${ANSWER_MS / 1000} seconds`));
      client.goOn();
    }, ANSWER_MS);
    this.#dispatch();
  }

  /** The last to leave takes the question along. @param {Place} place */
  leave(place) {
    clearTimeout(place.deadline);
    const { question } = place;
    if (!question?.askers.delete(place)) return;
    this.askers--;
    if (question.askers.size > 0) return;
    this.#close(question);
    question.request?.destroy();
  }

  /** @param {Question} question */
  #close(question) {
    this.waiting.delete(question);
    if (this.open.get(question.query) === question) this.open.delete(question.query);
  }

  #dispatch() {
    for (const question of this.waiting) {
      if (this.running >= REQUESTS_MAX) return;
      this.waiting.delete(question);
      this.running++;
      this.#request(question)
        .then((body) => oneLine(body, question.bound))
        .catch((error) => errorJson(`Twitter cannot be had: ${reasonOf(error)}`))
        .then((json) => {
          this.running--;
          this.#close(question);
          this.askers -= question.askers.size;
          for (const place of question.askers) {
            place.client.answer(place, json);
            place.client.goOn();
          }
          this.#dispatch();
        });
    }
  }

  /** @param {Question} question @returns {Promise<Buffer>} */
  #request(question) {
    return new Promise((resolve, reject) => {
      const url = this.url + (this.url.includes('?') ? '&' : '?') + question.query;
      const headers = { 'User-Agent': 'herd/0.1.0' };
      const request = this.client.get(url, { agent: this.agent, headers }, (response) => {
        /** @type {Buffer[]} */
        const chunks = [];
        let length = 0;
        response.on('data', (chunk) => {
          chunks.push(chunk);
          length += chunk.length;
          if (length > BODY_BYTES_MAX) request.destroy(new Error(`its answer is over ${BODY_BYTES_MAX} bytes`));
        });
        response.on('end', () => resolve(Buffer.concat(chunks)));
        response.on('error', reject);
      });
      question.request = request;
      // A kept connection may have been closed by the other side; that says nothing of Twitter.
      request.on('error', (error) =>
        request.reusedSocket && 'code' in error && error.code === 'ECONNRESET' && question.askers.size
          ? resolve(this.#request(question))
          : reject(error),
      );
    });
  }
}

/** An answer as one line, byte for byte but for line breaks between tokens. @param {Buffer} body @param {number} bound */
function oneLine(body, bound) {
  let value;
  try {
    value = JSON.parse(new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(body));
  } catch {
    throw new Error('its answer is not JSON in UTF-8');
  }
  const text = body.toString('latin1');
  const cut = value !== null && typeof value === 'object' && 'results' in value;
  return (cut ? withoutSurplus(text, bound) : text).replace(/[\r\n]/g, '');
}

/** Drops what "results" of the outermost object has beyond `bound`. @param {string} json valid @param {number} bound */
function withoutSurplus(json, bound) {
  let [kept, from, depth, commas, keptEnd, lastEnd] = ['', 0, 0, 0, 0, 0];
  let [key, string, inResults] = ['', '', false];
  for (let at = 0; at < json.length; at++) {
    const byte = json[at];
    if (' \t\r\n'.includes(byte)) continue;
    if (byte === '"') {
      const start = at;
      while (json[++at] !== '"') if (json[at] === '\\') at++;
      if (depth === 1) string = json.slice(start, at + 1);
    } else if (byte === ':') {
      if (depth === 1) key = JSON.parse(string);
    } else if (byte === ',') {
      if (inResults && depth === 2 && ++commas === bound) keptEnd = lastEnd;
      continue;
    } else if (byte === '[' || byte === '{') {
      depth++;
      if (byte === '[' && depth === 2 && key === 'results') {
        [inResults, commas, keptEnd] = [true, 0, at + 1];
      }
    } else if (byte === ']' || byte === '}') {
      if (inResults && depth === 2) {
        inResults = false;
        if (commas >= bound) [kept, from] = [kept + json.slice(from, keptEnd), lastEnd];
      }
      depth--;
    }
    lastEnd = at + 1;
  }
  return kept + json.slice(from);
}

// ---- the server

/** @typedef {{host: string, port: number}} Address */
/** @typedef {{name: string, clients: Address, servers: Address, neighbours: Set<string>}} Member */

/** What stops a server from starting: one line, status 2. */
class StartError extends Error {}

/** @param {unknown} error */
function reasonOf(error) {
  return error instanceof Error ? error.message : String(error);
}

class Server {
  /** @param {Member} member @param {Member[]} members @param {string} logDir @param {string} twitterUrl */
  constructor(member, members, logDir, twitterUrl) {
    this.member = member;
    this.name = member.name;
    this.incarnation = crypto.randomBytes(8).toString('hex');
    this.hellos = 0;
    this.serials = 0;
    this.clock = new Clock();
    this.wall = this.clock.now();
    this.table = new Table();
    /** @type {Set<Connection>} */
    this.connections = new Set();
    /** @type {Set<Connection>} whose replies leave when the turn is over */
    this.dirty = new Set();
    this.scheduled = false;
    this.stopping = false;
    this.fullSaidAt = -Infinity;
    this.log = new Log(path.join(logDir, `${this.name}.log`), this);
    this.twitter = new Twitter(twitterUrl);
    const others = members.filter((other) => member.neighbours.has(other.name));
    this.links = new Map(others.map((other) => [other.name, new Link(this, other)]));
    /** @type {net.Server[]} */
    this.listeners = [];
  }

  /** Reads the clock: all that comes of one read happens at once. */
  tick() {
    this.wall = this.clock.now();
  }

  async start() {
    const { clients, servers } = this.member;
    const limit = descriptors() - DESCRIPTORS_OWN;
    const forServers = 2 * this.links.size + STRANGERS_RESERVED;
    /** @type {() => void} */
    let open = () => {};
    const opened = new Promise((resolve) => (open = () => resolve(null)));
    await this.#listen('clients', clients, limit - forServers, opened, (socket) => new Client(this, socket));
    await this.#listen('servers', servers, limit, opened, (socket) => new Peer(this, socket, null));
    this.#openLog();
    for (const link of this.links.values()) link.dialAfter(link.first ? 0 : YIELD_MS);
    setInterval(() => this.links.forEach((link) => link.handleTick()), TICK_MS);
    this.say(`clients on ${addressText(clients)}, servers on ${addressText(servers)}`);
    open();
  }

  /**
   * @param {string} whom @param {Address} address @param {number} most @param {Promise<unknown>} opened
   * @param {(socket: net.Socket) => Connection} adopt
   */
  #listen(whom, address, most, opened, adopt) {
    const options = { allowHalfOpen: true, noDelay: true, keepAlive: true, keepAliveInitialDelay: 120_000 };
    const listener = net.createServer({ ...options, pauseOnConnect: true }, (socket) => {
      opened.then(() => (adopt(socket), socket.resume()));
    });
    // Node cannot leave connections in the backlog: beyond this it closes them.
    listener.maxConnections = Math.max(most, 1);
    listener.on('drop', () => this.handleFull());
    this.listeners.push(listener);
    return new Promise((resolve, reject) => {
      listener.once('error', (error) => {
        reject(new StartError(`${this.name} cannot listen for ${whom} on ${addressText(address)}: ${error.message}`));
      });
      listener.listen({ ...address, backlog: 1024 }, () => {
        listener.removeAllListeners('error').on('error', (error) => this.tell(`accepting fails: ${error.message}`));
        resolve(null);
      });
    });
  }

  handleFull() {
    if (mono() < this.fullSaidAt + 60_000) return;
    this.fullSaidAt = mono();
    this.tell('connections are turned away: no more descriptors');
  }

  #openLog() {
    const { log } = this;
    try {
      log.open();
    } catch (error) {
      this.say(`cannot use the log ${log.file}, serving on without: ${reasonOf(error)}`);
      log.failing = true; // it has been said
      log.fail(error);
    }
    this.note(`started, incarnation ${this.incarnation}`);
  }

  // -- a turn

  schedule() {
    if (this.scheduled) return;
    this.scheduled = true;
    this.tick();
    setImmediate(() => this.#finishTurn());
  }

  #finishTurn() {
    for (const link of this.links.values()) link.flood();
    this.log.commit();
    this.scheduled = false;
    const flushed = [...this.dirty];
    this.dirty.clear();
    for (const connection of flushed) connection.flush();
    const links = [...this.links.values()];
    if (links.some((link) => link.isBehind() && link.hasRoom())) this.schedule();
  }

  handleHangUp() {
    this.tick();
    this.log.reopen();
    this.note('the log was reopened');
  }

  // -- words

  /** Tells the operator. @param {string} text */
  say(text) {
    process.stderr.write(`${this.name}: ${text}\n`);
  }

  /** Tells the log. @param {string} text */
  note(text) {
    this.log.add('*', '-', Buffer.from(text).toString('latin1'));
  }

  /** @param {string} text */
  tell(text) {
    this.say(text);
    this.note(text);
  }

  // -- the way out

  /** Finishes the replies under way. */
  stop() {
    if (this.stopping) return;
    this.stopping = true;
    this.tick();
    this.note('told to stop');
    for (const listener of this.listeners) listener.close();
    for (const link of this.links.values()) link.giveUpDial();
    setTimeout(() => this.#giveUp(), DRAIN_MS);
    this.leaveIfDone();
  }

  /** Closes clients that wait for nothing; when none is left, the links; then goes. */
  leaveIfDone() {
    if (!this.stopping) return;
    const connections = [...this.connections];
    const clients = connections.filter((connection) => connection instanceof Client);
    const next = clients.length ? clients : connections;
    for (const connection of next) {
      if (connection.isSettled()) connection.lose('the server stops');
    }
    if (connections.length === 0) this.#exit();
    else if (clients.length === 0) setTimeout(() => this.leaveIfDone(), 10); // peers do not call
  }

  /** Who still waits for Twitter is told so; then all have a moment to read their last. */
  #giveUp() {
    this.tick();
    for (const connection of this.connections) {
      if (connection instanceof Client) connection.giveUp('the server stops');
    }
    setTimeout(() => this.#exit(), 2 * LINGER_MS);
    this.leaveIfDone();
  }

  #exit() {
    this.note('stopped');
    this.log.commit();
    this.say('stopped');
    process.exit(0);
  }
}

/** How many descriptors we may have. */
function descriptors() {
  const limits = /** @type {any} */ (process.report?.getReport()).userLimits;
  const { soft } = limits.open_files;
  return typeof soft === 'number' ? soft : Infinity;
}

// ---- the command line

/** @param {Address} address */
function addressText({ host, port }) {
  return host.includes(':') ? `[${host}]:${port}` : `${host}:${port}`;
}

/** @param {string} text @returns {Address} */
function parseAddress(text) {
  const match = /^(\[[^\]]+\]|[^:]+):(\d+)$/.exec(text);
  if (!match) throw new StartError(`'${text}' is no address: host:port is wanted, an IPv6 host in [brackets]`);
  const port = Number(match[2]);
  if (port < 1 || port > 65_535) throw new StartError(`'${text}' has no port from 1 to 65535 after the colon`);
  return { host: match[1].replace(/^\[|\]$/g, '').toLowerCase(), port };
}

/** @param {Buffer} bytes @returns {Member[]} */
function parseTopology(bytes) {
  /** @type {Map<string, Member>} */
  const members = new Map();
  const addresses = new Set();
  /** @type {{line: number, name: string, neighbour: string}[]} */
  const wanted = [];
  const checkName = (/** @type {string} */ name) => {
    if (!IS_NAME.test(name)) throw new StartError(`'${name}' is no name: 1 to 64 of A-Z a-z 0-9 _ - are wanted`);
    return name;
  };
  let line = 0;
  try {
    for (const row of bytes.toString('latin1').split('\n')) {
      line++;
      const code = Buffer.from(row.split('#', 1)[0], 'latin1');
      if (code.toString().includes('\ufffd')) throw new StartError('the line is not UTF-8 text');
      const [name, clients, servers, ...rest] = code.toString().split(/[\t-\r ]+/).filter(Boolean);
      if (name === undefined) continue;
      if (members.has(checkName(name))) throw new StartError(`the name ${name} is used twice`);
      if (!clients) throw new StartError(`${name} has no client address (host:port)`);
      if (!servers) throw new StartError(`${name} has no server address (host:port)`);
      const [forClients, forServers] = [parseAddress(clients), parseAddress(servers)];
      for (const address of [forClients, forServers].map(addressText)) {
        if (addresses.has(address)) throw new StartError(`the address ${address} is used twice`);
        addresses.add(address);
      }
      // Attributes (http=, tls=, key=) are of what only the program in Rust has.
      for (const neighbour of rest.filter((field) => !field.includes('='))) {
        if (checkName(neighbour) === name) throw new StartError(`${name} is its own neighbour`);
        wanted.push({ line, name, neighbour });
      }
      members.set(name, { name, clients: forClients, servers: forServers, neighbours: new Set() });
    }
    for (const { line: at, name, neighbour } of wanted) {
      line = at;
      const other = members.get(neighbour);
      if (!other) throw new StartError(`${name} has a neighbour ${neighbour}, but no line names ${neighbour}`);
      members.get(name)?.neighbours.add(neighbour);
      other.neighbours.add(name);
    }
  } catch (error) {
    throw new StartError(`${line}: ${reasonOf(error)}`);
  }
  return [...members.values()];
}

const USAGE = 'usage: herd.js serve NAME [--topology FILE] [--log-dir DIRECTORY] [--data-dir DIRECTORY] [--twitter-url URL]';

/** @param {string[]} words */
function parseArguments(words) {
  /** @type {Record<string, string>} */
  const options = {
    '--topology': 'topology.txt',
    '--log-dir': 'logs',
    '--data-dir': 'data',
    '--twitter-url': 'http://127.0.0.1:12599/search.json',
  };
  const names = [];
  if (words[0] === 'serve') words.shift();
  if (words.includes('--help')) {
    const lines = Object.entries(options).map(([option, value]) => `  ${option} (${value})\n`);
    process.stdout.write(`${USAGE}\n${lines.join('')}--data-dir is taken and not used: nothing is remembered over a restart.\n`);
    process.exit(0);
  }
  for (let word; (word = words.shift()) !== undefined; ) {
    if (!word.startsWith('--')) names.push(word);
    else {
      const [option, inline] = word.split(/=(.*)/s);
      const value = inline ?? words.shift();
      if (!(option in options) || value === undefined) throw new StartError(`unknown or unfinished option ${option}`);
      options[option] = value;
    }
  }
  if (names.length !== 1) throw new StartError(USAGE);
  return { name: names[0], file: options['--topology'], logDir: options['--log-dir'], url: options['--twitter-url'] };
}

/** @param {string} text */
const shown = (text) => JSON.stringify(text).slice(1, -1); // one line, whatever it is

async function main() {
  const { name, file, logDir, url } = parseArguments(process.argv.slice(2));
  let bytes;
  try {
    bytes = fs.readFileSync(file);
  } catch (error) {
    throw new StartError(`cannot read the topology ${shown(file)}: ${reasonOf(error)}`);
  }
  /** @type {Member[]} */
  let members;
  try {
    members = parseTopology(bytes);
  } catch (error) {
    throw new StartError(`${shown(file)}:${reasonOf(error)}`);
  }
  const member = members.find((other) => other.name === name);
  if (members.length === 0) throw new StartError(`${shown(file)} names no server`);
  if (!member) {
    const names = members.map((other) => other.name).join(', ');
    throw new StartError(`${shown(file)} has no server '${shown(name)}', only: ${names}`);
  }
  if (!/^https?:\/\/[^/]/.test(url) || !URL.canParse(url)) {
    throw new StartError(`--twitter-url '${shown(url)}': http://HOST… or https://HOST… is wanted`);
  }
  const server = new Server(member, members, logDir, url);
  process.stderr.on('error', () => {}); // that nobody reads it is no reason to stop
  await server.start();
  process.on('SIGTERM', () => server.stop()).on('SIGINT', () => server.stop());
  process.on('SIGHUP', () => server.handleHangUp());
  process.on('SIGXFSZ', () => {}); // the write says so too
}

main().catch((error) => {
  if (!(error instanceof StartError)) throw error;
  process.stderr.write(`herd: ${error.message}\n`);
  process.exit(2);
});
