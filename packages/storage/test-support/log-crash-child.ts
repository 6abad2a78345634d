/**
 * A process to be killed: takes the VM over, and logs inputs as fast as it can until it is. `log-crash-child.ts FOLDER SEED`
 * It prints `sent NUMBER TEXT` before each input, and `durable NUMBER` when that is what it was told.
 */
import { writeSync } from 'node:fs';
import { setImmediate } from 'node:timers/promises';
import {
  CheckpointReader,
  CheckpointWriter,
  collectGarbage,
  LogWriter,
  openStore,
  PagePool,
  raiseEpoch,
} from '../src/index.ts';
import { Guest, seededRandom } from './guest.ts';

const [folder, seed] = process.argv.slice(2);
const store = await openStore(`file:${folder!}`, { probe: false, create: true });
const random = seededRandom(Number(seed));
const pool = new PagePool({ threads: 0 });
const ownership = await raiseEpoch(store, 'vm', { owner: `writer-${seed!}`, replayLog: true });
let count = 0n;
if (ownership.resumeFrom !== null)
  count = (await CheckpointReader.load(store, 'vm', ownership.resumeFrom, { pool })).head.instructions;
const previous = ownership.log?.last;
count = previous?.to ?? count;
// Instructions of this guest are its inputs, times ten.
const log = new LogWriter(store, ownership, {
  from: count,
  previous,
  nextInput: count / 10n + 1n,
  maxWaitingBytes: 4000,
  onDurable: ({ input }) => writeSync(1, `durable ${String(input)}\n`),
});
const checkpoints = await CheckpointWriter.open(store, ownership, { pool });
const guest = new Guest({ seed: Number(seed), ramPages: 8, diskPages: 0 });
for (let i = 1; ; i++) {
  const text = `${seed!}:${String(i)}`;
  const input = log.nextInput;
  writeSync(1, `sent ${String(input)} ${text}\n`);
  while (log.append({ count: input * 10n, payload: Buffer.from(text) }) === 'full') await setImmediate();
  if (random() < 0.2) await setImmediate();
  if (random() < 0.01) {
    await log.flush();
    guest.run(3).instructions = log.status.durable.count;
    await checkpoints.write(guest.snapshot({ full: true }));
    await collectGarbage(store, 'vm', { policy: { keepLast: 1, rules: [], logMs: 0 } });
  }
}
