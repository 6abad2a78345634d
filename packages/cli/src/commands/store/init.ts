/** `revenant store init`. */
import { openStore } from '@revenant/storage';
import { define } from '../../command/command.ts';
import { jsonOption } from '../../command/options.ts';
import { identityOf, identityText } from '../../store/identity.ts';

export const command = define({
  words: ['URL'],
  about: 'One that is there already stays as it is.',
  options: { json: jsonOption },
  examples: [
    'store init file:/srv/revenant',
    "store init 's3://machines/prod?endpoint=http://10.0.0.1:7480'",
  ],
  async run(input) {
    const store = await openStore(input.word(0), { create: true });
    try {
      const shown = await identityOf(store);
      input.show(shown, () => identityText(shown));
    } finally {
      await store.close();
    }
    return undefined;
  },
});
