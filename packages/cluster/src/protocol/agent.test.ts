/** Messages to and from the agent in a guest. */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import {
  AgentReplies,
  agentRequestAt,
  encodeAgentReply,
  encodeAgentRequest,
  jobScript,
  maxAgentBody,
  shellWord,
  whyNoJob,
  type AgentReply,
  type AgentRequest,
} from './agent.ts';
import { decodeJobRequest } from './agent-socket.ts';
import { maxConsoleBytes, maxJobMessages } from './limits.ts';
import { encode } from './msgpack.ts';

const job = '0123456789abcdef';
const text = (bytes: Uint8Array): string => Buffer.from(bytes).toString('latin1');
const bytes = (value: string): Uint8Array => Uint8Array.from(Buffer.from(value, 'latin1'));

describe('messages to an agent', () => {
  const requests: AgentRequest[] = [
    { verb: 'run', job, body: bytes('exec ls\n') },
    { verb: 'in', job, number: 3, body: bytes('a\nb') },
    { verb: 'in', job, number: 4, body: new Uint8Array(0) },
    { verb: 'got', job, stream: 2, at: 17 },
    { verb: 'tell', job },
    { verb: 'kill', job, signal: 'TERM' },
    { verb: 'end', job },
  ];

  test('each is one line, and its body', () => {
    assert.deepEqual(
      requests.map((request) => text(encodeAgentRequest(request))),
      [
        `run ${job} 8\nexec ls\n`,
        `in ${job} 3 3\na\nb`,
        `in ${job} 4 0\n`,
        `got ${job} 2 17\n`,
        `tell ${job}\n`,
        `kill ${job} TERM\n`,
        `end ${job}\n`,
      ],
    );
  });

  test('where each ends is seen, also with others behind it', () => {
    for (const request of requests) {
      const encoded = encodeAgentRequest(request);
      assert.deepEqual(agentRequestAt(encoded), { length: encoded.length, job });
      assert.deepEqual(agentRequestAt(Buffer.concat([encoded, encoded])), { length: encoded.length, job });
    }
  });

  test('what is none is refused', () => {
    for (const each of [
      '',
      'run',
      `run ${job} 8\nexec`,
      `run ${job} -1\n`,
      `run ${job} 99999\n${'x'.repeat(99_999)}`,
      `got ${job} 3 1\n`,
      `kill ${job} $(x)\n`,
      `kill ${job} TERM`,
      `in ../../etc 0 0\n`,
      `tell ${job} ${job}\n`,
      `tell ${job}\r\n`,
    ])
      assert.equal(agentRequestAt(bytes(each)), undefined, each.slice(0, 60));
  });
});

test('a frame of the most messages is read, and fits what a console may send', () => {
  const body = new Uint8Array(maxAgentBody);
  const message = encodeAgentRequest({ verb: 'in', job, number: 999_999_999, body });
  const messages = Array.from({ length: maxJobMessages }, () => message);
  const request = { type: 'tell' as const, at: Number.MAX_SAFE_INTEGER, messages };
  const frame = encode(request);
  assert.ok(frame.length < maxConsoleBytes);
  assert.deepEqual(decodeJobRequest(frame), request);
});

describe('messages of an agent', () => {
  const replies: AgentReply[] = [
    { verb: 'out', job, stream: 1, at: 0, body: bytes(`gone ${job}\n`) },
    { verb: 'took', job, number: 0 },
    { verb: 'out', job, stream: 2, at: 0, body: new Uint8Array(0) },
    { verb: 'exit', job, status: 137 },
    { verb: 'gone', job },
  ];
  const stream = Buffer.concat(replies.map(encodeAgentReply));

  test('they are read however the bytes come', () => {
    for (const size of [1, 2, 7, 1000]) {
      const reading = new AgentReplies();
      const read: AgentReply[] = [];
      for (let from = 0; from < stream.length; from += size)
        read.push(...reading.read(stream.subarray(from, from + size)));
      assert.deepEqual(read, replies);
    }
  });

  test('what a guest says besides is left out, and nothing grows', () => {
    const reading = new AgentReplies();
    for (const noise of [
      'hello\n',
      `out ${job} 3 0 5\n`,
      `out ${job} 1 0 30001\n`,
      `exit ${job}\n`,
      `${'x'.repeat(100_000)}\n`,
    ])
      assert.deepEqual(reading.read(bytes(noise)), [], noise.slice(0, 50));
    for (let n = 0; n < 100; n++) assert.deepEqual(reading.read(new Uint8Array(100_000).fill(120)), []);
    assert.deepEqual(reading.read(bytes('\n')), []);
    assert.deepEqual(reading.read(stream), replies);
  });
});

describe('commands', () => {
  test('each word arrives as it is', () => {
    assert.equal(shellWord(`it's $(x)`), String.raw`'it'\''s $(x)'`);
    assert.equal(
      jobScript({ command: ['ls', '-l', 'a b'], folder: '/tmp/x y', environment: { A: '1' } }),
      "cd '/tmp/x y' || exit 126\nexport A='1'\nexec 'ls' '-l' 'a b'\n",
    );
  });

  test('one that can not be run says why', () => {
    assert.equal(whyNoJob({ command: ['ls'] }), undefined);
    assert.match(whyNoJob({ command: [] }) ?? '', /no command/);
    assert.match(whyNoJob({ command: ['a\0b'] }) ?? '', /NUL/);
    assert.match(whyNoJob({ command: ['ls'], environment: { 'a b': '1' } }) ?? '', /"a b" is no name/);
    assert.match(whyNoJob({ command: ['x'.repeat(maxAgentBody)] }) ?? '', /30008 bytes, at most 30000/);
  });
});
