/** No command runs what was built of other sources, and one that changes nothing builds nothing. */
import { test } from 'node:test';
import assert from 'node:assert/strict';
import { appendFileSync, mkdirSync, mkdtempSync, rmSync, statSync, utimesSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { BuildStamp } from './build-stamp.mjs';

const files = {
  'launcher.mjs': 'the steps',
  'package-lock.json': '{}',
  'packages/emulator/src/core/index.ts': 'export {};',
  'packages/emulator/src/core/index.test.ts': 'test();',
  'packages/console/src/main.css': 'a {}',
  'images/builtin/hello.json': '{}',
  'build/emulator/core.wasm': 'wasm',
  'build/threads/files.json': '{}',
  'build/console/index.html': '<p>',
};

function repository(): {
  root: string;
  at: (file: string) => string;
  build: () => void;
  isCurrent: () => boolean;
} {
  const root = mkdtempSync(join(tmpdir(), 'revenant-stamp-'));
  const at = (file: string): string => join(root, file);
  for (const [file, content] of Object.entries(files)) {
    mkdirSync(join(at(file), '..'), { recursive: true });
    writeFileSync(at(file), content);
  }
  const isCurrent = (): boolean => new BuildStamp(root).isCurrent();
  const build = (): void => {
    const stamp = new BuildStamp(root, { settledMs: -1 });
    stamp.begin();
    stamp.end();
    assert.ok(isCurrent());
  };
  return { root, at, build, isCurrent };
}

test('whatever changes a source or what was made of it asks the build steps', (context) => {
  const { root, at, build, isCurrent } = repository();
  context.after(() => {
    rmSync(root, { recursive: true });
  });
  assert.ok(!isCurrent(), 'nothing was built');
  const changes: Record<string, () => void> = {
    'a changed source': () => {
      appendFileSync(at('packages/emulator/src/core/index.ts'), '//');
    },
    'one of the same size and time': () => {
      const file = at('packages/console/src/main.css');
      const { atime, mtime } = statSync(file);
      writeFileSync(file, 'b {}');
      utimesSync(file, atime, mtime);
    },
    'an added one': () => {
      writeFileSync(at('packages/emulator/src/core/more.ts'), '');
    },
    'a removed one': () => {
      rmSync(at('packages/emulator/src/core/more.ts'));
    },
    'another lock file': () => {
      writeFileSync(at('package-lock.json'), '{ }');
    },
    'another step': () => {
      writeFileSync(at('launcher.mjs'), 'other steps');
    },
    'a missing output': () => {
      rmSync(at('build/emulator/core.wasm'));
    },
    'a missing folder of outputs': () => {
      rmSync(at('build/console'), { recursive: true });
    },
    'a changed output': () => {
      appendFileSync(at('build/threads/files.json'), ' ');
    },
    'a stamp that is no stamp': () => {
      writeFileSync(at('build/stamp.json'), 'null');
    },
  };
  for (const [what, change] of Object.entries(changes)) {
    build();
    change();
    assert.ok(!isCurrent(), what);
  }
  build();
  appendFileSync(at('packages/emulator/src/core/index.test.ts'), '//');
  assert.ok(isCurrent(), 'nothing is built of tests');
});

test('what changes while the steps run, or only just did, is asked for again', (context) => {
  const { root, at, isCurrent } = repository();
  context.after(() => {
    rmSync(root, { recursive: true });
  });
  const during = new BuildStamp(root, { settledMs: -1 });
  during.begin();
  appendFileSync(at('packages/console/src/main.css'), 'c {}');
  during.end();
  assert.ok(!isCurrent());
  const justChanged = new BuildStamp(root);
  justChanged.begin();
  justChanged.end();
  assert.ok(!isCurrent());
});
