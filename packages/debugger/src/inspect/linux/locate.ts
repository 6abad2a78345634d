/**
 * Finds the Linux kernel in a guest's RAM: its banner and its symbols by their shape, then its own page tables by symbol. Nothing is
 * assumed of where it lies (KASLR), nor of what ran at that instant: the processor may have stood in user mode with page tables that
 * leave the kernel out (page-table isolation).
 */
import { textBytes } from '../bytes.ts';
import { cpuOf, GuestMemory } from '../guest-memory.ts';
import { cText, KernelMemory, type ByteSource, type PointerBytes } from './kernel-memory.ts';
import { searchPages } from '../search.ts';
import { InspectError, spaceOf, type CheckpointView } from '../view.ts';
import { readKallsyms, tokenPattern, type SymbolTable } from './kallsyms.ts';

const eferLongMode = 1n << 10n;
const cr4Pae = 1n << 5n;
const pageBytes = 4096n;
const mostBannerBytes = 512;
const mostPlaces = 200;
/** Code and data of Linux are smaller. */
const imageBytes = 96 << 20;
const bannerStart = textBytes('Linux version ');
/** linux_banner of init/version.c: release, (builder), (compiler), #build. */
const bannerShape = /^Linux version (\d+\.\d+\S*) \(.+\) \(.+\) #\d+.*\n/;

export interface Kernel {
  banner: string;
  release: string;
  architecture: 'amd64' | 'i386';
  /** Undefined when the kernel holds no symbols, or none were recognised. */
  inside: KernelInside | undefined;
}

export interface KernelInside {
  symbols: SymbolTable;
  memory: KernelMemory;
  /** Code and data of the kernel. */
  image: KernelImage;
}

/** Memory from the beginning of the kernel's code on; its data lie within. */
export interface KernelImage {
  /** Linear address of the first byte. */
  address: bigint;
  bytes: Uint8Array;
}

interface Banner {
  address: bigint;
  text: string;
  release: string;
}

/** RAM by physical address, many pages at a time. */
function ramOf(reader: CheckpointView): ByteSource {
  const { pageSize, pageCount } = spaceOf(reader, 'ram');
  const end = BigInt(pageSize) * BigInt(pageCount);
  return {
    async read(address, length) {
      const last = address + BigInt(length) < end ? address + BigInt(length) : end;
      if (address < 0n || last <= address) return new Uint8Array();
      const first = Number(address / BigInt(pageSize));
      const pages = Uint32Array.from(
        { length: Math.ceil(Number(last) / pageSize) - first },
        (_, n) => first + n,
      );
      const bytes = await reader.readPages('ram', pages);
      return bytes.subarray(Number(address) - first * pageSize, Number(last) - first * pageSize);
    },
  };
}

/** Throws InspectError when there is no Linux. */
export async function locateKernel(
  reader: CheckpointView,
  onProgress?: (progress: { donePages: number; totalPages: number }) => void,
): Promise<Kernel> {
  const cpu = cpuOf(reader);
  const pointerBytes: PointerBytes = cpu.efer & eferLongMode ? 8 : 4;
  const found = await searchPages(reader, [bannerStart, tokenPattern], {
    space: 'ram',
    limit: mostPlaces,
    ...(onProgress && { onProgress }),
  });
  const ram = ramOf(reader);
  const banners: Banner[] = [];
  const tokens: bigint[] = [];
  for (const { offset } of found) {
    const address = BigInt(offset);
    const text = cText(await ram.read(address, mostBannerBytes));
    const release = bannerShape.exec(text)?.[1];
    if (release !== undefined) banners.push({ address, text: text.slice(0, text.indexOf('\n')), release });
    else if (!text.startsWith('Linux')) tokens.push(address);
  }
  const newest = banners[0];
  if (newest === undefined)
    throw new InspectError(
      'no Linux kernel is in memory',
      `'Linux version …' is nowhere in RAM; has the guest got so far? see 'checkpoint console'`,
    );
  const architecture = pointerBytes === 8 ? 'amd64' : 'i386';
  for (const place of tokens)
    for await (const symbols of readKallsyms(ram, place, pointerBytes)) {
      const match = await matchBanner(reader, { ram, symbols, banners, pointerBytes });
      if (match === undefined) continue;
      const { banner, inside } = match;
      return { banner: banner.text, release: banner.release, architecture, inside };
    }
  return { banner: newest.text, release: newest.release, architecture, inside: undefined };
}

interface Candidate {
  ram: ByteSource;
  symbols: SymbolTable;
  banners: readonly Banner[];
  pointerBytes: PointerBytes;
}

/**
 * Symbols that agree with a banner and with page tables. The image is contiguous in linear and in physical addresses, so one symbol whose
 * place is known gives all; kernels without KALLSYMS_ALL have functions only.
 */
async function matchBanner(
  reader: CheckpointView,
  { ram, symbols, banners, pointerBytes }: Candidate,
): Promise<{ banner: Banner; inside: KernelInside } | undefined> {
  const { addresses } = symbols;
  const text = addresses.get('_stext') ?? addresses.get('_text');
  const linear = addresses.get('linux_banner');
  const directory = addresses.get(pointerBytes === 8 ? 'init_top_pgt' : 'swapper_pg_dir');
  if (text === undefined) return undefined;
  const { cr3 } = cpuOf(reader);
  for (const banner of banners) {
    const own = linear !== undefined && directory !== undefined ? [directory - linear + banner.address] : [];
    // Page-table isolation keeps the user's tables in the page behind the kernel's.
    for (const root of [...own, cr3, cr3 & ~pageBytes]) {
      if (root < 0n) continue;
      const guest = await guestWithTables(reader, ram, root);
      const physical = (await guest.translate(text))?.physical;
      if (physical === undefined) continue;
      const bannerLinear = text - physical + banner.address;
      if ((linear ?? bannerLinear) !== bannerLinear) continue;
      if ((await guest.translate(bannerLinear))?.physical !== banner.address) continue;
      const image = { address: text, bytes: await ram.read(physical, imageBytes) };
      return { banner, inside: { symbols, memory: new KernelMemory(guest, pointerBytes), image } };
    }
  }
  return undefined;
}

/** The guest's memory through the page tables at a physical address; in PAE paging the four top entries are there (SDM Vol. 3A 4.4.1). */
async function guestWithTables(reader: CheckpointView, ram: ByteSource, root: bigint): Promise<GuestMemory> {
  const cpu = cpuOf(reader);
  const tables = { ...cpu, cr3: root };
  if (!(cpu.efer & eferLongMode) && cpu.cr4 & cr4Pae) {
    const bytes = await ram.read(root, 32);
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
    const entry = (n: number): bigint => (bytes.length === 32 ? view.getBigUint64(n * 8, true) : 0n);
    Object.assign(tables, { pdpte0: entry(0), pdpte1: entry(1), pdpte2: entry(2), pdpte3: entry(3) });
  }
  return new GuestMemory(reader, tables);
}
