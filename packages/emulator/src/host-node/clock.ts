/** The clocks by which a machine on Node is paced (machine/pace.ts). */
import type { PaceHost } from '../machine/pace.ts';

const nsPerMicrosecond = 1000;

/** Node's clocks. */
export const nodeClock: Required<PaceHost> = {
  nowNs: () => process.hrtime.bigint(),
  threadNs: () => {
    const { user, system } = process.threadCpuUsage();
    return (user + system) * nsPerMicrosecond;
  },
};
