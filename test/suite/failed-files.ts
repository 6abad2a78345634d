/** A reporter of Node's test runner: the paths of the files in which something failed, one a line. */
import type { TestEvent } from 'node:test/reporters';

// Node's test runner takes a reporter as a module's default export.
// eslint-disable-next-line no-restricted-exports
export default async function* failedFiles(events: AsyncIterable<TestEvent>): AsyncGenerator<string> {
  const seen = new Set<string>();
  for await (const { type, data } of events) {
    if (type !== 'test:fail' || data.file === undefined || data.todo !== undefined || seen.has(data.file))
      continue;
    seen.add(data.file);
    yield `${data.file}\n`;
  }
}
