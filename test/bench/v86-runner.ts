/**
 * Runs a flat multiboot image in v86 and tells when its marker bytes came.
 *
 *   node v86-runner.ts IMAGE jit|interpreter
 *
 * Standard output: one line `MILLISECONDS BYTE` for each byte that the guest wrote to port 0xE9.
 */
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';

interface V86Port {
  register_write(port: number, device: object, write: (value: number) => void): void;
}
interface V86Emulator {
  v86: { cpu: { io: V86Port } };
  add_listener(event: string, listener: () => void): void;
  run(): Promise<void>;
  destroy(): Promise<void>;
}

const [, , image, engine] = process.argv;
if (image === undefined || (engine !== 'jit' && engine !== 'interpreter')) {
  process.stderr.write('usage: v86-runner.ts IMAGE jit|interpreter\n');
  process.exit(2);
}
const folder = dirname(createRequire(import.meta.url).resolve('v86/package.json'));
const { V86 } = (await import('v86')) as unknown as { V86: new (options: object) => V86Emulator };
const bytes = readFileSync(image);
const emulator = new V86({
  wasm_path: join(folder, 'build/v86.wasm'),
  memory_size: 64 << 20,
  multiboot: { buffer: bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.byteLength) },
  disable_jit: engine === 'interpreter',
  autostart: false,
  disable_speaker: true,
});
const lines: string[] = [];
emulator.add_listener('emulator-ready', () => {
  const device = {};
  const finish = (): void => {
    process.stdout.write(lines.join(''), () => process.exit(0));
  };
  emulator.v86.cpu.io.register_write(
    0xe9,
    device,
    (value) => void lines.push(`${performance.now()} ${value}\n`),
  );
  emulator.v86.cpu.io.register_write(0xf4, device, finish);
  void emulator.run();
});
