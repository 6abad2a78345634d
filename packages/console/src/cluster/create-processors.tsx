/** The processors of a VM that is being made. */
import type { CpuModelName } from '@revenant/emulator';
import { textOf } from './use-action.tsx';

/** The first is what a VM has by default; the emulator itself is no part of this page's first load. */
const models: readonly CpuModelName[] = ['x86-64-v2', 'x86-64-v3', 'x86-64', 'pentium3', 'pentium', '486'];
const maxCpus = 16;

/** The part of a VM's description about them: what is as by default is not said. */
export function processorsOf(data: FormData): { cpu?: string; cpuCount?: number } {
  const [model, count] = [textOf(data, 'cpu'), Number(textOf(data, 'cpus'))];
  return { ...(model === models[0] ? {} : { cpu: model }), ...(count === 1 ? {} : { cpuCount: count }) };
}

export function Processors() {
  return (
    <>
      <label>
        Processors
        <input type="number" name="cpus" min={1} max={maxCpus} defaultValue="1" required />
      </label>
      <label>
        Their model
        <select name="cpu">
          {models.map((model) => (
            <option key={model} value={model}>
              {model}
            </option>
          ))}
        </select>
      </label>
    </>
  );
}
