/** A connection that comes in for a guest which is not there, not up yet, or does not listen: it is told so, and does not wait for minutes. */
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { arpFrame, Bench, framesOf, gatewayAddress, guestAddress, segmentsOf } from '../testing/guest.ts';
import { readArp, ArpOperation } from '../wire/arp.ts';
import { TcpFlag, type TcpSegment } from '../wire/tcp.ts';
import type { GatewayEffect } from './events.ts';
import { nextTimer } from './gateway.ts';

const forward = { protocol: 'tcp', hostAddress: '127.0.0.1', hostPort: 8080, guestPort: 80 } as const;
const accepted = { kind: 'tcpAccepted', socket: 1, forward: 0 } as const;

/** Lets timers ring until something with `wanted` happens; returns after how many ms, and all that happened. */
function until(
  bench: Bench,
  wanted: (effect: GatewayEffect) => boolean,
): { ms: number; effects: GatewayEffect[] } {
  const began = bench.nowMs;
  const effects: GatewayEffect[] = [];
  while (!effects.some(wanted)) {
    const at = nextTimer(bench.state);
    assert.notEqual(at, Infinity, 'no timer is set');
    effects.push(...bench.wait(at - bench.nowMs));
  }
  return { ms: bench.nowMs - began, effects };
}

const isReset = ({ kind }: GatewayEffect): boolean => kind === 'tcpReset';

/** What the guest answers a SYN with. */
const answer = ({ sourcePort, sequence }: TcpSegment, flags: number): Partial<TcpSegment> => ({
  sourcePort: 80,
  destinationPort: sourcePort,
  flags: flags | TcpFlag.ack,
  acknowledgment: (sequence + 1) >>> 0,
});

describe('a connection that comes in for a guest', () => {
  it('is reset after three seconds when nobody has its address', () => {
    const bench = new Bench({ forwards: [forward] });
    const asked = framesOf(bench.happen(accepted, { ...accepted, socket: 3 }));
    const { ms, effects } = until(bench, isReset);
    assert.equal(ms, 3000);
    assert.deepEqual(
      [...asked, ...framesOf(effects)].map((frame) => readArp(frame)?.targetAddress),
      [guestAddress, guestAddress, guestAddress],
    );
    assert.deepEqual(effects.filter(isReset), [
      { kind: 'tcpReset', socket: 1 },
      { kind: 'tcpReset', socket: 3 },
    ]);
    assert.equal(bench.state.tcp.size, 0);
  });

  it('is made when the guest comes up meanwhile', () => {
    const bench = new Bench({ forwards: [forward] });
    bench.happen(accepted);
    bench.wait(2500);
    const [syn] = segmentsOf(bench.send(arpFrame(ArpOperation.request, gatewayAddress)));
    bench.tcp(gatewayAddress, answer(syn!, TcpFlag.syn));
    assert.equal([...bench.state.tcp.values()][0]?.tcp?.phase, 'established');
    assert.deepEqual(bench.wait(10_000).filter(isReset), []);
  });

  it('is reset at once when the guest does not listen', () => {
    const bench = new Bench({ forwards: [forward] });
    bench.announce();
    const [syn] = segmentsOf(bench.happen(accepted));
    assert.deepEqual(bench.tcp(gatewayAddress, answer(syn!, TcpFlag.rst)), [{ kind: 'tcpReset', socket: 1 }]);
  });

  it('is asked for every two seconds when the guest is silent, and reset after half a minute', () => {
    const bench = new Bench({ forwards: [forward] });
    bench.announce();
    bench.happen(accepted);
    const { ms, effects } = until(bench, isReset);
    assert.equal(ms, 31_000);
    assert.equal(segmentsOf(effects).filter(({ flags }) => flags === TcpFlag.syn).length, 15);
  });
});
