/** Loaded by `--import`: changes one rule of the decision functions as their source is read (environment REVENANT_MUTATION). */
import { registerHooks } from 'node:module';
import { mutations } from './mutations.ts';

const wanted = process.env['REVENANT_MUTATION'];
const mutation = mutations.find(({ name }) => name === wanted);
if (mutation === undefined) throw new Error(`there is no mutation ${String(wanted)}`);

registerHooks({
  load(url, context, nextLoad) {
    const loaded = nextLoad(url, context);
    if (!url.endsWith(mutation.file) || loaded.source === null || loaded.source === undefined) return loaded;
    const text =
      typeof loaded.source === 'string' ? loaded.source : Buffer.from(loaded.source as Uint8Array).toString();
    return { ...loaded, source: text.replace(mutation.find, () => mutation.replace) };
  },
});
