/**
 * Where a guest's instructions go, as a flame graph: the run is stopped each so many instructions, which is exact and repeatable, and its stack is
 * walked. Kernels have no frame pointers, so the stack is scanned: a word counts as a return address when an instruction that calls ends there.
 */
import { disassembleOne, type CpuState } from '@revenant/emulator';
import { readMemory } from '../gdb/memory.ts';
import { linearRip } from '../gdb/registers.ts';
import type { TimeMachine } from '../time/time-machine.ts';
import { codeMode } from './trace.ts';
import type { NameOf } from './format.ts';

const stackBytes = 2048;
const maxFrames = 40;
/** Lengths of CALL: to a register, memory, relative. */
const callLengths = [2, 3, 5, 6, 7] as const;

export interface FlameNode {
  name: string;
  samples: number;
  children: Map<string, FlameNode>;
}

/** Whether the instruction in front of an address calls. */
function followsCall(bytes: Uint8Array, mode: 16 | 32 | 64): boolean {
  return callLengths.some((length) => {
    const from = bytes.length - length;
    if (from < 0) return false;
    const { mnemonic, length: decoded } = disassembleOne(bytes.subarray(from), mode);
    return decoded === length && mnemonic.startsWith('call');
  });
}

/** Addresses from the innermost outwards. */
export function stackOf(target: TimeMachine, cpu: CpuState = target.machine.registers()): bigint[] {
  const { machine } = target;
  const mode = codeMode(cpu);
  const frames = [linearRip(cpu)];
  if (mode === 16) return frames;
  const word = mode / 8;
  const stack = readMemory(machine, BigInt.asUintN(mode, cpu.rsp), stackBytes);
  const view = new DataView(stack.buffer, stack.byteOffset, stack.length);
  for (let at = 0; at + word <= stack.length && frames.length < maxFrames; at += word) {
    const address = word === 8 ? view.getBigUint64(at, true) : BigInt(view.getUint32(at, true));
    if (address < 0x1000n) continue;
    const before = readMemory(machine, address - 7n, 7);
    if (before.length === 7 && followsCall(before, mode)) frames.push(address);
  }
  return frames;
}

/** Samples each `every` instructions until `to`; a turn ends at each. */
export function* sample(
  target: TimeMachine,
  { every, to, nameOf }: { every: bigint; to: bigint; nameOf: NameOf },
): Generator<undefined, FlameNode> {
  const root: FlameNode = { name: 'all', samples: 0, children: new Map() };
  while (target.count < to) {
    const next = target.count + every;
    const steps = target.forward(next < to ? next : to);
    let step = steps.next();
    for (; step.done !== true; step = steps.next()) yield undefined;
    if (step.value.kind !== 'step') break;
    const names = stackOf(target).map((address) => nameOf(address) ?? `0x${address.toString(16)}`);
    let node = root;
    node.samples++;
    for (const name of names.reverse()) {
      let child = node.children.get(name);
      if (child === undefined) node.children.set(name, (child = { name, samples: 0, children: new Map() }));
      child.samples++;
      node = child;
    }
    yield undefined;
  }
  return root;
}

const width = 1200;
const rowHeight = 17;
const escapes: Readonly<Record<string, string>> = { '&': '&amp;', '<': '&lt;', '>': '&gt;', '"': '&quot;' };

function depthOf(node: FlameNode): number {
  return 1 + Math.max(0, ...[...node.children.values()].map(depthOf));
}

/** An SVG with a title on each box; boxes narrower than a pixel are left out. */
export function flameSvg(root: FlameNode): string {
  const height = depthOf(root) * rowHeight + 10;
  const boxes: string[] = [];
  const draw = (node: FlameNode, x: number, level: number): void => {
    const wide = (node.samples / Math.max(1, root.samples)) * width;
    if (wide < 1) return;
    const y = height - (level + 1) * rowHeight - 5;
    const name = node.name.replaceAll(/[&<>"]/g, (letter) => escapes[letter] ?? letter);
    const percent = ((100 * node.samples) / Math.max(1, root.samples)).toFixed(1);
    const hue = 15 + ([...node.name].reduce((sum, letter) => sum + letter.charCodeAt(0), 0) % 40);
    const letters = Math.floor((wide - 6) / 6.5);
    const shown = node.name.length <= letters ? name : '';
    boxes.push(
      `<g><title>${name}: ${node.samples} samples, ${percent} %</title><rect x="${x.toFixed(1)}" y="${y}" width="${wide.toFixed(1)}" height="${rowHeight - 1}" fill="hsl(${hue},80%,65%)"/><text x="${(x + 3).toFixed(1)}" y="${y + 12}">${shown}</text></g>`,
    );
    let at = x;
    for (const child of [...node.children.values()].sort((a, b) => (a.name < b.name ? -1 : 1))) {
      draw(child, at, level + 1);
      at += (child.samples / Math.max(1, root.samples)) * width;
    }
  };
  draw(root, 0, 0);
  return `<svg xmlns="http://www.w3.org/2000/svg" width="${width}" height="${height}" font-family="monospace" font-size="11">\n${boxes.join('\n')}\n</svg>\n`;
}
