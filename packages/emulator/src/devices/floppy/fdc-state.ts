/** State of the floppy disk controller: 82077AA (Intel order number 290166), its registers and the command that is being done. */
import {
  bool,
  defineState,
  i64,
  integer,
  list,
  nullable,
  oneOf,
  record,
  tuple,
  u8,
  type Infer,
} from '../schema.ts';

const unit = record({ track: u8, medium: nullable(integer(0, 15)), changed: bool });
const schema = record({
  output: u8,
  rate: u8,
  tape: u8,
  phase: oneOf('command', 'execution', 'result'),
  /** What was written of a command, or is left of a result. */
  bytes: list(u8, 12),
  /** What happens at `dueAtNs`. */
  work: oneOf('none', 'reset', 'seek', 'read', 'write', 'verify', 'format', 'readId'),
  dueAtNs: nullable(i64),
  interrupt: bool,
  /** ST0 and cylinder that SENSE INTERRUPT STATUS gives back, one after the other. */
  pending: list(tuple(u8, 2), 4),
  units: tuple(unit, 2),
  /** Of the transfer that is under way. */
  cylinder: u8,
  head: u8,
  sector: u8,
  lastSector: u8,
  multiTrack: bool,
  unit: integer(0, 3),
  specify: tuple(u8, 2),
  configure: tuple(u8, 3),
  perpendicular: u8,
  locked: bool,
});
export type FdcState = Infer<typeof schema>;
export const fdcDefinition = defineState<FdcState>({ name: 'fdc-82077aa', version: 1, schema });

/** 3.2: implied seek off, FIFO off, polling on, threshold and precompensation 0. */
export const configureReset: [number, number, number] = [0, 0x20, 0];

export function fdcPowerOn(drives: number): FdcState {
  const one = (n: number): FdcState['units'][number] => ({
    track: 0,
    medium: n < drives ? 0 : null,
    changed: true,
  });
  return {
    output: 0,
    rate: 2,
    tape: 0,
    phase: 'command',
    bytes: [],
    work: 'none',
    dueAtNs: null,
    interrupt: false,
    pending: [],
    units: [one(0), one(1)],
    cylinder: 0,
    head: 0,
    sector: 0,
    lastSector: 0,
    multiTrack: false,
    unit: 0,
    specify: [0, 0],
    configure: [...configureReset],
    perpendicular: 0,
    locked: false,
  };
}
