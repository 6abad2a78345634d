/** Devices of the PC beside disks, network and timers: the 16550A and others. */
import { describe, test } from 'node:test';
import assert from 'node:assert/strict';
import { AcpiPm } from './timer/acpi-pm.ts';
import { Bus, BusConflictError } from './bus.ts';
import { FwCfg } from './system/fw-cfg.ts';
import { I8042 } from './input/i8042.ts';
import { PciHost } from './pci/pci-host.ts';
import { FakeClock, FakeLine } from './testing/contract.ts';
import { Uart16550A } from './serial/uart-16550a.ts';
import { VgaText } from './video/vga-text.ts';

describe('16550A', () => {
  const make = (): { uart: Uart16550A; clock: FakeClock; irq: FakeLine; sent: number[] } => {
    const clock = new FakeClock();
    const irq = new FakeLine();
    const sent: number[] = [];
    const uart = new Uart16550A({
      name: 'u',
      basePort: 0x3f8,
      irq,
      clock,
      transmit: (byte) => sent.push(byte),
    });
    uart.writePort(0x3fc, 1, 0x0b);
    return { uart, clock, irq, sent };
  };

  test('sending: bytes go out at once, the THR-empty interrupt follows and IIR clears it', () => {
    const { uart, clock, irq, sent } = make();
    uart.writePort(0x3f9, 1, 2);
    assert.equal(irq.level, true, 'enabling it while empty raises it');
    assert.equal(uart.readPort(0x3fa, 1), 2);
    assert.equal(irq.level, false);
    uart.writePort(0x3f8, 1, 0x41);
    assert.deepEqual(sent, [0x41]);
    assert.equal(irq.level, false);
    clock.advance(10_000n);
    assert.equal(irq.level, true);
  });

  test('receiving: trigger level, character timeout, backlog without loss', () => {
    const { uart, clock, irq } = make();
    uart.writePort(0x3fa, 1, 0x81); // FIFO on, trigger at 8
    uart.writePort(0x3f9, 1, 1);
    uart.receive(Uint8Array.of(1, 2, 3));
    assert.equal(irq.level, false);
    clock.advance(100_000n);
    assert.equal(uart.readPort(0x3fa, 1), 0xcc, 'timeout');
    uart.receive(Uint8Array.from({ length: 50 }, (_, n) => n + 4));
    assert.equal(uart.readPort(0x3fa, 1), 0xc4, 'received data');
    const seen: number[] = [];
    while (uart.readPort(0x3fd, 1) & 1) seen.push(uart.readPort(0x3f8, 1));
    assert.deepEqual(
      seen,
      Array.from({ length: 53 }, (_, n) => n + 1),
    );
    assert.equal(irq.level, false);
  });

  test('loopback connects data and modem lines, and divisor latch hides the data registers', () => {
    const { uart, sent } = make();
    uart.writePort(0x3fc, 1, 0x1a);
    assert.equal(uart.readPort(0x3fe, 1) & 0xf0, 0x90, 'RTS and OUT2 as CTS and DCD');
    uart.writePort(0x3f8, 1, 0x55);
    assert.equal(uart.readPort(0x3f8, 1), 0x55);
    assert.deepEqual(sent, []);
    uart.writePort(0x3fb, 1, 0x83);
    uart.writePort(0x3f8, 1, 1);
    uart.writePort(0x3f9, 1, 0);
    assert.equal(uart.readPort(0x3f8, 1), 1);
    uart.writePort(0x3fb, 1, 3);
    assert.equal(uart.readPort(0x3fb, 1), 3);
  });

  test('input beyond the backlog is refused, not buffered without bound', () => {
    const { uart } = make();
    const taken = uart.receive(new Uint8Array(1 << 20));
    assert.ok(taken <= 0x1_0000 && taken > 0);
    assert.equal(uart.receive(Uint8Array.of(1)) <= 1, true);
  });
});

describe('8042', () => {
  const make = () => {
    const keyboardIrq = new FakeLine();
    const mouseIrq = new FakeLine();
    const a20 = { enabled: true, set: (on: boolean) => (a20.enabled = on) };
    let resets = 0;
    const controller = new I8042({ keyboardIrq, mouseIrq, a20, resetSystem: () => resets++ });
    const drain = (): number[] => {
      const seen: number[] = [];
      while (controller.readPort(0x64, 1) & 1) seen.push(controller.readPort(0x60, 1));
      return seen;
    };
    return { controller, keyboardIrq, mouseIrq, a20, drain, resets: () => resets };
  };

  test('keys arrive translated to set 1, or as set 2 when translation is off', () => {
    const { controller, keyboardIrq, drain } = make();
    controller.key('KeyA', true);
    controller.key('KeyA', false);
    controller.key('ArrowUp', true);
    controller.key('ArrowUp', false);
    assert.equal(keyboardIrq.level, true);
    assert.deepEqual(drain(), [0x1e, 0x9e, 0xe0, 0x48, 0xe0, 0xc8]);
    assert.equal(keyboardIrq.level, false);
    controller.writePort(0x64, 1, 0x60);
    controller.writePort(0x60, 1, 0x05);
    controller.key('F7', true);
    controller.key('F7', false);
    assert.deepEqual(drain(), [0x83, 0xf0, 0x83]);
    assert.equal(controller.key('NoSuchKey', true), false);
  });

  test('keyboard commands: identify, LEDs, reset; self test and reset line of the controller', () => {
    const { controller, drain, resets, a20 } = make();
    controller.writePort(0x60, 1, 0xf2);
    assert.deepEqual(
      drain(),
      [0xfa, 0xab, 0x41],
      'the second identity byte 0x83 goes through the translator',
    );
    controller.writePort(0x60, 1, 0xed);
    controller.writePort(0x60, 1, 0x05);
    assert.deepEqual(drain().filter((byte) => byte === 0xfa).length, 2);
    assert.equal(controller.leds, 5);
    controller.writePort(0x64, 1, 0xaa);
    assert.deepEqual(drain(), [0x55]);
    controller.writePort(0x64, 1, 0xd1);
    controller.writePort(0x60, 1, 0x01);
    assert.equal(a20.enabled, false);
    controller.writePort(0x64, 1, 0xfe);
    assert.equal(resets(), 1);
  });

  test('the mouse answers on its port with its own interrupt', () => {
    const { controller, mouseIrq, drain } = make();
    controller.writePort(0x64, 1, 0x60);
    controller.writePort(0x60, 1, 0x47);
    const toMouse = (byte: number): void => {
      controller.writePort(0x64, 1, 0xd4);
      controller.writePort(0x60, 1, byte);
    };
    toMouse(0xff);
    assert.equal(controller.readPort(0x64, 1) & 0x21, 0x21);
    assert.equal(mouseIrq.level, true);
    assert.deepEqual(drain(), [0xfa, 0xaa, 0x00]);
    toMouse(0xf4);
    drain();
    controller.moveMouse({ dx: 5, dy: -3, dz: 0, buttons: 1 });
    assert.deepEqual(drain(), [0x29, 5, 0xfd]);
    for (const rate of [200, 100, 80]) {
      toMouse(0xf3);
      toMouse(rate);
    }
    drain();
    toMouse(0xf2);
    assert.deepEqual(drain(), [0xfa, 3], 'IntelliMouse');
  });
});

describe('other devices', () => {
  test('PCI: bus 0 has the bridges, everything else is absent', () => {
    let pam = new Uint8Array();
    const host = new PciHost({
      memoryAttributes: (bytes) => (pam = Uint8Array.from(bytes)),
      resetSystem: () => undefined,
    });
    const read = (device: number, fn: number, register: number): number => {
      host.writePort(0xcf8, 4, (0x8000_0000 | (device << 11) | (fn << 8) | register) >>> 0);
      return host.readPort(0xcfc, 4);
    };
    assert.equal(read(0, 0, 0), 0x1237_8086);
    assert.equal(read(1, 0, 0), 0x7000_8086);
    for (let device = 0; device < 32; device++)
      for (let fn = 0; fn < 8; fn++) if (device > 1 || fn > 0) assert.equal(read(device, fn, 0), 0xffff_ffff);
    for (let bar = 0x10; bar < 0x28; bar += 4) {
      read(0, 0, bar);
      host.writePort(0xcfc, 4, 0xffff_ffff);
      assert.equal(host.readPort(0xcfc, 4), 0);
    }
    read(0, 0, 0x58);
    host.writePort(0xcfd, 1, 0x30);
    assert.equal(pam[0], 0x30);
  });

  test('fw_cfg: signature, file directory, DMA', () => {
    const ram = new Uint8Array(4096);
    const memory = {
      read: (at: number, length: number) => ram.slice(at, at + length),
      readInto: (at: number, target: Uint8Array) => {
        target.set(ram.subarray(at, at + target.length));
      },
      write: (at: number, data: Uint8Array) => {
        ram.set(data, at);
      },
    };
    const device = new FwCfg({
      memory,
      items: new Map(),
      files: new Map([['etc/test', Uint8Array.of(7, 8, 9)]]),
    });
    const bus = new Bus();
    bus.attach(device);
    const text = (key: number, length: number): string => {
      bus.writePort(0x510, 2, key);
      return String.fromCharCode(...Array.from({ length }, () => bus.readPort(0x511, 1)));
    };
    assert.equal(text(0, 4), 'QEMU');
    assert.equal(text(0x19, 4), '\0\0\0\x01', 'one file');
    assert.ok(text(0x19, 68).includes('etc/test'));
    assert.equal(text(0x8000, 4), '\0\0\0\0', 'architecture-local items are others');
    const request = new DataView(ram.buffer);
    request.setUint32(0x100, (0x20 << 16) | 8 | 2); // select file 0x20, read
    request.setUint32(0x104, 3);
    request.setUint32(0x10c, 0x200);
    const swapped = new DataView(new ArrayBuffer(4));
    swapped.setUint32(0, 0x100);
    bus.writePort(0x518, 4, swapped.getUint32(0, true));
    assert.deepEqual([...ram.subarray(0x200, 0x203)], [7, 8, 9]);
    assert.equal(request.getUint32(0x100), 0, 'done, no error');
  });

  test('ACPI: the timer counts at 3.58 MHz, the power button raises the SCI, S5 switches off', () => {
    const clock = new FakeClock();
    const sci = new FakeLine();
    let off = 0;
    const pm = new AcpiPm({ sci, clock, powerOff: () => off++ });
    clock.advance(1_000_000_000n);
    assert.equal(pm.readPort(0x608, 4), 3_579_545);
    pm.writePort(0x602, 2, 0x100);
    pm.pressPowerButton();
    assert.equal(sci.level, true);
    pm.writePort(0x600, 2, 0x100);
    assert.equal(sci.level, false);
    pm.writePort(0x604, 2, (5 << 10) | 0x2000);
    assert.equal(off, 1);
  });

  test('VGA: cursor, start address and retrace', () => {
    const clock = new FakeClock();
    const vga = new VgaText({ clock });
    const vram = new Uint8Array(0x8000);
    vram.set([0x41, 7], 80 * 2);
    const crtc = (index: number, value: number): void => {
      vga.writePort(0x3d4, 1, index);
      vga.writePort(0x3d5, 1, value);
    };
    crtc(0x0d, 80);
    crtc(0x0f, 82);
    const screen = vga.screen(vram);
    assert.deepEqual([screen.columns, screen.rows, screen.cells[0]], [80, 25, 0x0741]);
    assert.deepEqual(screen.cursor, { column: 2, row: 0 });
    crtc(0x0a, 0x20);
    assert.equal(vga.screen(vram).cursor, undefined);
    const seen = new Set<number>();
    for (let n = 0; n < 2000; n++) {
      seen.add(vga.readPort(0x3da, 1) & 8);
      clock.advance(20_000n);
    }
    assert.deepEqual([...seen].sort(), [0, 8]);
  });

  test('the bus splits wide accesses, floats high, and refuses two owners of an address', () => {
    const bus = new Bus();
    const writes: [number, number][] = [];
    const device = {
      name: 'probe',
      version: 1,
      ports: [{ first: 0x100, last: 0x101 }],
      mmio: [{ base: 0x1000, length: 8, width: 4 as const }],
      readPort: (port: number) => port & 0xff,
      writePort: (port: number, _size: number, value: number) => writes.push([port, value]),
      readMemory: (offset: number, size: number) => offset * 16 + size,
      reset: () => undefined,
      save: () => ({}),
      restore: () => undefined,
    };
    bus.attach(device);
    assert.equal(bus.readPort(0x100, 4), 0xffff_0100);
    bus.writePort(0x100, 2, 0xbeef);
    assert.deepEqual(writes, [
      [0x100, 0xef],
      [0x101, 0xbe],
    ]);
    assert.equal(bus.readMemory(0x1004, 4), 68);
    assert.equal(bus.readMemory(0x1006, 4), 0xffff_0062);
    assert.equal(bus.readPort(0xffff, 4), 0xffff_ffff);
    assert.throws(() => {
      bus.attach({ ...device, mmio: [] });
    }, BusConflictError);
  });
});
