/** Where blocks begin, as the processor decodes them: they end behind a transfer, a page, or what may change the mode. */
export class BlockWalk {
  #start = -1n;
  #end = -1n;
  #last = -1n;

  begins(address: bigint): boolean {
    return !(address > this.#last && address > this.#start && address < this.#end);
  }

  enter(address: bigint, bytes: number): void {
    this.#start = address;
    this.#end = address + BigInt(bytes);
  }

  at(address: bigint): void {
    this.#last = address;
  }
}
