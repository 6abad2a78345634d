/** `checkpoint export`, `import` and `gc`: the commands that write. */
import { statSync } from 'node:fs';
import {
  collectGarbage, DEFAULT_RETENTION, exportCheckpointFile, formatId, importCheckpointFile, parseRetention, raiseEpoch, readOwner,
  releaseOwnership,
} from '@revenant/storage'; // prettier-ignore
import { CliError, ExitCode, messageOf } from '../errors.ts';
import { bytesText, type CheckpointCommand } from './context.ts';

export const exportCommand: CheckpointCommand = {
  summary: 'write a checkpoint to a single file',
  usage: 'export CHECKPOINT FILE [--json]',
  details: `The file holds the whole machine, base images included; 'revenant run --restore FILE' goes on from it.

Example:
  revenant checkpoint export vm1@12 vm1.checkpoint --store file:/srv/revenant`,
  async run(context) {
    context.atMost(2);
    const path = context.word(1, 'the file');
    const reader = await context.checkpoint();
    const progress = context.progress('export');
    try {
      await exportCheckpointFile(reader, path, { onProgress: progress.update });
    } catch (error) {
      const code = error instanceof Error && 'code' in error ? String(error.code) : '';
      if (!['ENOENT', 'EACCES', 'ENOSPC', 'EISDIR', 'ENOTDIR', 'EROFS'].includes(code)) throw error;
      throw new CliError(ExitCode.cannotWrite, `can't write '${path}': ${messageOf(error)}`, 'choose a path that can be written', error); // prettier-ignore
    } finally {
      progress.done();
    }
    const bytes = statSync(path).size;
    context.show(
      { checkpoint: `${reader.vmId}@${formatId(reader.id)}`, file: path, bytes },
      () => `${reader.vmId}@${formatId(reader.id)} is in ${path} (${bytesText(bytes)})`,
    );
    return undefined;
  },
};

export const importCommand: CheckpointCommand = {
  summary: 'read a file into a store, as the next checkpoint of a VM',
  usage: 'import FILE VM --store URL [--take-over] [--json]',
  details: `  --take-over      the VM exists: end its owner's epoch (a node that runs it stops it) and go on from the file

Example:
  revenant checkpoint import linux.checkpoint vm2 --store file:/srv/revenant`,
  options: { 'take-over': { type: 'boolean' } },
  async run(context) {
    context.atMost(2);
    const path = context.word(0, 'the file');
    const vmId = context.word(1, 'the VM');
    const store = await context.opener.store({ write: true });
    const key = await context.opener.key();
    const owner = (await readOwner(store, vmId))?.record;
    if (owner !== undefined && owner.state !== 'deleted' && !context.flag('take-over'))
      throw new CliError(
        ExitCode.refused,
        `${store.url} has a VM '${vmId}' already`,
        'choose another name, or take it over with --take-over',
      );
    // A file that can't be read must not have cost the owner its epoch.
    statSync(path);
    await context.opener.checkpoint(path.includes('/') ? path : `./${path}`);
    const ownership = await raiseEpoch(store, vmId, {
      owner: 'import',
      key,
      revive: owner?.state === 'deleted',
    });
    const { id } = await importCheckpointFile(store, ownership, path, { key });
    await releaseOwnership(store, ownership);
    context.show({ checkpoint: `${vmId}@${formatId(id)}` }, () => `${path} is ${vmId}@${formatId(id)}`);
    return undefined;
  },
};

export const gcCommand: CheckpointCommand = {
  summary: 'remove the checkpoints that need not be kept',
  usage: 'gc VM --store URL [--keep RULES] [--dry-run] [--json]',
  details: `  --keep RULES     for example 'last 10, 1 per 1m for 1h' (default: last 10, 1 per 1m for 1h, 1 per 1h for 1d)
  --dry-run        say what would be removed, and remove nothing

The newest intact checkpoint, and whatever a kept one needs, always stay; it is safe beside a VM that runs.

Example:
  revenant checkpoint gc vm1 --store file:/srv/revenant --keep 'last 3' --dry-run`,
  options: { keep: { type: 'string' }, 'dry-run': { type: 'boolean' } },
  async run(context) {
    context.atMost(1);
    const vmId = context.word(0, 'a VM');
    const dryRun = context.flag('dry-run');
    const keep = context.text('keep');
    const policy = keep === undefined ? DEFAULT_RETENTION : parseRetention(keep);
    const store = await context.opener.store();
    await context.opener.requireVm(vmId);
    const report = await collectGarbage(store, vmId, { policy, dryRun, key: await context.opener.key() });
    const json = { ...report, dryRun, kept: report.kept.map(formatId), removed: report.removed.map(formatId), damaged: report.damaged.map(({ id, reason }) => ({ id: formatId(id), reason })) }; // prettier-ignore
    context.show(json, () => {
      if (report.skipped !== undefined) return `nothing was removed: ${report.skipped}`;
      const verb = dryRun ? 'would remove' : 'removed';
      const lines = [
        `kept     ${report.kept.length}: ${json.kept.join(' ')}`,
        `${verb.padEnd(7)}  ${report.removed.length}: ${json.removed.join(' ') || 'none'}`,
        `         ${report.removedPacks} packs, ${bytesText(report.removedBytes)}`,
        ...json.damaged.map(({ id, reason }) => `${id} ${reason}`),
      ];
      return lines.join('\n');
    });
    return undefined;
  },
};
