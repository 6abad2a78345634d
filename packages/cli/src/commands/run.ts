/** `revenant run`: one guest in this process, with the terminal as its console. */
import { define } from '../command/command.ts';
import { LiveRun } from '../run/live.ts';
import { runOptions, runRequest } from '../run/options.ts';

export const command = define({
  words: ['[IMAGE|FILE]'],
  about: `What to run is one of: IMAGE, an image by name (revenant images lists them), which is made first if it is not in the cache; FILE, a
disk, CD or floppy image, which firmware (SeaBIOS) starts; --disk, --cdrom or --floppy alone, started likewise;
--kernel, --boot-sector, --rom or --restore. Ctrl-] leaves the guest (exit code 0). A guest that ends with a
status of its own, as the program of a container image does, ends the command with that.`,
  options: runOptions,
  examples: [
    'run linux-cloud',
    'run linux-amd64 --memory 256M --save linux.checkpoint',
    'run disk.qcow2 --screenshot screen.png',
    'run debian.iso --disk-size 8G',
    'run --cdrom a.iso --cdrom b.iso --disk root.img,ide --boot cdrom,disk',
    'run --restore linux.checkpoint',
    'run --restore vm1@12 --store file:/srv/revenant',
    'run linux-cloud --disk root.img --disk-size 64M',
    'run --kernel kernel.elf --debug-exit 0xf4 --debug-console 0xe9=out.txt --serial none',
  ],
  async run(input) {
    return new LiveRun(runRequest(input.options, input.words[0])).run();
  },
});
