/** Assertions: what can only be false through a fault of our own. Where something is handed over, both sides look. */

/** @throws Error, which ends the machine */
export function insist(holds: boolean, what: string): asserts holds {
  if (!holds) throw new Error(`a fault of Revenant: ${what}`);
}
