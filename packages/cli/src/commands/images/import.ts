/** `revenant images import`. */
import { define } from '../../command/command.ts';
import { text } from '../../command/options.ts';
import { CliError, ExitCode } from '../../errors.ts';
import { builtinName } from '../../images/builtin.ts';
import { readContainerImage } from '../../images/container/archive.ts';
import { makeContainerGuest, startScript } from '../../images/container/guest.ts';
import { fetchImage, imageName, keepContainer, readImageFile } from '../../images/image.ts';
import { recipeNames } from '../../images/recipe.ts';
import { print, say } from '../../output/print.ts';

/** The image whose kernel and BusyBox a container's program runs on. */
const baseName = 'linux-cloud';

export const command = define({
  words: ['SOURCE'],
  about: `SOURCE is a file that 'docker save' wrote, or an OCI image layout (a folder, or a tar of it); with oci: or docker-archive: in front only the one
or the other. The image is then run by its name: Debian's cloud kernel starts its entry point as its user, in its folder, with its environment, on the
console; when that ends, the machine is switched off, and its status is that of \`run\` and of \`vm wait\`. All of it lies in the guest's
memory: at most 192 MiB, unpacked.`,
  options: { as: text('NAME', 'its name here (default: what it calls itself, or the name of the file)') },
  examples: [
    'images import web.tar',
    'images import oci:build/web --as web',
    'images import docker-archive:web.tar.gz',
  ],
  async run(input) {
    const image = await readContainerImage(input.word(0));
    const { as: name = image.name } = input.options;
    if (!imageName.test(name))
      throw new CliError(
        ExitCode.usage,
        `${JSON.stringify(name)} is no name for an image`,
        'give one: --as NAME',
      );
    if (name === builtinName || (await recipeNames()).includes(name))
      throw new CliError(ExitCode.usage, `'${name}' is an image of ours`, 'give another name: --as NAME');
    const base = await fetchImage(baseName, say);
    const guest = makeContainerGuest(image, await readImageFile(base, 'initrd'));
    const commandLine = `${base.manifest.commandLine} quiet run=${startScript}`;
    const kept = await keepContainer(name, { base, digest: image.digest, guest, commandLine });
    print(kept.folder);
    return undefined;
  },
});
