/** Processor time of processes of this host, by what Linux says of them: other work beside them changes it little, which slows all else that is measured. */
import { readdirSync, readFileSync } from 'node:fs';

/** USER_HZ, in which /proc counts: sysconf(_SC_CLK_TCK) is 100 on all Linux. */
const tickMs = 10;

interface Stat {
  pid: number;
  parent: number;
  ms: number;
}

/** proc(5), /proc/pid/stat; undefined for one that has ended. */
function statOf(pid: number): Stat | undefined {
  try {
    const text = readFileSync(`/proc/${String(pid)}/stat`, 'latin1');
    // The name, in parentheses, may hold anything.
    const fields = text
      .slice(text.lastIndexOf(')') + 2)
      .split(' ')
      .map(Number);
    return { pid, parent: fields[1]!, ms: (fields[11]! + fields[12]!) * tickMs };
  } catch {
    return undefined;
  }
}

/** What a process and those that it has started, and that still run, have used so far, in milliseconds; NaN where there is no /proc. */
export function processorMs(pid: number): number {
  if (statOf(process.pid) === undefined) return NaN;
  const all = readdirSync('/proc').flatMap((name) =>
    /^\d+$/.test(name) ? (statOf(Number(name)) ?? []) : [],
  );
  const family = new Set([pid]);
  // A child may have a lower number than its parent, when numbers have begun again.
  for (let size = 0; size !== family.size;) {
    size = family.size;
    for (const { pid: child, parent } of all) if (family.has(parent)) family.add(child);
  }
  return all.reduce((sum, each) => sum + (family.has(each.pid) ? each.ms : 0), 0);
}
