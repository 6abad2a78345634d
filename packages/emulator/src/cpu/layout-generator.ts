/**
 * Makes core/generated/layout.ts, the AssemblyScript side of cpu/layout.ts: `Cpu.cr0` becomes `Cpu_cr0`.
 * Numbers that fit 32 bits become i32 constants (negative when bit 31 is set); others, bigints and the groups in
 * `wideGroups` i64.
 */
import * as layout from './layout.ts';

/** Groups of 64-bit masks: their low members must not be sign-extended. */
const wideGroups = new Set(['CpuFeature']);

function constant(name: string, value: number | bigint, wide: boolean): string {
  if (typeof value === 'number' && !Number.isInteger(value))
    throw new Error(`layout constant ${name} is no integer`);
  if (wide || typeof value === 'bigint' || value > 0xffff_ffff) {
    return `export const ${name}: i64 = 0x${BigInt.asUintN(64, BigInt(value)).toString(16)};`;
  }
  return `export const ${name}: i32 = ${value | 0};`;
}

/** The text of core/generated/layout.ts. */
export function generateLayout(): string {
  const lines = ['// Generated from cpu/layout.ts by cpu/layout-generator.ts. Do not edit.'];
  for (const [group, fields] of Object.entries(layout)) {
    if (typeof fields === 'number' || typeof fields === 'bigint') {
      lines.push(constant(group, fields, false));
      continue;
    }
    for (const [name, value] of Object.entries(fields as Record<string, number | bigint>)) {
      lines.push(constant(`${group}_${name}`, value, wideGroups.has(group)));
    }
  }
  return lines.join('\n') + '\n';
}
