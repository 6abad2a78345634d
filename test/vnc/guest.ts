/** A guest that shows what is typed, and a picture in mode 13h from 'g' to the next key, behind a server of VNC. */
import type { TestContext } from 'node:test';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { DisplayWatcher } from '@revenant/emulator';
import { VncServer } from '../../packages/cli/src/vnc/server.ts';
import { firmwareOrSkip, Pc } from '../pc/pc.ts';

export const password = 'Gr8-pwd!';

// prettier-ignore
const bootSector = Uint8Array.from([
  0x31, 0xc0, 0x8e, 0xd8, 0xfc, 0xbe, 0x4b, 0x7c, // xor ax, ax; mov ds, ax; cld; mov si, message
  0xac, 0x84, 0xc0, 0x74, 0x09, 0xb4, 0x0e, 0xbb, 0x07, 0x00, 0xcd, 0x10, 0xeb, 0xf2, // print: lodsb, until 0: int 10h, AH = 0Eh
  0x31, 0xc0, 0xcd, 0x16, 0x3c, 0x67, 0x74, 0x09, // next: int 16h, AH = 0; is it 'g'?
  0xb4, 0x0e, 0xbb, 0x07, 0x00, 0xcd, 0x10, 0xeb, 0xef, // no: print it; next
  0xb8, 0x13, 0x00, 0xcd, 0x10, 0xb8, 0x00, 0xa0, 0x8e, 0xc0, 0x31, 0xff, 0xb9, 0x00, 0xfa, // mode 13h; es:di = A000:0000; cx = 64000
  0x89, 0xf8, 0x30, 0xe0, 0xaa, 0xe2, 0xf9, // mov ax, di; xor al, ah; stosb; loop
  0x31, 0xc0, 0xcd, 0x16, 0xb8, 0x03, 0x00, 0xcd, 0x10, 0xbe, 0x4b, 0x7c, 0xeb, 0xbd, // a key; mode 3; print the message again
]);
const messageAt = bootSector.length;

export class WatchedGuest {
  readonly pc: Pc;
  readonly vnc: VncServer;
  readonly #watcher: DisplayWatcher;

  private constructor(pc: Pc, vnc: VncServer, watcher: DisplayWatcher) {
    [this.pc, this.vnc, this.#watcher] = [pc, vnc, watcher];
  }

  /** Undefined with the test skipped. */
  static async open(context: TestContext): Promise<WatchedGuest | undefined> {
    const firmware = await firmwareOrSkip(context);
    if (firmware === undefined) return undefined;
    const content = new Uint8Array(1_474_560);
    content.set(bootSector);
    content.set(new TextEncoder().encode('Type here: '), messageAt);
    content.set([0x55, 0xaa], 510);
    const pc = await Pc.start({ firmware, media: [{ attach: 'floppy', content }], order: ['floppy'] });
    pc.waitFor(/Type here:/);
    const watcher = new DisplayWatcher();
    const here = { host: '127.0.0.1', port: 0 };
    const vnc = await VncServer.listen({
      place: here,
      web: here,
      password: Buffer.from(password),
      name: 'Revenant',
      takesTablet: () => pc.machine.takesTablet,
      look: () => pc.machine.display.watch(watcher),
      say: (line) => {
        context.diagnostic(line);
      },
      wake: () => undefined,
    });
    return new WatchedGuest(pc, vnc, watcher);
  }

  /** Port for programs, and for web pages. */
  get ports(): [vnc: number, web: number] {
    const [vnc = 0, web = 0] = this.vnc.addresses.map((address) => Number(address.split(':').at(-1)));
    return [vnc, web];
  }

  /** Runs the guest and serves its viewers until something is so. */
  async until(done: () => boolean | Promise<boolean>): Promise<void> {
    while (!(await done())) {
      for (const input of this.vnc.takeInputs()) this.pc.machine.input(input);
      this.pc.machine.run({ instructions: 1_000_000 });
      const now = this.vnc.isWatched ? this.pc.machine.display.watch(this.#watcher) : undefined;
      if (now !== undefined) this.vnc.show(now);
      await nextTurn();
    }
  }

  /** Red, green and blue of each pixel of the display. */
  get shown(): { width: number; height: number; rgb: Buffer } {
    const { width, height, rgba } = this.pc.machine.display.picture() ?? {
      width: 0,
      height: 0,
      rgba: new Uint8Array(0),
    };
    return { width, height, rgb: Buffer.from(rgba.filter((_, n) => n % 4 !== 3)) };
  }
}
