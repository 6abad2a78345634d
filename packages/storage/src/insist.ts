/** Assertions: what can only be false through a fault of our own. Where something is written or handed over, both sides look: one fault rarely deceives two. */

/** @throws Error, which costs whatever was being done, and nothing that is stored already */
export function insist(holds: boolean, what: string): asserts holds {
  if (!holds) throw new Error(`a fault of Revenant: ${what}`);
}
