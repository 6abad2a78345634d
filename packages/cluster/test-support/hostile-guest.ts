/**
 * A guest that prints what may hurt whoever shows it: markup, escape sequences that set titles, links and clipboards or ask the terminal to
 * answer, bytes that are no text; then a hundred megabytes as fast as it can.
 */
import { ToyGuest } from '../src/vm/toy-guest.ts';
import type { Guest, GuestStart } from '../src/vm/vm-runtime.ts';

const floodBytes = 100 << 20;
/** What one output may have at most is 64 KiB. */
const pieceBytes = 48 << 10;
/** How many bytes of the flood are out stands here. */
const doneAddress = 0;
const hostile = [
  '<img src=x onerror="document.title=\'hurt\'"><script>document.title="hurt"</script>',
  '&lt;b&gt; {{7*7}} ${7*7} `',
  '\x1b]0;hurt\x07\x1b]2;hurt\x07',
  '\x1b]8;;javascript:document.title=1\x07a link\x1b]8;;\x07',
  '\x1b]52;c;aHVydA==\x07',
  '\x1b[>c\x1b[6n\x1b[5n\x1bP+q544e\x1b\\',
  '\x1b[999999999;999999999H\x1b[999999999b\x1b[8;9999;9999t',
  '\x1b]' + 'x'.repeat(40_000) + '\x07',
  '\x9b31m\xff\xfe\xc3\x28\x00\x07\x0e\x0f',
  '\x1bc',
  'here is the end of the markup\r\n',
].join('\r\n');

class HostileGuest extends ToyGuest {
  constructor(start: GuestStart) {
    super({ machine: 'hostile', cpu: 'none', pages: 1, start });
  }

  run(): 'limit' | 'idle' {
    this.step();
    return this.readU32(doneAddress) < floodBytes ? 'limit' : 'idle';
  }

  protected step(): void {
    this.instructions += 1n;
    const done = this.readU32(doneAddress);
    if (done === 0) {
      this.say(hostile);
      this.writeU32(doneAddress, 1);
      return;
    }
    if (done >= floodBytes) return;
    this.say('A flood, line after line.\r\n'.repeat(pieceBytes / 27));
    this.writeU32(doneAddress, done + pieceBytes);
    if (done + pieceBytes >= floodBytes) this.say('the flood is over\r\n');
  }

  protected typed(bytes: Uint8Array): void {
    this.say(`typed ${Buffer.from(bytes).toString('hex')}\r\n`);
  }
}

export function createGuest(start: GuestStart): Promise<Guest> {
  return Promise.resolve(new HostileGuest(start));
}
