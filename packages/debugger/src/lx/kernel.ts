/** A Linux kernel in a machine that stands still: where its structures have their members, and which symbol an address belongs to. */
import type { CpuState } from '@revenant/emulator';
import { cpuOf } from '../inspect/guest-memory.ts';
import { membersOf, type Members } from '../inspect/linux/btf.ts';
import { KernelDataError } from '../inspect/linux/kernel-memory.ts';
import { locateKernel, type KernelInside } from '../inspect/linux/locate.ts';
import type { CheckpointView } from '../inspect/view.ts';

/** Behind the last symbol there is other code. */
const longestFunction = 0x10_0000n;

export class LinuxKernel {
  readonly view: CheckpointView;
  readonly cpu: CpuState;
  readonly banner: string;
  readonly inside: KernelInside;
  readonly #members = new Map<string, Members>();
  #byAddress: { address: bigint; name: string }[] | undefined;

  private constructor(view: CheckpointView, banner: string, inside: KernelInside) {
    this.view = view;
    this.cpu = cpuOf(view);
    this.banner = banner;
    this.inside = inside;
  }

  /** Throws InspectError where there is no Linux, KernelDataError where its symbols are not recognised. */
  static async find(view: CheckpointView): Promise<LinuxKernel> {
    const { banner, inside } = await locateKernel(view);
    if (inside === undefined) throw new KernelDataError(`${banner}: its symbols are not recognised`);
    return new LinuxKernel(view, banner, inside);
  }

  /** Offset of a member. Throws KernelDataError where the kernel does not tell (no BTF). */
  member(structure: string, name: string): bigint {
    const found = this.#structure(structure).get(name);
    if (found === undefined)
      throw new KernelDataError(`struct ${structure} of this kernel has no member ${name}`);
    return BigInt(found);
  }

  hasMember(structure: string, name: string): boolean {
    return this.#structure(structure).has(name);
  }

  #structure(name: string): Members {
    let members = this.#members.get(name);
    if (members === undefined) {
      members = membersOf(this.inside.image.bytes, name);
      if (members === undefined)
        throw new KernelDataError(`the kernel does not say how struct ${name} is laid out (no BTF)`);
      this.#members.set(name, members);
    }
    return members;
  }

  /** Address of a symbol. */
  symbol(name: string): bigint | undefined {
    return this.inside.symbols.addresses.get(name);
  }

  requireSymbol(name: string): bigint {
    const address = this.symbol(name);
    if (address === undefined) throw new KernelDataError(`the kernel has no symbol ${name}`);
    return address;
  }

  /** Bytes of the kernel's own code: [from, to). */
  get text(): { from: bigint; to: bigint } {
    return { from: this.inside.image.address, to: this.symbol('_etext') ?? this.inside.image.address };
  }

  /** `name+0x12` of an address in the kernel's code or data. */
  nameOf(address: bigint): string | undefined {
    this.#byAddress ??= [...this.inside.symbols.addresses]
      .map(([name, at]) => ({ name, address: at }))
      .filter(({ address: at }) => at >= this.text.from)
      .sort((a, b) => (a.address < b.address ? -1 : a.address > b.address ? 1 : 0));
    const all = this.#byAddress;
    let [low, high] = [0, all.length];
    while (low < high) {
      const middle = (low + high) >> 1;
      if ((all[middle]?.address ?? 0n) <= address) low = middle + 1;
      else high = middle;
    }
    const symbol = all[low - 1];
    if (symbol === undefined || address - symbol.address >= longestFunction) return undefined;
    const offset = address - symbol.address;
    return offset === 0n ? symbol.name : `${symbol.name}+0x${offset.toString(16)}`;
  }
}
