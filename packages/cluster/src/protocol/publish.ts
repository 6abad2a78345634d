/** Published ports as people write them. */
import type { Publish } from './network.ts';

const maxPort = 65_535;

/** `[NODE:]PORT:GUESTPORT[/udp]`; undefined for anything else. */
export function publishOf(text: string): Publish | undefined {
  const [whole, on = '*', outer, inner, protocol] =
    /^(?:([A-Za-z0-9][A-Za-z0-9._-]*|\*):)?(\d{1,5}):(\d{1,5})(?:\/(tcp|udp))?$/.exec(text) ?? [];
  const [port, guestPort] = [Number(outer), Number(inner)];
  const isPort = (value: number): boolean => value >= 1 && value <= maxPort;
  if (whole === undefined || !isPort(port) || !isPort(guestPort)) return undefined;
  return { on, protocol: protocol === 'udp' ? 'udp' : 'tcp', port, guestPort };
}
