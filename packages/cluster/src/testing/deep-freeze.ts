/** Makes a value, and all that it holds, fail whoever tries to change it: shows in tests that a function is pure. */
const frozen = new WeakSet<object>();

export function deepFreeze<T>(value: T): T {
  if (typeof value !== 'object' || value === null || frozen.has(value)) return value;
  frozen.add(value);
  if (value instanceof Map || value instanceof Set) {
    for (const entry of value) deepFreeze(entry);
    const refuse = (): never => {
      throw new TypeError('a frozen Map or Set was to be changed');
    };
    for (const name of ['set', 'add', 'delete', 'clear'])
      if (name in value) Object.defineProperty(value, name, { value: refuse });
  } else for (const member of Object.values(value)) deepFreeze(member);
  return Object.freeze(value);
}
