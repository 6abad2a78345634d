/** `revenant run`: one guest in this process, with the terminal as its console. */
import type { Command } from '../command.ts';
import { LiveRun } from '../run/live.ts';
import { parseRunOptions } from '../run/options.ts';

export const command: Command = {
  summary: 'run one guest here, with the terminal as its console',
  help: `Usage: revenant run IMAGE [OPTIONS]
       revenant run --kernel FILE [--initrd FILE] [--append TEXT] [OPTIONS]
       revenant run --boot-sector FILE | --rom FILE | --restore CHECKPOINT [--store URL] [OPTIONS]

What to run:
  IMAGE                    an image by name (revenant images lists them); it is made first if it is not in the cache
  --kernel FILE            bzImage, ELF with a PVH note, or multiboot 1
  --initrd FILE            its initial RAM disk
  --append TEXT            its command line (added to the image's own)
  --boot-sector FILE       a raw boot sector, started at 0000:7C00
  --rom FILE               firmware that ends at 4 GiB
  --restore CHECKPOINT     go on from a checkpoint: a file, or VM, VM@SEQUENCE or VM@EPOCH-SEQUENCE of a store. The guest runs at once;
                           its memory comes as it is touched, and in the background, so the checkpoint must stay until that is done.
                           The cluster's VM is left as it is: this is a copy of it
  --store URL              where --restore VM is (or REVENANT_STORE), for example file:/srv/revenant

The machine:
  --memory SIZE            for example 256M (default 128M)
  --cpu MODEL              486, pentium, pentium3, x86-64, x86-64-v2 (default)
  --disk FILE[,ro|,rw]     a raw disk image as the next virtio disk (/dev/vda, …). The file is never changed: what the guest writes
                           is kept beside it and goes into the checkpoint. ro: the guest can't write; rw: it writes to the file
  --disk-size SIZE         an empty disk, behind those of --disk, for example 64M
  --serial stdio|none|file:FILE
  --debug-exit PORT        a write of V to the port ends the run with exit code 2V + 1 (as isa-debug-exit)
  --debug-console PORT=FILE  bytes written to the port go to the file (as isa-debugcon)
  --engine translator|interpreter  the first is the default; both reach the same states

The run:
  --max-instructions N     stop after N instructions (exit code 12); idle time is skipped
  --save FILE              write a checkpoint file at the end

Ctrl-] leaves the guest (exit code 0).

Examples:
  revenant run linux-cloud
  revenant run linux-amd64 --memory 256M --save linux.checkpoint
  revenant run --restore linux.checkpoint
  revenant run --restore vm1@12 --store file:/srv/revenant
  revenant run linux-cloud --disk root.img --disk-size 64M
  revenant run --kernel kernel.elf --debug-exit 0xf4 --debug-console 0xe9=out.txt --serial none`,
  async run(words) {
    return new LiveRun(parseRunOptions(words)).run();
  },
};
