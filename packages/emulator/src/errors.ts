/** The errors of this package, without what throws them: for a host that tells of errors before it needs a machine. */
export { BootError } from './boot/errors.ts';
export { DeviceStateError } from './devices/schema.ts';
export { MachineError } from './machine/errors.ts';
