/** `revenant vm send-key`. */
import { connectOptions, withCluster } from '../../cluster/connect.ts';
import { define } from '../../command/command.ts';

export const command = define({
  words: ['NAME', 'KEY[+KEY]…'],
  about:
    'Keys are named as in KeyboardEvent.code: KeyA, Enter, ControlLeft+AltLeft+Delete. Each word is pressed and let go in turn.',
  options: connectOptions,
  examples: ['vm send-key web KeyL KeyS Enter', 'vm send-key web ControlLeft+KeyC'],
  async run(input) {
    const [vmId = '', ...combinations] = input.words;
    await withCluster(input.options, async (client) => {
      for (const combination of combinations) await client.press(vmId, combination.split('+'));
    });
    if (input.json) input.show({ id: vmId, keys: combinations }, () => '');
    return undefined;
  },
});
