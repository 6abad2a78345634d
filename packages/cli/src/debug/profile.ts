/** Where the time of a run goes: samples of V8's profiler, by what the emulator was doing. */
import { Session, type Profiler } from 'node:inspector/promises';

export interface TimeShares {
  /** Seconds in the function of each region and in what it calls, by name. */
  regions: Map<string, number>;
  /** Seconds in WebAssembly outside of regions: interpreter and core. */
  interpreter: number;
  /** Seconds in the translator and in V8's compiler. */
  translating: number;
  /** Seconds in everything else: devices, the machine, garbage collection. */
  other: number;
}

const samplingIntervalUs = 200;
const regionName = /^region \d+$/;
const translatorFolders = /\/(translator|wasm)\//;
/** Constructors behind which V8 compiles. */
const compilerNames = new Set(['Module', 'Instance']);

type Kind = { region: string } | 'interpreter' | 'translating' | 'other';

function kindOf({ functionName, url }: Profiler.ProfileNode['callFrame'], parent: Kind): Kind {
  if (regionName.test(functionName)) return { region: functionName };
  if (typeof parent === 'object' || parent === 'translating') return parent;
  if (url.startsWith('wasm:')) return 'interpreter';
  return translatorFolders.test(url) || compilerNames.has(functionName) ? 'translating' : 'other';
}

/** Sums up a profile; what a region calls counts for the region. */
export function sharesOf(profile: Profiler.Profile): TimeShares {
  const nodes = new Map(profile.nodes.map((node) => [node.id, node]));
  const kinds = new Map<number, Kind>();
  const [root] = profile.nodes;
  const open: [number, Kind][] = root === undefined ? [] : [[root.id, 'other']];
  for (let next = open.pop(); next !== undefined; next = open.pop()) {
    const [id, parent] = next;
    const node = nodes.get(id);
    if (node === undefined) continue;
    const kind = kindOf(node.callFrame, parent);
    kinds.set(id, kind);
    for (const child of node.children ?? []) open.push([child, kind]);
  }
  const shares: TimeShares = { regions: new Map(), interpreter: 0, translating: 0, other: 0 };
  profile.samples?.forEach((id, i) => {
    const seconds = (profile.timeDeltas?.[i] ?? 0) / 1e6;
    const kind = kinds.get(id) ?? 'other';
    if (typeof kind === 'object')
      shares.regions.set(kind.region, (shares.regions.get(kind.region) ?? 0) + seconds);
    else shares[kind] += seconds;
  });
  return shares;
}

/** Runs `work` under the profiler. */
export async function profiled(work: () => Promise<void>): Promise<TimeShares> {
  const session = new Session();
  session.connect();
  try {
    await session.post('Profiler.enable');
    await session.post('Profiler.setSamplingInterval', { interval: samplingIntervalUs });
    await session.post('Profiler.start');
    await work();
    const { profile } = await session.post('Profiler.stop');
    return sharesOf(profile);
  } finally {
    session.disconnect();
  }
}
