/** A VM's text screen, as text. */
import { useEffect, useState } from 'preact/hooks';
import type { Connection, Screen } from './connection.ts';

export function ScreenView({ connection, vmId }: { connection: Connection; vmId: string }) {
  const [screen, setScreen] = useState<Screen>(null);
  useEffect(() => connection.watchScreen(vmId, setScreen), [connection, vmId]);
  if (screen === null) return <p class="quiet">it has no screen, or does not run</p>;
  const { lines, columns } = screen;
  return (
    <pre class="text-screen" aria-label={`screen of ${vmId}`}>
      {lines.map((line) => line.padEnd(columns)).join('\n')}
    </pre>
  );
}
