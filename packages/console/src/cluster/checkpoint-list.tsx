/** The checkpoints of a VM as a list, the newest first: each can be looked into, opened in a tab, or forked. */
import type { ListedCheckpoint } from '@revenant/cluster/protocol';
import { bytesText, clock } from './text.ts';

const shown = 60;

interface RowProps {
  /** Of the node that answers now. */
  origin: string;
  vmId: string;
  checkpoint: ListedCheckpoint;
  mayOpen: boolean;
  isChosen: boolean;
  choose: (id: string) => void;
}

function Row({ origin, vmId, checkpoint, mayOpen, isChosen, choose }: RowProps) {
  const { id, atMs, virtualMs, pages, storedBytes, damaged, counts } = checkpoint;
  const intact = damaged === undefined;
  return (
    <tr class={isChosen ? 'chosen' : ''}>
      <td>
        <button type="button" class="link" disabled={!intact} onClick={() => choose(id)}>
          {id}
        </button>
      </td>
      <td>{atMs === undefined ? '' : clock(atMs)}</td>
      <td>{virtualMs === undefined ? '' : `${(virtualMs / 1000).toFixed(1)} s`}</td>
      <td class="number">{pages === undefined ? '' : String(pages)}</td>
      <td class="number">{storedBytes === undefined ? '' : bytesText(storedBytes)}</td>
      <td>
        {mayOpen && intact && (
          <a
            href={`${origin}/run.html#open=${encodeURIComponent(vmId)}@${id}`}
            target="_blank"
            rel="noopener"
          >
            open <span class="by-ear">checkpoint {id}</span> in a tab
          </a>
        )}
        <span class="quiet">{damaged ?? (counts ? '' : ' of an owner that had lost the VM')}</span>
      </td>
    </tr>
  );
}

export function CheckpointList({
  origin,
  vmId,
  checkpoints,
  mayOpen,
  chosen,
  choose,
}: {
  origin: string;
  vmId: string;
  checkpoints: readonly ListedCheckpoint[];
  mayOpen: boolean;
  chosen: string;
  choose: (id: string) => void;
}) {
  return (
    <section class="panel checkpoints" aria-label={`checkpoints of ${vmId}`}>
      <h2>Checkpoints</h2>
      <div class="scroll kept" tabIndex={0} role="group" aria-label={`list of checkpoints of ${vmId}`}>
        <table>
          <thead>
            <tr>
              <th>Moment</th>
              <th>At</th>
              <th>Its clock</th>
              <th class="number">Pages</th>
              <th class="number">Stored</th>
              <th>Open</th>
            </tr>
          </thead>
          <tbody>
            {checkpoints
              .slice(-shown)
              .reverse()
              .map((checkpoint) => (
                <Row
                  key={checkpoint.id}
                  {...{ origin, vmId, checkpoint, mayOpen, choose }}
                  isChosen={checkpoint.id === chosen}
                />
              ))}
          </tbody>
        </table>
      </div>
    </section>
  );
}
