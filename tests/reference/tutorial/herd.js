'use strict';
/*
 * A server of the herd as Node.js' documentation teaches it, in an afternoon: readline for the lines,
 * net.connect once more when a neighbour is lost, fetch for Twitter.
 *
 * It is not to be used: README.md beside it says what it gets wrong, as the black-box tests see it.
 */
const fs = require('node:fs');
const net = require('node:net');
const path = require('node:path');
const readline = require('node:readline');
const { parseArgs } = require('node:util');

const string = { type: 'string' };
const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: { topology: string, 'log-dir': string, 'data-dir': string, 'twitter-url': string },
});
const name = positionals[1];
const rows = new Map(
  fs
    .readFileSync(values.topology, 'utf8')
    .split('\n')
    .map((line) => line.split('#')[0].split(/\s+/).filter(Boolean))
    .filter((row) => row.length > 0)
    .map(([server, ...rest]) => [server, rest]),
);
const [clientsAt, serversAt, ...mine] = rows.get(name);
const neighbours = new Set(mine.filter((other) => !other.includes('=')));
for (const [other, row] of rows) if (row.slice(2).includes(name)) neighbours.add(other);
fs.mkdirSync(values['log-dir'], { recursive: true });
const log = fs.createWriteStream(path.join(values['log-dir'], `${name}.log`), { flags: 'a' });

const clients = new Map(); // the AT line of each client
const links = new Map(); // the socket of each neighbour

function say(socket, line) {
  log.write(`out: ${line}\n`);
  socket.write(`${line}\n`);
}

function splitLocation(location) {
  const at = Math.max(location.lastIndexOf('+'), location.lastIndexOf('-'));
  return [Number(location.slice(0, at)), Number(location.slice(at))];
}

function update(at) {
  const [, , , client, , time] = at.split(' ');
  const known = clients.get(client);
  if (known && Number(known.split(' ')[5]) >= Number(time)) return; // an old one, and what ends the flood
  clients.set(client, at);
  for (const socket of links.values()) say(socket, at);
}

async function whatsAt(socket, at, radius, bound) {
  const [latitude, longitude] = splitLocation(at.split(' ')[4]);
  const query = `?q=&geocode=${latitude},${longitude},${radius}km&rpp=${bound}`;
  const tweets = await (await fetch(values['twitter-url'] + query)).json();
  tweets.results = tweets.results.slice(0, bound);
  say(socket, at);
  say(socket, JSON.stringify(tweets));
}

const hello = (to) => `HELLO herd/1 ${name} ${to} ${process.pid.toString(16).padStart(16, '0')} 1 - 0`;

function handle(socket, line, dialled) {
  log.write(`in: ${line}\n`);
  const [command, first, second, third, ...more] = line.trim().split(/\s+/);
  if (command === 'IAMAT' && more.length === 0 && !splitLocation(second ?? '').some(Number.isNaN) && third > 0) {
    const difference = Date.now() / 1000 - Number(third);
    const at = `AT ${name} ${difference < 0 ? '' : '+'}${difference.toFixed(9)} ${first} ${second} ${third}`;
    update(at);
    say(socket, at);
  } else if (command === 'WHATSAT' && more.length === 0 && clients.has(first) && second >= 0 && third >= 0 && third <= 100) {
    whatsAt(socket, clients.get(first), second, third);
  } else if (command === 'AT') {
    update(line);
  } else if (command === 'HELLO') {
    if (!dialled) say(socket, hello(second));
  } else if (command !== 'MARK') {
    say(socket, `? ${line}`);
  }
}

function read(socket, dialled) {
  const lines = readline.createInterface({ input: socket });
  lines.on('line', (line) => handle(socket, line, dialled));
  // The socket's error is the interface's too: without the second listener it ends the process.
  socket.on('error', () => {});
  lines.on('error', () => {});
}

function serve(address) {
  net.createServer((socket) => read(socket, false)).listen(Number(address.split(':').at(-1)), '127.0.0.1');
}

function dial(other) {
  const [host, port] = rows.get(other)[1].split(':');
  const socket = net.connect(Number(port), host, () => {
    links.set(other, socket);
    say(socket, hello(other));
    process.stderr.write(`${name}: link to ${other} is up\n`);
  });
  read(socket, true);
  socket.on('close', () => {
    if (links.delete(other)) process.stderr.write(`${name}: link to ${other} is down\n`);
    setTimeout(dial, 1000, other);
  });
}

serve(clientsAt);
serve(serversAt);
for (const other of neighbours) dial(other);
process.stderr.write(`${name}: clients on ${clientsAt}, servers on ${serversAt}\n`);
