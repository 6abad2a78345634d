/** TCP between two ends over paths that lose, double and reorder. */
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { Random } from '../../../simulation/src/random.ts';
import { End, Pair, overTheWire, type Path } from '../testing/tcp-pair.ts';
import { TcpFlag, type TcpSegment } from '../wire/tcp.ts';
import { resetFor, sendAgain } from './connection.ts';
import { receiveSegment } from './receive.ts';
import { transmit } from './send.ts';
import { advance } from './sequence.ts';
import { defaultTcpSettings, type TcpSettings } from './state.ts';

function randomBytes(random: Random, length: number): Uint8Array {
  return Uint8Array.from({ length }, () => random.integer(0, 255));
}

const perfect: Path = { loss: 0, duplication: 0, delayMs: [1, 1] };

function pair(
  options: { seed?: number; path?: Path; sizes?: [number, number]; settings?: Partial<TcpSettings> } = {},
): Pair {
  const { seed = 1, path = perfect, sizes = [10_000, 10_000], settings = {} } = options;
  const random = new Random(seed * 7919);
  const all = { ...defaultTcpSettings, ...settings };
  return new Pair(seed, path, [
    new End('client', all, randomBytes(random, sizes[0])),
    new End('server', all, randomBytes(random, sizes[1])),
  ]);
}

function assertComplete({ ends: [client, server] }: Pair): void {
  assert.deepEqual(server.bytes, client.toSend);
  assert.deepEqual(client.bytes, server.toSend);
  for (const end of [client, server]) {
    assert.deepEqual(end.news, ['established', 'peerFinished', 'closed'], end.name);
    assert.equal(end.tcp!.phase, 'closed');
  }
}

/** Runs until both ends are ESTABLISHED and idle. */
function established(options: Parameters<typeof pair>[0] = {}): Pair {
  const made = pair({ sizes: [0, 0], ...options });
  for (const end of made.ends) end.ends = false;
  made.until(() => made.ends.every((end) => end.tcp?.phase === 'established'));
  return made;
}

function segmentTo(end: End, fields: Partial<TcpSegment>): TcpSegment {
  const { rcvNxt, sndMax } = end.tcp!;
  return {
    sourcePort: 1,
    destinationPort: 2,
    sequence: rcvNxt,
    acknowledgment: sndMax,
    flags: TcpFlag.ack,
    window: 1000,
    maximumSegment: undefined,
    windowShift: undefined,
    payload: new Uint8Array(),
    ...fields,
  };
}

/** What an end answers to a segment. */
function answer(made: Pair, end: End, fields: Partial<TcpSegment>): TcpSegment[] {
  const answers: TcpSegment[] = [];
  made.onSegment = (from, segment) => {
    if (from === end) answers.push(segment);
  };
  receiveSegment(end.tcp!, segmentTo(end, fields), made.context(end));
  transmit(end.tcp!, made.context(end));
  made.onSegment = undefined;
  return answers;
}

describe('TCP between two ends', () => {
  it('carries both directions over a perfect path', () => {
    const made = pair();
    made.run(10_000);
    assertComplete(made);
  });

  for (const seed of Array.from({ length: 60 }, (_, n) => n + 1))
    it(`carries every byte once over a path that loses, doubles and reorders (seed ${seed.toString()})`, () => {
      const random = new Random(seed);
      const made = pair({
        seed,
        path: {
          loss: random.between(0, 0.2),
          duplication: random.between(0, 0.2),
          delayMs: [1, random.between(1, 100)],
        },
        sizes: [random.integer(0, 300_000), random.integer(0, 300_000)],
        settings: {
          receiveBytes: random.integer(3000, 1_000_000),
          sendBytes: random.integer(3000, 1_000_000),
          maximumSegment: random.integer(100, 1460),
          burstBytes: random.pick([1460, 65_000]),
        },
      });
      for (const end of made.ends) end.readShare = random.pick([1, 0.3, 0.05]);
      made.run(2_000_000);
      assertComplete(made);
    });

  it('repairs a single loss without waiting for the timer', () => {
    const made = pair({ sizes: [200_000, 0] });
    let dropped = false;
    let segments = 0;
    const send = made.send.bind(made);
    made.send = (from, segment) => {
      if (from.name === 'client' && segment.payload.length > 0 && ++segments === 20 && !dropped)
        dropped = true;
      else send(from, segment);
    };
    made.until(() => made.ends[1].receivedBytes === 200_000);
    assert.equal(dropped, true);
    assert.ok(made.nowMs < 250, `took ${made.nowMs.toString()} ms: the least timeout is 300`);
  });

  it('is as quick as before when its peer was away, however often', () => {
    const away = 3;
    const settings = { sendBytes: 0x8_0000, receiveBytes: 0x8_0000, burstBytes: 65_000 };
    const path = { ...perfect, delayMs: [25, 25] as [number, number] };
    const made = pair({ path, sizes: [0, 0], settings });
    const [client, server] = made.ends;
    client.toSend = new Uint8Array(20_000_000);
    const send = made.send.bind(made);
    let gone = false;
    made.send = (from, segment) => {
      if (!gone) send(from, segment);
    };
    /** How long the next 2 MB take. */
    const stretch = (): number => {
      const [beganMs, bytes] = [made.nowMs, server.receivedBytes + 2_000_000];
      made.until(() => server.receivedBytes >= bytes);
      return made.nowMs - beganMs;
    };
    stretch();
    const before = stretch();
    for (let n = 0; n < away; n++) {
      gone = true;
      const untilMs = made.nowMs + 3000;
      made.until(() => made.nowMs >= untilMs);
      gone = false;
      sendAgain(client.tcp!);
      transmit(client.tcp!, made.context(client));
      const after = stretch();
      assert.ok(after < 3 * before, `2 MB took ${after.toFixed(0)} ms after it, ${before.toFixed(0)} before`);
    }
  });

  it('goes on half closed: one side ends, the other still sends', () => {
    const made = pair({ sizes: [0, 100_000] });
    made.run(10_000);
    assertComplete(made);
  });

  it('keeps to the window of a reader that stopped, asks, and goes on when it opens', () => {
    const made = pair({ sizes: [50_000, 0], settings: { receiveBytes: 8000 } });
    const [, server] = made.ends;
    server.readShare = 0;
    made.until(() => made.nowMs >= 600_000);
    assert.equal(server.receivedBytes, 8000);
    assert.ok(
      made.ends[0].segmentsSent < 60,
      `${made.ends[0].segmentsSent.toString()} segments: the probes back off`,
    );
    assert.notEqual(made.ends[0].tcp!.phase, 'closed');
    server.readShare = 1;
    made.run(10_000);
    assertComplete(made);
  });

  it('gives up on a peer that is gone', () => {
    const made = established();
    made.path.loss = 1;
    made.run(1000);
    assert.deepEqual(made.ends[0].news.at(-1), 'timedOut');
  });

  it('finds out by keep-alive that an idle peer is gone, and that one lives', () => {
    const settings = { keepAliveIdleMs: 1000, keepAliveIntervalMs: 100, keepAliveCount: 3 };
    const made = established({ settings });
    made.until(() => made.nowMs >= 20_000);
    assert.deepEqual(
      made.ends.map((end) => end.tcp!.phase),
      ['established', 'established'],
    );
    made.path.loss = 1;
    made.run(1000);
    assert.deepEqual(
      made.ends.map((end) => end.news.at(-1)),
      ['timedOut', 'timedOut'],
    );
  });

  it('has no more segments in flight than the congestion window allows', () => {
    const made = pair({ sizes: [400_000, 0], path: { ...perfect, delayMs: [50, 50] } });
    let first = 0;
    made.onSegment = (from, segment) => {
      if (from.name === 'client' && segment.payload.length > 0 && made.nowMs < 150)
        first += segment.payload.length;
    };
    made.run(10_000);
    assert.ok(first <= 14_600, `${first.toString()} bytes in the first round trip: RFC 6928 allows 14,600`);
    assertComplete(made);
  });
});

describe('TCP against forged and odd segments', () => {
  it('ends by a RST at exactly the next number, and challenges one elsewhere in the window (RFC 5961, 3.2)', () => {
    const made = established();
    const [client] = made.ends;
    const { rcvNxt } = client.tcp!;
    const challenges = answer(made, client, { flags: TcpFlag.rst, sequence: advance(rcvNxt, 100) });
    assert.deepEqual(
      challenges.map(({ flags }) => flags),
      [TcpFlag.ack],
    );
    assert.equal(client.tcp!.phase, 'established');
    assert.deepEqual(answer(made, client, { flags: TcpFlag.rst, sequence: advance(rcvNxt, -1) }), []);
    assert.deepEqual(answer(made, client, { flags: TcpFlag.rst }), []);
    assert.deepEqual(client.news, ['established', 'reset']);
  });

  it('challenges a SYN in a connection that stands (RFC 5961, 4.2)', () => {
    const made = established();
    const [client] = made.ends;
    const answers = answer(made, client, { flags: TcpFlag.syn });
    assert.deepEqual(
      answers.map(({ flags, acknowledgment }) => [flags, acknowledgment]),
      [[TcpFlag.ack, client.tcp!.rcvNxt]],
    );
    assert.equal(client.tcp!.phase, 'established');
  });

  it('drops what acknowledges bytes that were never sent (RFC 5961, 5.2)', () => {
    const made = established();
    const [client] = made.ends;
    const payload = new Uint8Array(10);
    const answers = answer(made, client, { acknowledgment: advance(client.tcp!.sndMax, 1), payload });
    assert.equal(answers[0]!.flags, TcpFlag.ack);
    assert.equal(client.receivedBytes, 0);
  });

  it('makes no flood of challenges', () => {
    const made = established();
    const [client] = made.ends;
    let answers = 0;
    for (let n = 0; n < 1000; n++) answers += answer(made, client, { flags: TcpFlag.syn }).length;
    assert.ok(answers <= 10, `${answers.toString()} answers`);
  });

  it('keeps early pieces in a bounded number, in any order, with any overlap', () => {
    for (let seed = 1; seed <= 50; seed++) {
      const random = new Random(seed);
      const made = established({ settings: { receiveBytes: 60_000 } });
      const [client] = made.ends;
      const stream = randomBytes(random, 5000);
      const start = client.tcp!.rcvNxt;
      for (let n = 0; n < 400; n++) {
        const from = random.integer(1, 4999);
        const to = Math.min(from + random.integer(1, 300), 5000);
        answer(made, client, { sequence: advance(start, from), payload: stream.slice(from, to) });
        assert.ok(client.tcp!.early.length <= 128);
      }
      answer(made, client, { sequence: start, payload: stream.slice(0, 1) });
      answer(made, client, { sequence: client.tcp!.rcvNxt, payload: stream.slice(client.receivedBytes) });
      assert.deepEqual(client.bytes, stream, `seed ${seed.toString()}`);
    }
  });

  it('answers what belongs to no connection as RFC 9293, 3.10.7.1 says', () => {
    const made = established();
    const segment = segmentTo(made.ends[0], { flags: TcpFlag.syn, sequence: 5 });
    assert.deepEqual(resetFor(segment), { sequence: 0, acknowledgment: 6, flags: TcpFlag.rst | TcpFlag.ack });
    assert.deepEqual(resetFor({ ...segment, flags: TcpFlag.ack, acknowledgment: 77 }), {
      sequence: 77,
      acknowledgment: 0,
      flags: TcpFlag.rst,
    });
    assert.equal(resetFor({ ...segment, flags: TcpFlag.rst }), undefined);
  });

  it('reads a segment back as it was built', () => {
    const built = { sequence: 1, acknowledgment: 2, flags: TcpFlag.ack, window: 3 };
    const read = overTheWire(built, undefined);
    assert.deepEqual([read.sequence, read.acknowledgment, read.flags, read.window], [1, 2, TcpFlag.ack, 3]);
  });

  it('tells a peer without scaling of a window once, though its buffer is larger than a header can tell of', () => {
    const made = established();
    const [, server] = made.ends;
    const tcp = server.tcp!;
    tcp.rcvShift = 0;
    tcp.rcvEdge = advance(tcp.rcvNxt, 0xffff);
    assert.ok(defaultTcpSettings.receiveBytes > 2 * 0xffff);
    assert.deepEqual(answer(made, server, {}), []);
  });
});
