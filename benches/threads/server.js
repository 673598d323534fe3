'use strict';
// As server.py, on Node.js: `WORK loop|thread|process own|library`. Called by run.py.
const net = require('node:net');
const { fork } = require('node:child_process');
const { Worker, isMainThread, parentPort } = require('node:worker_threads');

const WORK_MS = 50;

function own(rounds) {
  let total = 0;
  for (let number = 0; number < rounds; number++) total += (number * number) % 7;
  return total;
}
const library = (text) => JSON.parse(text).length;
const documentOf = (size) =>
  JSON.stringify(Array.from({ length: size }, (_, id) => ({ id, text: `tweet ${id}`, at: [34.0, -118.5] })));

function calibrated(work, argumentOf, size) {
  for (let round = 0; round < 8; round++) {
    const argument = argumentOf(size);
    const began = performance.now();
    work(argument);
    const took = performance.now() - began;
    if (Math.abs(took - WORK_MS) < 3) break;
    size = Math.max(1, Math.floor((size * WORK_MS) / Math.max(took, 0.01)));
  }
  return argumentOf(size);
}

let works;
function have(rounds, text) {
  works = { own: () => own(rounds), library: () => library(text) };
}

/** Works as it is told to; first hears how much work takes 50 ms, and does some of each, which compiles it. */
function serve(on, say) {
  on('message', (message) => {
    if (typeof message === 'string') works[message](), say('done');
    else {
      have(...message);
      for (let round = 0; round < 5; round++) Object.values(works).forEach((work) => work());
      say('ready');
    }
  });
}

if (!isMainThread) serve(parentPort.on.bind(parentPort), parentPort.postMessage.bind(parentPort));
else if (process.argv[2] === 'child') serve(process.on.bind(process), process.send.bind(process));
else {
  let much;
  for (let round = 0; round < 3; round++)
    much = [calibrated(own, (size) => size, 1e6), calibrated(library, documentOf, 5000)];
  have(...much);
  const children = [1, 2].map(() => fork(__filename, ['child']));
  const worker = (it, start) => ({ it, start, waiting: [] });
  const workers = {
    thread: [1, 2].map(() => new Worker(__filename)).map((it) => worker(it, (kind) => it.postMessage(kind))),
    process: children.map((it) => worker(it, (kind) => it.send(kind))),
  };
  let ready = 0;
  for (const { it, start, waiting } of [...workers.thread, ...workers.process]) {
    start(much);
    it.on('message', (message) => {
      if (message !== 'ready') waiting.shift()();
      else if (++ready === 4) listen();
    });
  }
  process.on('SIGTERM', () => (children.forEach((child) => child.kill()), process.exit(0)));
  const listen = () =>
    net
      .createServer({ noDelay: true }, (socket) => {
        let partial = '';
        socket.on('data', (data) => {
          const lines = (partial + data).split('\n');
          partial = lines.pop();
          for (const line of lines) {
            const [word, where, kind] = line.split(' ');
            if (word !== 'WORK') socket.write('ok\n');
            else if (where === 'loop') {
              works[kind]();
              socket.write('done\n');
            } else {
              const [one, other] = workers[where];
              const idler = one.waiting.length <= other.waiting.length ? one : other;
              idler.waiting.push(() => socket.write('done\n'));
              idler.start(kind);
            }
          }
        });
        socket.on('error', () => {});
      })
      .listen(Number(process.argv[2]), '127.0.0.1', () => process.stderr.write('ready\n'));
}
