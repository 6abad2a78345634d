/** `node packages/cluster/src/demo/main.ts [--profile fast] [--keep]`: the demo with the chain guest. Exit status 0: green. */
import { parseArgs } from 'node:util';
import { runClusterDemo } from './cluster-demo.ts';

const { values } = parseArgs({
  options: { profile: { type: 'string', default: 'default' }, keep: { type: 'boolean', default: false } },
});
const green = await runClusterDemo({
  profile: values.profile === 'fast' ? 'fast' : 'default',
  keep: values.keep,
  say: (line) => process.stdout.write(`${line}\n`),
});
process.exit(green ? 0 : 1);
