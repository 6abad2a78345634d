#!/usr/bin/env node
/** The command `revenant` of the installed package, whose programs are compiled and lie below `dist`. */
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { findRuntime, handOver } from './runtime.mjs';

const program = fileURLToPath(new URL('../dist/packages/cli/src/main.js', import.meta.url));
handOver(findRuntime(), ['--enable-source-maps', program, ...process.argv.slice(2)], {
  cwd: process.cwd(),
  // Where Node itself keeps it when it is asked to without being told where.
  compileCache: join(tmpdir(), 'node-compile-cache'),
});
