/**
 * Runs a flat multiboot image in our emulator and tells when its marker bytes came.
 *
 *   node revenant-runner.ts IMAGE interpreter|translator
 *
 * Standard output: one line `MILLISECONDS BYTE INSTRUCTIONS` for each byte that the guest wrote to port 0xE9.
 */
import { readFileSync } from 'node:fs';
import { BareMachine } from '../system/bare-machine.ts';

const [, , image, engine] = process.argv;
if (image === undefined || (engine !== 'interpreter' && engine !== 'translator')) {
  process.stderr.write('usage: revenant-runner.ts IMAGE interpreter|translator\n');
  process.exit(2);
}
const machine = await BareMachine.create(engine);
const lines: string[] = [];
machine.onByte = (byte) => {
  lines.push(`${performance.now()} ${byte} ${machine.instructions}\n`);
};
machine.load(readFileSync(image));
const { end } = machine.run(10n ** 11n);
if (end !== 'exit') process.stderr.write(`the guest ended by ${end}\n`);
process.stdout.write(lines.join(''));
