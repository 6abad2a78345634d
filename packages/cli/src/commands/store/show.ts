/** `revenant store show`. */
import { openStore } from '@revenant/storage';
import { define } from '../../command/command.ts';
import { jsonOption } from '../../command/options.ts';
import { identityOf, identityText } from '../../store/identity.ts';

export const command = define({
  words: ['URL'],
  options: { json: jsonOption },
  examples: ['store show file:/srv/revenant'],
  async run(input) {
    const store = await openStore(input.word(0), { probe: false });
    try {
      const shown = await identityOf(store);
      input.show(shown, () => identityText(shown));
    } finally {
      await store.close();
    }
    return undefined;
  },
});
