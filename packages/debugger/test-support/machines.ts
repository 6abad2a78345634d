/** Machines for tests of the debugger. */
import { createMachine, type BootPlan } from '@revenant/emulator';
import { makeNodeEngine, nodeHash } from '@revenant/emulator/host-node';
import { History, TimeMachine, type Stop } from '../src/index.ts';

export async function travelling(
  plan: BootPlan,
  options: {
    every?: bigint;
    maxBytes?: number;
    history?: History;
    cpu?: 'x86-64-v2' | 'x86-64-v3' | 'pentium';
    cpuCount?: number;
  } = {},
): Promise<TimeMachine> {
  const { history = new History(), cpu, cpuCount, ...others } = options;
  const machine = await createMachine({
    description: { memoryBytes: 4 * 2 ** 20, cpu: { model: cpu, count: cpuCount } },
    engine: makeNodeEngine({ kind: 'translator', hotThreshold: 50 }),
    backends: { hash: nodeHash, input: history.record },
  });
  machine.boot(plan);
  return new TimeMachine({
    machine,
    history,
    boot: () => {
      machine.boot(plan);
    },
    ...others,
  });
}

/** Runs steps to their end. */
export function finish<T>(steps: Generator<undefined, T>): T {
  for (;;) {
    const step = steps.next();
    if (step.done === true) return step.value;
  }
}

/** Runs to a count, whatever stops. */
export function runTo(target: TimeMachine, count: bigint): Stop {
  return finish(target.forward(count));
}
