#!/bin/sh
# Node 24 hands out up to a thousand waiting messages of a MessagePort in one turn of a thread's event loop, and gives memory that a native addon
# handed to JavaScript (napi_create_external_buffer) back only between two turns, though the collector has long found it unused. So a
# worker whose queue never empties keeps all that an addon ever gave it: lz4-napi 2.10.0 that compresses 256 MiB, a MiB a message, holds
# 260 MiB more, of which process.memoryUsage() knows none; with one message a turn (setImmediate) it holds 67.
#
# Seen: at-once 260 MiB, a-turn-each 67 MiB
# Exits 0 while that is so, 1 when it has changed. Needs npm and Node 24.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
npm init -y >/dev/null
npm install --silent lz4-napi@2.10.0 >/dev/null
cat >look.cjs <<'SCRIPT'
const { Worker, isMainThread, parentPort, workerData } = require('node:worker_threads');
if (isMainThread) {
  const worker = new Worker(__filename, { workerData: process.argv[2] });
  const before = process.memoryUsage.rss();
  let [sent, done, most] = [0, 0, 0];
  const send = () => worker.postMessage(sent++);
  for (let n = 0; n < 16; n++) send();
  worker.on('message', () => {
    most = Math.max(most, process.memoryUsage.rss() - before);
    if (sent < 256) send();
    if (++done < 256) return;
    console.log(most >> 20);
    process.exit();
  });
} else {
  const lz4 = require('lz4-napi');
  const bytes = require('node:crypto').randomBytes(1 << 20);
  const waiting = [];
  const work = () => {
    waiting.shift();
    for (let at = 0; at < bytes.length; at += 4096) lz4.compressSync(bytes.subarray(at, at + 4096));
    parentPort.postMessage(0);
  };
  const turn = () => {
    work();
    if (waiting.length > 0) setImmediate(turn);
  };
  parentPort.on('message', (job) => {
    waiting.push(job);
    if (workerData === 'at-once') work();
    else if (waiting.length === 1) setImmediate(turn);
  });
}
SCRIPT
at_once=$(node look.cjs at-once)
a_turn_each=$(node look.cjs a-turn-each)
echo "at-once $at_once MiB, a-turn-each $a_turn_each MiB"
test "$at_once" -gt 180 && test "$a_turn_each" -lt 120
