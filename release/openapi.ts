/** Writes docs/openapi.json: the API of a node, as a node tells it at /v1/openapi.json. `node release/openapi.ts` */
import { writeFile } from 'node:fs/promises';
import { format } from 'prettier';
import { openApi } from '../packages/cluster/src/node/openapi.ts';

/** As the repository formats its JSON. */
export const openApiText = (): Promise<string> =>
  format(JSON.stringify(openApi()), { parser: 'json', printWidth: 110 });

if (import.meta.main) await writeFile(new URL('../docs/openapi.json', import.meta.url), await openApiText());
