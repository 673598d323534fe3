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
function prepare() {
  for (let round = 0; round < 3; round++) {
    const [rounds, text] = [calibrated(own, (size) => size, 1e6), calibrated(library, documentOf, 5000)];
    works = { own: () => own(rounds), library: () => library(text) };
  }
}

if (!isMainThread) {
  prepare();
  parentPort.on('message', (kind) => (works[kind](), parentPort.postMessage('done')));
  parentPort.postMessage('ready');
} else if (process.argv[2] === 'child') {
  prepare();
  process.on('message', (kind) => (works[kind](), process.send('done')));
  process.send('ready');
} else {
  prepare();
  const thread = new Worker(__filename);
  const child = fork(__filename, ['child']);
  const waiting = { thread: [], process: [] };
  let ready = 0;
  const heard = (where) => (message) => {
    if (message === 'ready') {
      if (++ready === 2) listen();
    } else waiting[where].shift()();
  };
  thread.on('message', heard('thread'));
  child.on('message', heard('process'));
  process.on('SIGTERM', () => (child.kill(), process.exit(0)));
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
              waiting[where].push(() => socket.write('done\n'));
              if (where === 'thread') thread.postMessage(kind);
              else child.send(kind);
            }
          }
        });
        socket.on('error', () => {});
      })
      .listen(Number(process.argv[2]), '127.0.0.1', () => process.stderr.write('ready\n'));
}
