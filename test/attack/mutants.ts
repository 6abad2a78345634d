/** How attacks change what is valid: bytes, and values of JSON. */
import type { Random } from '../../packages/simulation/src/random.ts';

export const objectNames = Object.getOwnPropertyNames(Object.prototype);

/** One to four bytes are others; now and then the end is missing. */
export function mutate(bytes: Uint8Array, random: Random): Uint8Array {
  const mutant = Uint8Array.from(bytes);
  if (mutant.length === 0) return mutant;
  for (let changes = random.integer(1, 4); changes > 0; changes--)
    mutant[random.integer(0, mutant.length - 1)] = random.integer(0, 255);
  return random.chance(0.2) ? mutant.subarray(0, random.integer(0, mutant.length)) : mutant;
}

function deep(levels: number): unknown {
  let value: unknown = 1;
  for (let level = 0; level < levels; level++) value = [value];
  return value;
}

/** What a field may hold that nobody meant. */
const strange: readonly ((random: Random) => unknown)[] = [
  (random) => random.pick(objectNames),
  (random) => random.pick([-1, 0, 0.5, 2 ** 53, 1e308, -1e308, 65_536]),
  () => null,
  () => [],
  () => ({}),
  () => true,
  () => '',
  (random) => 'x'.repeat(random.integer(1, 2000)),
  (random) => String.fromCharCode(random.integer(0, 0xffff)).repeat(3),
  (random) => deep(random.integer(1, 100)),
  (random) => Array.from({ length: random.integer(1, 300) }, () => 1),
  (random) => ({ [random.pick(objectNames)]: random.pick(objectNames) }),
];

/** The value with one to three of its members replaced, removed, or joined by others. */
export function mutateValue(value: unknown, random: Random): unknown {
  let mutant = value;
  for (let changes = random.integer(1, 3); changes > 0; changes--) mutant = changed(mutant, random);
  return mutant;
}

function changed(value: unknown, random: Random): unknown {
  if (typeof value !== 'object' || value === null || random.chance(0.1)) return random.pick(strange)(random);
  const entries: [string, unknown][] = Object.entries(value);
  if (random.chance(0.1) || entries.length === 0)
    entries.push([random.pick([...objectNames, 'further']), random.pick(strange)(random)]);
  else {
    const at = random.integer(0, entries.length - 1);
    const [name, member] = entries[at]!;
    if (random.chance(0.1)) entries.splice(at, 1);
    else entries[at] = [name, changed(member, random)];
  }
  if (Array.isArray(value)) return entries.map(([, member]) => member);
  // Defined, not assigned: `__proto__` is to be a member like others.
  const mutant = {};
  for (const [name, member] of entries)
    Object.defineProperty(mutant, name, {
      value: member,
      enumerable: true,
      writable: true,
      configurable: true,
    });
  return mutant;
}
