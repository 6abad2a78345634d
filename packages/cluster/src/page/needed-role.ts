/** Which role each request needs (docs/CLUSTER_PROTOCOL.md, "Roles"). */
import type { Command } from '../decisions/commands.ts';
import type { PageRequest, Role } from '../protocol/page.ts';

/** To use a VM that is there, or to make and delete VMs and change the cluster. */
export function roleForCommand({ type }: Command): Role {
  switch (type) {
    case 'vm-start':
    case 'vm-stop':
    case 'vm-pause':
    case 'vm-resume':
    case 'vm-migrate':
      return 'operate';
    default:
      return 'admin';
  }
}

export function roleForPage(request: PageRequest): Role {
  switch (request.type) {
    case 'console':
    case 'screen':
    case 'display':
    case 'past':
      return 'view';
    case 'typed':
    case 'keys':
    case 'power-button':
    case 'medium':
    case 'snapshot':
    case 'revert':
    case 'drop-snapshot':
      return 'operate';
    case 'displayed':
      return request.request.type === 'look' ? 'view' : 'operate';
    case 'fork':
      return 'admin';
    case 'command':
      return roleForCommand(request.command);
  }
}
