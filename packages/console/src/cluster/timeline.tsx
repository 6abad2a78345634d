/** The checkpoints of a VM over time, one bar each: where an epoch ended, how much changed, and each to be opened in a tab. */
import { useEffect, useState } from 'preact/hooks';
import {
  check,
  checkpointsAnswerSchema,
  errorAnswerSchema,
  type ListedCheckpoint,
} from '@revenant/cluster/protocol';
import { clock } from './text.ts';

const lookMs = 2000;
const shown = 60;

async function listCheckpoints(vmId: string): Promise<ListedCheckpoint[]> {
  const response = await fetch(`/v1/vms/${encodeURIComponent(vmId)}/checkpoints`);
  const answer: unknown = await response.json();
  if (response.ok) return check(checkpointsAnswerSchema, answer, 'the checkpoints').checkpoints;
  throw new Error(check(errorAnswerSchema, answer, 'the answer').error.message);
}

const mib = (bytes: number): string => `${(bytes / 2 ** 20).toFixed(2)} MiB`;

function Moment({
  vmId,
  checkpoint,
  mayOpen,
}: {
  vmId: string;
  checkpoint: ListedCheckpoint;
  mayOpen: boolean;
}) {
  const { id, atMs, virtualMs, pages, storedBytes, damaged, counts } = checkpoint;
  return (
    <tr>
      <td>
        {mayOpen && damaged === undefined ? (
          <a
            href={`run.html#open=${encodeURIComponent(vmId)}@${id}`}
            target="_blank"
            rel="noopener"
            aria-label={`open checkpoint ${id} in a tab`}
          >
            {id}
          </a>
        ) : (
          id
        )}
      </td>
      <td>{atMs === undefined ? '' : clock(atMs)}</td>
      <td>{virtualMs === undefined ? '' : `${(virtualMs / 1000).toFixed(1)} s`}</td>
      <td>{pages === undefined ? '' : String(pages)}</td>
      <td>{storedBytes === undefined ? '' : mib(storedBytes)}</td>
      <td class="quiet">{damaged ?? (counts ? '' : 'of an owner that had lost the VM')}</td>
    </tr>
  );
}

export function Timeline({ vmId, mayOpen }: { vmId: string; mayOpen: boolean }) {
  const [checkpoints, setCheckpoints] = useState<ListedCheckpoint[]>([]);
  const [error, setError] = useState('');
  useEffect(() => {
    let over = false;
    let timer: ReturnType<typeof setTimeout>;
    const look = async (): Promise<void> => {
      try {
        const found = await listCheckpoints(vmId);
        if (!over) setCheckpoints(found);
        setError('');
      } catch (problem) {
        setError(problem instanceof Error ? problem.message : String(problem));
      }
      if (!over) timer = setTimeout(() => void look(), lookMs);
    };
    void look();
    return () => {
      over = true;
      clearTimeout(timer);
    };
  }, [vmId]);
  return (
    <section class="panel" aria-label={`checkpoints of ${vmId}`}>
      <h2>Checkpoints</h2>
      {error !== '' && <p class="quiet">{error}</p>}
      <div class="scroll kept" tabIndex={0} role="group" aria-label={`list of checkpoints of ${vmId}`}>
        <table>
          <thead>
            <tr>
              <th>Moment</th>
              <th>At</th>
              <th>Its clock</th>
              <th>Pages changed</th>
              <th>Stored</th>
              <th>Note</th>
            </tr>
          </thead>
          <tbody>
            {checkpoints
              .slice(-shown)
              .reverse()
              .map((checkpoint) => (
                <Moment key={checkpoint.id} {...{ vmId, checkpoint, mayOpen }} />
              ))}
          </tbody>
        </table>
      </div>
    </section>
  );
}
