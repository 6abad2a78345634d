/** Interrupt controllers: 8259A pair, I/O APIC, local APIC. */
import { describe, test } from 'node:test';
import assert from 'node:assert/strict';
import { IoApic } from './io-apic.ts';
import { LocalApic, type ApicBus } from './lapic.ts';
import { Pic8259A } from './pic-8259a.ts';
import { FakeClock, FakeLine } from '../testing/contract.ts';

function initializedPic(options: { autoEoi?: boolean } = {}): { pic: Pic8259A; intr: FakeLine } {
  const intr = new FakeLine();
  const pic = new Pic8259A({ intr });
  for (const [port, value] of [
    [0x20, 0x11],
    [0x21, 0x20],
    [0x21, 4],
    [0x21, options.autoEoi ? 3 : 1],
    [0xa0, 0x11],
    [0xa1, 0x28],
    [0xa1, 2],
    [0xa1, 1],
  ] as const)
    pic.writePort(port, 1, value);
  return { pic, intr };
}

describe('8259A', () => {
  test('priorities: IR0 first, nested by priority, EOI opens the next', () => {
    const { pic, intr } = initializedPic();
    pic.setLine(4, true);
    pic.setLine(1, true);
    assert.equal(pic.acknowledge(), 0x21);
    assert.equal(intr.level, false, 'IR4 waits for the EOI of IR1');
    pic.setLine(0, true);
    assert.equal(intr.level, true, 'IR0 interrupts IR1');
    assert.equal(pic.acknowledge(), 0x20);
    pic.writePort(0x20, 1, 0x20);
    pic.writePort(0x20, 1, 0x20);
    assert.equal(pic.acknowledge(), 0x24);
  });

  test('the slave comes through IR2, and needs its own EOI', () => {
    const { pic, intr } = initializedPic();
    pic.setLine(12, true);
    assert.equal(pic.acknowledge(), 0x2c);
    pic.writePort(0xa0, 1, 0x0b);
    assert.equal(pic.readPort(0xa0, 1), 0x10, 'slave ISR');
    pic.writePort(0x20, 1, 0x0b);
    assert.equal(pic.readPort(0x20, 1), 0x04, 'master ISR');
    pic.setLine(8, true);
    assert.equal(intr.level, false);
    pic.writePort(0xa0, 1, 0x20);
    pic.writePort(0x20, 1, 0x20);
    assert.equal(pic.acknowledge(), 0x28);
  });

  test('masking, and a request that goes while it waits in level mode: spurious IR7 without an ISR bit', () => {
    const { pic, intr } = initializedPic();
    pic.writePort(0x4d0, 1, 0x20);
    pic.setLine(5, true);
    assert.equal(intr.level, true);
    pic.writePort(0x21, 1, 0x20);
    assert.equal(intr.level, false);
    pic.writePort(0x21, 1, 0);
    pic.setLine(5, false);
    assert.equal(pic.acknowledge(), 0x27);
    pic.writePort(0x20, 1, 0x0b);
    assert.equal(pic.readPort(0x20, 1), 0);
  });

  test('a level line that stays high asks again after the EOI, an edge does not', () => {
    const { pic, intr } = initializedPic();
    pic.writePort(0x4d1, 1, 0x02);
    for (const [irq, again] of [
      [9, true],
      [10, false],
    ] as const) {
      pic.setLine(irq, true);
      assert.equal(pic.acknowledge(), 0x20 + irq);
      pic.writePort(0xa0, 1, 0x20);
      pic.writePort(0x20, 1, 0x20);
      assert.equal(intr.level, again);
      pic.setLine(irq, false);
    }
  });

  test('automatic EOI, rotation, special mask and poll', () => {
    const auto = initializedPic({ autoEoi: true });
    auto.pic.setLine(3, true);
    assert.equal(auto.pic.acknowledge(), 0x23);
    auto.pic.setLine(4, true);
    assert.equal(auto.intr.level, true, 'nothing is in service');

    const { pic, intr } = initializedPic();
    pic.writePort(0x20, 1, 0xc3); // set priority: IR3 lowest, so IR4 highest
    pic.setLine(0, true);
    pic.setLine(4, true);
    assert.equal(pic.acknowledge(), 0x24);
    pic.writePort(0x20, 1, 0xa0); // rotate on non-specific EOI: IR4 lowest
    pic.setLine(5, true);
    assert.equal(pic.acknowledge(), 0x25);
    pic.writePort(0x21, 1, 0x20);
    pic.writePort(0x20, 1, 0x68); // special mask mode: masked IR5 in service blocks nothing
    assert.equal(intr.level, true);
    pic.writePort(0x20, 1, 0x0c); // poll
    assert.equal(pic.readPort(0x20, 1), 0x80);
  });
});

interface Apic {
  apic: LocalApic;
  clock: FakeClock;
  intr: FakeLine;
  ended: number[];
  nmis: () => number;
}

function localApic(): Apic {
  const clock = new FakeClock();
  const intr = new FakeLine();
  const ended: number[] = [];
  let tpr = 0;
  let nmi = 0;
  const bus: ApicBus = {
    send: (message, destination) => {
      if (!apic.matches(destination)) return false;
      apic.accept(message);
      return true;
    },
    sendShorthand: (message, shorthand) => {
      if (shorthand !== 'others') apic.accept(message);
    },
    endOfInterrupt: (vector) => ended.push(vector),
  };
  const apic: LocalApic = new LocalApic({
    cpuIndex: 0,
    clock,
    bus,
    intr,
    cr8: { get: () => tpr, set: (value) => (tpr = value) },
    tscOffset: () => 0n,
    nmi: () => nmi++,
    init: () => undefined,
    startup: () => undefined,
    externalVector: () => 0x30,
  });
  apic.writeMemory(0xf0, 4, 0x1ff);
  return { apic, clock, intr, ended, nmis: () => nmi };
}

const fixed = { deliveryMode: 0, level: true, levelTriggered: false };

describe('local APIC', () => {
  test('priority classes: TPR and the vector in service hold back equal and lower classes', () => {
    const { apic, intr } = localApic();
    apic.writeMemory(0x80, 4, 0x50);
    apic.accept({ ...fixed, vector: 0x55 });
    assert.equal(intr.level, false);
    apic.writeMemory(0x80, 4, 0);
    assert.equal(intr.level, true);
    assert.equal(apic.acknowledge(), 0x55);
    apic.accept({ ...fixed, vector: 0x5f });
    assert.equal(intr.level, false);
    apic.accept({ ...fixed, vector: 0x60 });
    assert.equal(apic.acknowledge(), 0x60);
    apic.writeMemory(0xb0, 4, 0);
    apic.writeMemory(0xb0, 4, 0);
    assert.equal(apic.acknowledge(), 0x5f);
    assert.equal(apic.readMemory(0x120, 4) >>> 31, 1, 'ISR bit 0x5f');
  });

  test('the EOI of a level-triggered vector is broadcast, that of an edge is not', () => {
    const { apic, ended } = localApic();
    for (const [vector, levelTriggered] of [
      [0x41, true],
      [0x42, false],
    ] as const) {
      apic.accept({ ...fixed, vector, levelTriggered });
      apic.acknowledge();
      apic.writeMemory(0xb0, 4, 0);
    }
    assert.deepEqual(ended, [0x41]);
  });

  test('INIT keeps the identifier and nothing else', () => {
    const { apic, intr } = localApic();
    apic.writeMemory(0x20, 4, 0x0500_0000);
    apic.writeMemory(0xd0, 4, 0x0200_0000);
    apic.accept({ ...fixed, vector: 0x60 });
    assert.equal(intr.level, true);
    apic.initialize();
    assert.equal(intr.level, false);
    assert.equal(apic.id, 5);
    assert.equal(apic.readMemory(0xd0, 4), 0);
    assert.equal(apic.readMemory(0xf0, 4), 0xff, 'software-disabled');
    apic.accept({ ...fixed, vector: 0x60 });
    assert.equal(intr.level, false);
  });

  test('timer: one shot, periodic with divider, TSC deadline', () => {
    const { apic, clock } = localApic();
    const take = (): number => {
      const vector = apic.acknowledge();
      apic.writeMemory(0xb0, 4, 0);
      return vector;
    };
    apic.writeMemory(0x3e0, 4, 0xb); // divide by 1
    apic.writeMemory(0x320, 4, 0x40);
    apic.writeMemory(0x380, 4, 1000);
    clock.advance(400n);
    assert.equal(apic.readMemory(0x390, 4), 600);
    clock.advance(600n);
    assert.equal(take(), 0x40);
    assert.equal(apic.readMemory(0x390, 4), 0);

    apic.writeMemory(0x3e0, 4, 0x3); // divide by 16
    apic.writeMemory(0x320, 4, 0x2_0041);
    apic.writeMemory(0x380, 4, 100);
    for (let n = 0; n < 3; n++) {
      clock.advance(1600n);
      assert.equal(take(), 0x41);
    }
    apic.writeMemory(0x320, 4, 0x4_0042);
    apic.writeTscDeadline(clock.now() + 5000n);
    assert.equal(apic.readTscDeadline(), clock.now() + 5000n);
    clock.advance(5000n);
    assert.equal(take(), 0x42);
    assert.equal(apic.readTscDeadline(), 0n);
  });

  test('IPIs to itself, NMI, illegal vectors, software disable', () => {
    const { apic, intr, nmis } = localApic();
    apic.writeMemory(0x300, 4, 0x4_0045);
    assert.equal(apic.acknowledge(), 0x45);
    apic.writeMemory(0xb0, 4, 0);
    apic.writeMemory(0x300, 4, 0x4_0400);
    assert.equal(nmis(), 1);
    apic.writeMemory(0x300, 4, 0x4_0005);
    apic.writeMemory(0x280, 4, 0);
    assert.equal(apic.readMemory(0x280, 4), 0x20, 'send illegal vector');
    apic.writeMemory(0xf0, 4, 0xff);
    assert.equal(apic.readMemory(0x320, 4) & 0x1_0000, 0x1_0000);
    apic.accept({ ...fixed, vector: 0x70 });
    assert.equal(intr.level, false);
  });

  test('LINT0 passes the 8259A through while it is ExtINT or the APIC is off', () => {
    const { apic, intr } = localApic();
    apic.setLint0(true);
    assert.equal(intr.level, true);
    assert.equal(apic.acknowledge(), 0x30);
    apic.writeMemory(0x350, 4, 0x1_0700);
    assert.equal(intr.level, false);
    apic.setEnabled(false);
    assert.equal(intr.level, true);
    assert.equal(apic.readMemory(0x30, 4), 0xffff_ffff);
  });
});

describe('I/O APIC', () => {
  test('edges are sent once, levels again after each EOI while the pin is active', () => {
    const sent: number[] = [];
    const bus: ApicBus = {
      send: ({ vector }) => {
        sent.push(vector);
        return true;
      },
      sendShorthand: () => undefined,
      endOfInterrupt: () => undefined,
    };
    const apic = new IoApic({ bus });
    const write = (index: number, value: number): void => {
      apic.writeMemory(0, 4, index);
      apic.writeMemory(0x10, 4, value);
    };
    apic.setPin(4, true);
    assert.deepEqual(sent, [], 'masked');
    apic.setPin(4, false);
    write(0x10 + 2 * 4, 0x44);
    apic.setPin(4, true);
    apic.setPin(4, true);
    assert.deepEqual(sent, [0x44]);
    write(0x10 + 2 * 9, 0x8049);
    apic.setPin(9, true);
    apic.setPin(9, true);
    assert.deepEqual(sent, [0x44, 0x49]);
    apic.writeMemory(0, 4, 0x10 + 2 * 9);
    assert.equal(apic.readMemory(0x10, 4), 0xc049, 'remote IRR');
    apic.endOfInterrupt(0x49);
    assert.deepEqual(sent, [0x44, 0x49, 0x49]);
    apic.setPin(9, false);
    apic.endOfInterrupt(0x49);
    assert.equal(apic.readMemory(0x10, 4), 0x8049);
  });
});
