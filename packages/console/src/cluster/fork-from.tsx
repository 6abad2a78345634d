/** Makes a new VM of a checkpoint: it begins there, and shares what it does not change. */
import { useState } from 'preact/hooks';
import type { Connection } from './connection.ts';
import { textOf } from './use-action.tsx';

function NameField({ initial }: { initial: string }) {
  return (
    <label>
      as{' '}
      <input
        type="text"
        name="name"
        required
        pattern="[A-Za-z0-9][A-Za-z0-9_\-]*"
        maxLength={63}
        defaultValue={initial}
        size={14}
      />
    </label>
  );
}

export function ForkFrom({
  connection,
  vmId,
  checkpoint,
  of = vmId,
}: {
  connection: Connection;
  vmId: string;
  /** Of a checkpoint, or the name of a snapshot. Absent: its newest. */
  checkpoint?: string;
  /** What is forked, for those who read by ear. */
  of?: string;
}) {
  const [asking, setAsking] = useState(false);
  const [said, setSaid] = useState('');
  if (!asking)
    return (
      <>
        {said !== '' && (
          <span class="quiet" role="status">
            {said}
          </span>
        )}
        <button
          type="button"
          aria-label={`Fork ${of}`}
          onClick={() => {
            setSaid('');
            setAsking(true);
          }}
        >
          Fork…
        </button>
      </>
    );
  return (
    <form
      class="inline"
      aria-label={`fork ${of}`}
      onSubmit={(event) => {
        event.preventDefault();
        const data = new FormData(event.currentTarget);
        const name = textOf(data, 'name');
        const identical = data.get('identical') !== null;
        connection.fork(vmId, { name, checkpoint: checkpoint ?? null, start: true, identical }).then(
          () => {
            setSaid(`${name} begins there`);
            setAsking(false);
          },
          (problem: unknown) => setSaid(problem instanceof Error ? problem.message : String(problem)),
        );
      }}
    >
      <NameField initial={`${vmId}-fork`} />
      <label
        class="choice"
        title="Its guest is not told that it is another: it draws the same random numbers."
      >
        <input type="checkbox" name="identical" /> identical
      </label>
      <button type="submit" class="primary">
        Fork
      </button>
      <button type="button" onClick={() => setAsking(false)}>
        Cancel
      </button>
      <span class="error" role="alert">
        {said}
      </span>
    </form>
  );
}
