/**
 * Where everything lies in a VM's linear memory. The core (AssemblyScript), both engines and the machine use
 * these numbers; `core/generated/layout.ts` is made from them, so this file is the only place to change one.
 *
 * Always: every function that works for a processor takes the address of its vCPU block as first parameter;
 * offsets below named after a register are relative to that address.
 */

/** Machine-wide regions, absolute addresses in bytes. */
export const Region = {
  /** Page 0 is never used, so that a null pointer is seen. */
  machine: 0x1000,
  /** The blocks that jumps reached last (see JumpCache). */
  jumpCache: 0x8000,
  /** Decode tables, written by the data segment of interpreter.wasm. */
  decodeTables: 0x1_0000,
  decodeTablesEnd: 0x7_0000,
  /** Static data of core.wasm (asc --memoryBase). */
  coreData: 0x7_0000,
  coreDataEnd: 0x8_0000,
  /** vCPU blocks, `cpuBlockBytes` each. */
  cpuBlocks: 0x8_0000,
  /** Six TLBs per vCPU (see Tlb), `tlbBytesPerCpu` each vCPU. */
  tlbs: 0xc_0000,
  /** Entries of these that have been filled since their last flush, `Tlb.fillBytesPerCpu` each vCPU (see Tlb). */
  tlbFills: 0x30_0000,
  /** What a debugger stops at (see Debug). */
  debug: 0x34_0000,
  /** One u32 for each 4 KiB page below 4 GiB of guest-physical space (see PhysicalPage). */
  physicalMap: 0x40_0000,
  /**
   * One byte for each 4 KiB page below 4 GiB of guest-physical space: not 0 when the processor came by it (a walk, a fill of a translation buffer) since the host
   * took the marks back. No state of the machine: what a copy of it will need first.
   */
  accessed: 0x80_0000,
  /** First byte of the arrays sized by the machine: see Machine fields that point to them. */
  dynamic: 0x90_0000,
} as const;

/** As many processors as there is room for in a machine. */
export const maxCpus = 16;
export const cpuBlockBytes = 0x4000;
/** In bytes. */
export const pageBytes = 4096;

/** TLB entry: { tag: i64, addend: i32, physicalPage: u32 (frame number) }. */
export const Tlb = {
  entries: 1024,
  entryBytes: 16,
  tag: 0,
  addend: 8,
  physicalPage: 12,
  tableBytes: 1024 * 16,
  /** Order of the tables of one vCPU. */
  supervisorRead: 0,
  supervisorWrite: 1,
  supervisorExecute: 2,
  userRead: 3,
  userWrite: 4,
  userExecute: 5,
  /** Always empty: selected as read and write table while every access must take the slow path (alignment check). */
  empty: 6,
  /** Supervisor data accesses with CR4.SMAP and EFLAGS.AC set: may hold user pages, the supervisor tables then do not. */
  smapRead: 7,
  smapWrite: 8,
  tables: 9,
  bytesPerCpu: 9 * 1024 * 16,
  /**
   * Three lists of entries, each a u32 count and addresses: filled since the last write of CR3 (not global), filled with a global
   * translation since the last flush of everything, filled for a supervisor's write to a read-only page (CR0.WP = 0). A count beyond what the
   * list has room for stands for all entries.
   */
  fills: 0,
  fillsMax: 1023,
  globalFills: 0x1000,
  globalFillsMax: 1023,
  readOnlyFills: 0x2000,
  readOnlyFillsMax: 255,
  fillBytesPerCpu: 0x4000,
  /** Bits of physicalPage beside the frame number: the translation is global; it comes from a large page. */
  globalBit: 0x8000_0000,
  largeBit: 0x4000_0000,
  /** Not canonical and not page-aligned, so it never matches. */
  invalidTag: 0x8000_0000_0000_0001n,
  /**
   * The tag of an entry whose page is watched, or that a write is to mark as dirty first, differs in this bit: it belongs to another entry, so
   * the inline compare misses, and the slow path still finds the translation.
   */
  watchedBit: 0x1000,
} as const;

/**
 * Remembers for an address of code which block begins there, direct-mapped, so that a jump to another page or a return need not search
 * the hash. Only shortens the search: the address comes from the TLB each time.
 */
export const JumpCache = {
  entries: 2048,
  entryBytes: 16,
  host: 0, // u32: linear-memory address of the first byte; 0 = empty
  key: 4, // u32: ModeKey
  entry: 8, // u32: record at which the block is entered
  bytes: 2048 * 16,
} as const;

/**
 * Breakpoints and watchpoints of a debugger outside of the guest, relative to Region.debug. The host writes lists and counts and then calls
 * `debugChanged`. Nothing here belongs to the guest's state.
 */
export const Debug = {
  breakpoints: 0, // u32, entries of breakpointList
  watchpoints: 4, // u32, entries of watchList
  /** Watchpoints that the instruction just executed has met. */
  hits: 8, // u32
  /** The first of them: its number in the list, linear address of the access, AccessKind. */
  hitWatchpoint: 12, // u32
  hitAddress: 16, // i64
  hitAccess: 24, // u32
  planted: 28, // u32, entries of plantedSet
  /** Bit (linear page & 4095) set when a breakpoint lies on such a page. */
  breakpointFilter: 64, // 512 bytes
  /** Linear addresses, i64 each. */
  breakpointList: 0x1000,
  breakpointsMax: 512,
  /** Watchpoint entries. */
  watchList: 0x3000,
  watchpointsMax: 64,
  watchBytes: 32,
  /** Hash set of u32: linear-memory addresses of instructions that are executed alone because a breakpoint may lie on them. */
  plantedSet: 0x4000,
  plantedSlots: 4096,
  /** A set as full as this is emptied and made again; more than three times breakpointsMax. */
  plantedMax: 2048,
  end: 0x8000,
} as const;

/** Entry of Debug.watchList: the bytes [start, end) and what to stop at. */
export const Watchpoint = {
  start: 0, // i64
  end: 8, // i64
  /** AccessKind bits. */
  kinds: 16, // u32
  /** 1: the addresses are guest-physical ones. */
  physical: 20, // u32
  /** 1: the host is called at each access, by linear address, and the run goes on. */
  calls: 24, // u32
} as const;
/** `readAfter` is for the host's calls only: after a read, with its value. */
export const AccessKind = { read: 1, write: 2, readAfter: 4 } as const;

/** Entry of Region.physicalMap: address of the backing page in linear memory, or 0 for MMIO/unmapped, with flags. */
export const PhysicalPage = {
  /** Backed by linear memory (RAM, ROM or video RAM). */
  present: 1,
  /** Writes are dropped by the core (ROM). */
  readOnly: 2,
  /** Its contents have not come yet (a machine that goes on before all of its memory is there): the host puts them there first. */
  missing: 4,
  addressMask: 0xffff_f000,
} as const;

/** Fields of the machine block, relative to Region.machine. */
export const Machine = {
  /** Backing pages (RAM first, then ROM, video RAM…) start here; page index = (address - backingBase) >> 12. */
  backingBase: 0, // u32
  backingPages: 4, // u32, number of backing pages
  ramBytes: 8, // u32
  cpuCount: 12, // u32
  /** One bit per backing page, set when the page was written in this checkpoint interval. */
  dirtyBitmap: 16, // u32 address
  /** One u64 per backing page: bit n set when granule n (64 bytes) holds decoded or translated code. */
  codeMap: 20, // u32 address
  /** One u32 per backing page: head of the list of decoded blocks that start on it; 0 = none. */
  blockHeads: 24, // u32 address
  blockHash: 28, // u32 address
  blockHashMask: 32, // u32
  recordPool: 36, // u32 address
  recordPoolEnd: 40, // u32 address
  recordPoolNext: 44, // u32 address of the first free byte
  /** Virtual time: ns = timeBaseNs + (((instructions - timeBaseCount) * timeRate) >> 16). TSC ticks are 1 ns. */
  timeBaseNs: 48, // i64
  timeBaseCount: 56, // i64
  timeRate: 64, // u32, ns per instruction, 16.16 fixed point
  /** Physical address lines: 0 forces bit 20 of every physical address to 0 (A20 gate), ~0 otherwise. */
  a20Mask: 68, // u32: 0xffff_ffff or 0xffef_ffff
  /** Seed and state of the logged random source behind RDRAND. */
  randomState: 72, // 2 * u64
  /** Generation of code: bumped when all decoded code is dropped. */
  codeGeneration: 88, // u32
  /** Entries of a block until it is translated; 0 = never (blocks are then entered behind their head record). */
  hotThreshold: 92, // u32
  /** Stores that overlapped decoded code so far. */
  codeChanges: 96, // u32
  /** Counts translations: an entered region notes it in Record.entered, so that old regions can be told from young ones. */
  regionClock: 100, // u32
  /** HostDuty bits. */
  hostDuties: 104, // u32
  /** Block of the vCPU whose turn it is. */
  currentCpu: 108, // u32 address
} as const;

/** What a host does in place of the system below a program that it runs alone; none in a machine. */
export const HostDuty = {
  /** Exceptions and interrupts end the run (ExitReason.event) instead of going through a table of the guest. */
  events: 1,
  /** Behind each physical address that paging gives lies a page that the host names, or none: hostFaultVector. */
  pages: 2,
  /** SYSCALL, SYSENTER, CPUID are offered to the host first. */
  syscall: 4,
  sysenter: 8,
  cpuid: 16,
  /** IN, OUT, INS, OUTS reach the host between instructions, with Cpu.rip at theirs. */
  ports: 32,
} as const;
/** Cpu.hostVector of an access for which the host named no page; Cpu.hostErrorCode says for what: 0 read, 1 write, 2 execute. */
export const hostFaultVector = 256;

/** One segment register's hidden part, `segmentBytes` each, in the order of Segment. */
export const SegmentField = {
  base: 0, // i64
  /** An access of n bytes at offset o is inside when o >= limitMin and o + n <= readEnd (or writeEnd), as signed 64-bit. */
  limitMin: 8, // i64: 0, or limit + 1 for expand-down
  readEnd: 16, // i64: exclusive; -1 when not readable or not usable
  writeEnd: 24, // i64: exclusive; -1 when not writable or not usable
  limit: 32, // u32, byte-granular
  /** Bits 8..23 of the descriptor's second word, at bits 0..15 (type 0-3, S 4, DPL 5-6, P 7, AVL 12, L 13, D/B 14, G 15). */
  attributes: 36, // u32
  selector: 40, // u16
  /** 1 when loaded with a null selector (protected mode). */
  unusable: 44, // u32
} as const;
/** Of the hidden part of a segment register in the block of a processor. */
export const segmentBytes = 64;
/** Numbers of the segment registers (SDM Vol. 2, 2.1.5; LDTR and TR are ours). */
export const Segment = { es: 0, cs: 1, ss: 2, ds: 3, fs: 4, gs: 5, ldtr: 6, tr: 7 } as const;

/** Fields of the vCPU block. */
export const Cpu = {
  /** RAX, RCX, RDX, RBX, RSP, RBP, RSI, RDI, R8-R15: i64 each. AH = offset of RAX + 1, and so on. */
  gpr: 0,
  /** Always 0: the base or index of an operand that has none. */
  zero: 128, // i64
  /** Address of the next instruction, valid outside of a running block; offset in CS, not linear. */
  rip: 136, // i64
  /** Lazy arithmetic flags, see docs in cpu/flags.ts. */
  flagResult: 144, // i64
  flagAux: 152, // i32
  /** EFLAGS without CF PF AF ZF SF OF; bit 1 is set. */
  systemFlags: 156, // i32
  /** remaining = deadline - retired instructions. A running block has already paid for all of its instructions. */
  deadline: 160, // i64
  remaining: 168, // i64
  /** RIP of the page on which the running block lies: RIP = ripPage + Record.pageOffset, cut to the code size. */
  ripPage: 176, // i64
  segments: 192, // 8 * segmentBytes = 512 → 704
  cr0: 704, // i64
  cr2: 712,
  cr3: 720,
  cr4: 728,
  cr8: 736,
  efer: 744,
  xcr0: 752,
  gdtrBase: 760, // i64
  idtrBase: 768, // i64
  gdtrLimit: 776, // u32
  idtrLimit: 780, // u32
  dr: 784, // 8 * i64 → 848
  /** Bits of ModeKey: what decoding and semantics depend on. */
  modeKey: 848, // i32
  cpl: 852, // i32
  /** TLBs for the current privilege. */
  tlbRead: 856, // u32 address
  tlbWrite: 860,
  tlbExecute: 864,
  /** Mask of linear addresses: 0xffff_ffff outside of 64-bit mode, all ones in it. */
  linearMask: 872, // i64
  /** HaltState. */
  halted: 880, // i32
  /** InterruptShadow bits: 1 = after STI, 2 = after MOV SS/POP SS. Cleared by the instruction after. */
  interruptShadow: 884, // i32
  /** Level of the INTR line, written by the interrupt controller. */
  intrPending: 888, // i32
  nmiPending: 892, // i32
  nmiBlocked: 896, // i32
  /** A fault being raised; read by the run loop's catch. */
  faultVector: 900, // i32
  faultErrorCode: 904, // i32
  faultHasErrorCode: 908, // i32
  /** Linear address for #PF, DR6 bits for #DB. */
  faultAddress: 912, // i64
  /** Event in delivery: vector, or -1. Decides double and triple faults. */
  deliveringVector: 920, // i32
  /** Event to deliver before the next instruction: vector, or -1; see EventKind. */
  pendingVector: 924, // i32
  pendingErrorCode: 928, // i32
  pendingKind: 932, // i32
  /** ExitReason asked for by a core function; 0 = none. Checked between blocks together with the deadline. */
  exitRequest: 936, // i32
  /** Non-zero: run one instruction at a time (TF, breakpoints in DR7, an instruction crossing its deadline). */
  stepMode: 940, // i32
  cpuIndex: 944, // i32
  /** What the x87 and SSE instructions must raise now: FpuTrap bits from CR0.EM/TS/MP/NE, CR4.OSFXSR. */
  fpuTrap: 948, // i32
  sysenterCs: 952, // i64
  sysenterEsp: 960,
  sysenterEip: 968,
  star: 976,
  lstar: 984,
  cstar: 992,
  sfmask: 1000,
  kernelGsBase: 1008,
  pat: 1016,
  apicBase: 1024,
  tscAux: 1032,
  /** Added to the TSC of the machine. */
  tscOffset: 1040,
  miscEnable: 1048,
  /** Level of CPUID: leaf table written by the machine from the CPU model, see cpu/cpuid.ts. */
  cpuidTable: 1056, // u32 address
  cpuidEntries: 1060, // u32
  /** Feature bits that semantics test at run time (CpuFeature). */
  features: 1064, // i64
  mtrr: 1072, // 26 * i64: MTRRdefType, 8 base/mask pairs, 9 fixed… → 1280
  /** x87. ST registers by physical number, 16 bytes each: significand u64, sign and exponent u16. */
  fpr: 1280, // 128 → 1408
  fcw: 1408, // u16 in u32
  fsw: 1412, // u16 in u32, TOP in bits 11-13 always current
  /** Tag word, one byte of 0 (valid/zero/special) or 1 (empty) for each physical register. */
  ftags: 1416, // 8 bytes
  fop: 1424, // u16 in u32
  fcs: 1428,
  fds: 1432,
  fip: 1440, // i64
  fdp: 1448, // i64
  mxcsr: 1456, // u32
  /** XMM0-15, 16 bytes each, 16-aligned. */
  xmm: 1472, // 256 → 1728
  /** Upper halves of YMM0-15: `upperHalf` bytes behind the lower ones. */
  ymmHigh: 1728, // 256 → 1984
  /** Scratch for semantics that need addressable temporaries. */
  scratch: 1984, // 64 → 2048
  /** One record used for instructions that can't be cached (page-crossing). */
  scratchRecord: 2048, // 4 * 64 → 2304
  /** 1 while an access may reach a device: Cpu.remaining is exact (step mode, or the flagged last instruction of a block). */
  exact: 2304, // i32
  /** Page-directory-pointer registers of PAE paging, loaded with CR3. */
  pdpte: 2312, // 4 * i64 → 2344
  /** Bits of a physical address that exist (MAXPHYADDR ones), from the CPU model. */
  physicalMask: 2344, // i64
  /** Bits of CR4 and EFER that the CPU model has. */
  cr4Valid: 2352, // i64
  eferValid: 2360, // i64
  tscDeadline: 2368, // i64
  /** DR6 bits of debug traps to report after this instruction. */
  debugPending: 2376, // i32
  /** TF and RF as they were when the instruction being stepped began. */
  startFlags: 2380, // i32
  /** 1 while an event that the program did not ask for is delivered: EXT bit of error codes. */
  externalBit: 2384, // i32
  /** EventKind of the event in delivery. */
  deliveringKind: 2388, // i32
  /** Bit (address >> 22) & 63 set when the TLBs may hold a part of a large page there. */
  tlbLargeFilter: 2392, // i64
  /** The stack a far transfer or an event is writing or reading, before it is made the current one. */
  frameBase: 2400, // i64
  frameMin: 2408, // i64
  frameEnd: 2416, // i64
  framePointer: 2424, // i64
  frameMask: 2432, // i64
  frameSelector: 2440, // i32
  frameView: 2444, // i32
  /** First of the three TLBs for the current privilege: Tlb.supervisorRead, userRead or smapRead. */
  tlbView: 2448, // i32
  /** MSRs without an effect of their own. */
  mcgStatus: 2456, // i64
  microcodeRevision: 2464, // i64
  debugCtl: 2472, // i64
  /** What each data access must be checked for on the slow path (the TLB pointers then name the empty table). */
  accessChecks: 2480, // i32, AccessCheck bits
  /** Bits of RIP and of RSP that count in the current mode (kept by updateMode): 0xffff, 0xffff_ffff or ~0. */
  ripMask: 2488, // i64
  stackMask: 2496, // i64
  /** Record that translated code is executing through its interpreter handler, else 0: the one a fault belongs to. */
  calloutRecord: 2504, // u32
  /** Head record of the block that became hot, with ExitReason.translate. */
  hotBlock: 2508, // u32
  /** `lookReserve` while Cpu.deadline is only where the host wants to be looked at; else, and always between runs of the engine, 0. */
  reserve: 2512, // i64
  /** RIP of a fault that happened in the new task of a task switch; used instead of the instruction's when faultRipValid is 1. */
  faultRip: 2520, // i64
  faultRipValid: 2528, // i32
  /** 1: Cpu.tscDeadline was written, and the machine has not been told. Always 0 between runs of the engine. */
  tscDeadlineKept: 2532, // i32
  /** HostDuty.events: vector, EventKind and error code (of a #DB: as Cpu.pendingErrorCode) of the event that ended the run. */
  hostVector: 2536, // i32
  hostKind: 2540, // i32
  hostErrorCode: 2544, // i32
  /** HostDuty.pages: size, and value of a write, of the last access that looked for a page. */
  accessBytes: 2548, // i32
  accessValue: 2552, // i64
  end: 2560,
} as const;

/**
 * A look at the host may come so many instructions before its time, so that it comes where code goes on by followJump (a return, a call to another
 * page, the way out of a region): about as many as a region may have.
 */
export const lookReserve = 640;

/** From an XMM register to the upper half of its YMM register. */
export const upperHalf = Cpu.ymmHigh - Cpu.xmm;

/** Bits of Cpu.modeKey. Decoded and translated code is keyed by (physical page, offset, modeKey). */
export const ModeKey = {
  /** Code size: 0 = 16, 1 = 32, 2 = 64 bit. */
  codeMask: 3,
  code16: 0,
  code32: 1,
  code64: 2,
  /** SS.B: ESP is used as a whole (not set: SP). In 64-bit mode always set. */
  stack32: 4,
  /** CS, DS, ES, SS have base 0, limit 4 GiB - 1 and are readable and writable (or 64-bit mode). */
  flat: 8,
  count: 16,
} as const;

/** Bits of Cpu.features: what semantics must test because the CPU model may lack it (#UD, or other behaviour). */
export const CpuFeature = {
  cpuid: 1, // the instruction, and EFLAGS.ID
  fpu: 2,
  tsc: 4,
  msr: 8,
  cx8: 0x10,
  cmov: 0x20,
  mmx: 0x40,
  fxsr: 0x80,
  sse: 0x100,
  sse2: 0x200,
  sse3: 0x400,
  ssse3: 0x800,
  sse41: 0x1000,
  sse42: 0x2000, // with CRC32
  popcnt: 0x4000,
  movbe: 0x8000,
  cx16: 0x1_0000,
  rdtscp: 0x2_0000,
  rdrand: 0x4_0000,
  xsave: 0x8_0000,
  sysenter: 0x10_0000,
  syscall: 0x20_0000,
  longMode: 0x40_0000,
  nx: 0x80_0000,
  pse: 0x100_0000,
  pse36: 0x200_0000,
  pae: 0x400_0000,
  pge: 0x800_0000,
  vme: 0x1000_0000,
  debugExtensions: 0x2000_0000,
  page1g: 0x4000_0000,
  smep: 0x8000_0000,
  smap: 0x1_0000_0000,
  umip: 0x2_0000_0000,
  lahf64: 0x4_0000_0000,
  mce: 0x8_0000_0000,
  mtrr: 0x10_0000_0000,
  pat: 0x20_0000_0000,
  apic: 0x40_0000_0000,
  tscDeadline: 0x80_0000_0000,
  prefetchw: 0x100_0000_0000,
  clflush: 0x200_0000_0000,
  rdseed: 0x400_0000_0000,
  nopl: 0x800_0000_0000, // multi-byte NOP (P6)
  lzcnt: 0x1000_0000_0000,
  bmi1: 0x2000_0000_0000, // with TZCNT
  bmi2: 0x4000_0000_0000,
  adx: 0x8000_0000_0000,
  avx: 0x1_0000_0000_0000,
  avx2: 0x2_0000_0000_0000,
  fma: 0x4_0000_0000_0000,
  f16c: 0x8_0000_0000_0000,
  xsaveopt: 0x10_0000_0000_0000,
  xsavec: 0x20_0000_0000_0000, // with XGETBV of ECX = 1
  aes: 0x40_0000_0000_0000,
  pclmulqdq: 0x80_0000_0000_0000,
  sha: 0x100_0000_0000_0000,
  vaes: 0x200_0000_0000_0000,
  vpclmulqdq: 0x400_0000_0000_0000,
} as const;

/** What the core tells the machine through host.cpuEvent. */
export const CpuEvent = {
  /** Cpu.apicBase was written. */
  apicBase: 1,
  /** WRMSR of TSC_DEADLINE: the value is in EDX:EAX. */
  writeTscDeadline: 2,
  /** RDMSR of TSC_DEADLINE: the machine fills EDX:EAX. */
  readTscDeadline: 3,
  /** Cpu.cr8 was written; Cpu.intrPending may change. */
  taskPriority: 4,
  /** FERR#: an x87 error while CR0.NE is 0. */
  fpuError: 5,
  /** Cpu.remaining is nearly used up, and Cpu.deadline is only a look: the machine looks at its host and may move it. */
  look: 6,
  /** PAUSE, with several vCPUs: this one waits for another. Cpu.remaining is exact. */
  pause: 7,
} as const;

/** What a vCPU waits for: nothing, an interrupt (HLT), or a start-up message (an application processor after RESET or INIT). */
export const HaltState = { running: 0, halt: 1, startup: 2 } as const;

/** Bits of Cpu.interruptShadow. */
export const InterruptShadow = { sti: 1, movSs: 2 } as const;

/** Bits of Cpu.stepMode that the core sets from EFLAGS and DR7 (others are the run loop's). */
export const StepMode = {
  trapFlag: 1,
  resumeFlag: 2,
  breakpoints: 4,
  /** The next instruction only: it reaches a device and needs an exact count. */
  once: 0x100,
} as const;

export const AccessCheck = { alignment: 1, breakpoints: 2 } as const;

/** Why `run` returned. */
export const ExitReason = {
  deadline: 1,
  halt: 2,
  /** Triple fault. */
  shutdown: 3,
  /** Asked for by the host or a device (exitRequest). */
  requested: 4,
  /** INTR or NMI can be taken now. */
  interruptWindow: 5,
  /** The block with head record Cpu.hotBlock should be translated. */
  translate: 6,
  /** A debugger's breakpoint lies on the instruction at Cpu.rip. */
  breakpoint: 7,
  /** HostDuty.events: an exception or interrupt, in Cpu.hostVector. */
  event: 8,
} as const;

/** What is about to be delivered to the processor. */
export const EventKind = { none: 0, exception: 1, software: 2, external: 3, nmi: 4, icebp: 5 } as const;

/** Predecoded instruction record, `recordBytes` each; records of one block lie one after the other. */
export const Record = {
  /** Index into the function table (handler of the interpreter). */
  handler: 0, // u16
  /** Length of the instruction in bytes. */
  length: 2, // u8
  /** Instructions from this one to the end of the block, this one included: what a fault here gives back. */
  toEnd: 3, // u8
  /** Offset of the first byte in its page. */
  pageOffset: 4, // u16
  /** Row of the instruction table, for tracing, tests and the translator. */
  row: 6, // u16
  /** Byte offsets into the vCPU block: register operands (ModRM.rm as register, ModRM.reg, VEX.vvvv). */
  rm: 8, // u16
  reg: 10, // u16
  vvvv: 12, // u16
  /** Memory operand: segment base field, base and index register offsets (Cpu.zero when absent). */
  segment: 14, // u16: offset of the segment's block
  base: 16, // u16
  index: 18, // u16
  scale: 20, // u8
  /** Operand size 1, 2, 4, 8, 16, 32; address size 2, 4, 8; prefixes (RecordPrefix). */
  operandBytes: 21, // u8
  addressBytes: 22, // u8
  prefixes: 23, // u8
  displacement: 24, // i64, sign-extended; for RIP-relative operands the length is already added, base is special
  /** Upper half of the displacement; in the head record of a translated block: Machine.regionClock when it was last entered. */
  entered: 28, // u32
  /** In a head record, while code is translated: how often its block was entered from elsewhere than its own page's direct jumps. */
  heat: 32, // u32
  immediate: 32, // i64, sign-extended to 64 bits; second immediate (ENTER, far pointers) in immediate2
  /** Also the offset of a fourth register operand, or of the vector register that is the index of the memory operand. */
  immediate2: 40, // i32
  /** Direct target on the same page: address of the record at the target, or 0 = not linked yet. */
  link: 44, // u32
  /** Mask of effective addresses: 0xffff, 0xffff_ffff or ~0. */
  addressMask: 48, // i64
  /** Address of the block's header. */
  block: 56, // u32
  /** As `link`, for falling through to the next block. */
  fallLink: 60, // u32
} as const;
export const recordBytes = 64;
export const RecordPrefix = { lock: 1, rep: 2, repne: 4, rex: 8 } as const;

/** Bits of Cpu.fpuTrap. */
export const FpuTrap = {
  /** x87 escape instruction → #NM. */
  x87NotAvailable: 1,
  /** WAIT → #NM. */
  waitNotAvailable: 2,
  /** MMX → #UD (CR0.EM). */
  mmxUndefined: 4,
  /** SSE → #UD (CR0.EM or not CR4.OSFXSR). */
  sseUndefined: 8,
  /** SSE/MMX/AVX → #NM (CR0.TS). */
  simdNotAvailable: 16,
  /** Any VEX prefix → #UD (real-address and virtual-8086 mode). */
  vexUndefined: 32,
  /** VEX with vector registers → #UD (also without CR4.OSXSAVE or XCR0's SSE and AVX state). */
  avxUndefined: 64,
} as const;

/** Vectors of exceptions (SDM Vol. 3A, 6.3.1). */
export const Vector = {
  de: 0,
  db: 1,
  nmi: 2,
  bp: 3,
  of: 4,
  br: 5,
  ud: 6,
  nm: 7,
  df: 8,
  ts: 10,
  np: 11,
  ss: 12,
  gp: 13,
  pf: 14,
  mf: 16,
  ac: 17,
  mc: 18,
  xm: 19,
} as const;

/** Bits of EFLAGS. */
export const Flag = {
  cf: 1,
  pf: 4,
  af: 0x10,
  zf: 0x40,
  sf: 0x80,
  tf: 0x100,
  if: 0x200,
  df: 0x400,
  of: 0x800,
  iopl: 0x3000,
  nt: 0x4000,
  rf: 0x1_0000,
  vm: 0x2_0000,
  ac: 0x4_0000,
  vif: 0x8_0000,
  vip: 0x10_0000,
  id: 0x20_0000,
} as const;
/** The arithmetic flags, kept lazily. */
export const arithmeticFlags = 0x8d5;

/** A candidate of the decode tables: one row under one opcode byte. */
export const Candidate = {
  prefix: 0, // u8: 0 any, 1 none, 2 66, 3 F3, 4 F2
  form: 1, // u8: 0 any, 1 memory, 2 register
  digit: 2, // u8: ModRM.reg, 0xff any
  modrm: 3, // u8: whole ModRM byte (flag modrmFixed)
  flags: 4, // u32: CandidateFlag
  immediate: 8, // u8: ImmediateKind
  sizes: 9, // u8: operand sizes 1, 2, 4, 8, 16, 32 as a mask
  regFile: 10, // u8: RegisterFile
  rmFile: 11, // u8
  row: 12, // u16
  handler: 14, // u16: first slot
  bytes: 16,
} as const;
export const CandidateFlag = {
  hasModrm: 1,
  modrmFixed: 2,
  no64: 4,
  only64: 8,
  default64: 0x10,
  force64: 0x20,
  lock: 0x40,
  registerInOpcode: 0x80,
  w0: 0x100,
  w1: 0x200,
  exit: 0x400,
  branch: 0x800,
  string: 0x1000,
  sizeVaries: 0x2000,
  memoryForms: 0x4000,
  b0: 0x8000,
  /** VEX.L must be 0, or 1. */
  l0: 0x1_0000,
  l1: 0x2_0000,
  /** VEX.vvvv names a general register, or a vector register; with neither it must be 1111b. */
  vvvvGpr: 0x4_0000,
  vvvvVector: 0x8_0000,
  /** The upper four bits of the immediate name a vector register. */
  is4: 0x10_0000,
  /** The index register of the memory operand is a vector register. */
  vsib: 0x20_0000,
  /** The operand size is that of the vectors: 16 bytes, with VEX.L 32. */
  vectorSize: 0x40_0000,
} as const;
// prettier-ignore
export const ImmediateKind = {
  none: 0, ib: 1, ibs: 2, iw: 3, iz: 4, iv: 5, ap: 6, moffs: 7, iwIb: 8, jz: 9,
} as const;
// prettier-ignore
export const RegisterFile = {
  none: 0, gpr8: 1, gpr: 2, segment: 3, control: 4, debug: 5, mmx: 6, xmm: 7, x87: 8,
} as const;

/** Slots of the function table that belong to no row. */
export const SpecialHandler = {
  /** The record's bytes were overwritten: look the instruction up again. */
  stale: 0,
  /** #UD. */
  undefined: 1,
  /** #GP(0): longer than 15 bytes. */
  tooLong: 2,
  /** Behind the last record of a block: go on with the next block. */
  fallThrough: 3,
  /** Behind an instruction that ends its block: back to the run loop. */
  exit: 4,
  /** The instruction reached a device before: execute it alone, with an exact count. */
  exactly: 5,
  /** Head record of a block: counts its entries. */
  head: 6,
  count: 7,
} as const;

/** Header in front of the records of a block, `recordBytes` long. */
export const Block = {
  host: 0, // u32: linear-memory address of the first byte
  key: 4, // u32: ModeKey
  hashNext: 8, // u32
  pageNext: 12, // u32
  records: 16, // u32: number of records, head and terminator included
  codeBytes: 20, // u32
  /** Counts changes of its page's code. */
  changes: 28, // u32
} as const;

/** Cpu.faultVector of an access to a device from the middle of a block: nothing happened, execute the instruction alone. */
export const retryVector = -2;
