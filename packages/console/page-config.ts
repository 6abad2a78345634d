/** How Vite builds the page (build.ts). */
import { fileURLToPath } from 'node:url';
import type { InlineConfig } from 'vite';

const here = (path: string): string => fileURLToPath(new URL(path, import.meta.url));

export const config: InlineConfig = {
  configFile: false,
  root: here('.'),
  base: './',
  // The content security policy allows no inline script; small files stay files.
  build: {
    outDir: here('../../build/console'),
    emptyOutDir: true,
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
    target: 'es2022',
    rolldownOptions: {
      input: { index: here('index.html'), run: here('run.html'), revenant: here('src/run/guest-client.ts') },
      // Pages of others import it by this name.
      output: {
        entryFileNames: ({ name }) => (name === 'revenant' ? 'revenant.js' : 'assets/[name]-[hash].js'),
      },
      preserveEntrySignatures: 'allow-extension',
    },
  },
  worker: { format: 'es' },
  oxc: { jsx: { runtime: 'automatic', importSource: 'preact' } },
  logLevel: 'error',
};
