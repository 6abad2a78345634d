/**
 * Keeps one console attached to a VM from node to node, and hands on what both ends say (protocol/console.ts). Output of an epoch older
 * than one heard before is dropped: it was made by a node that had lost the VM.
 */
import { HeardOutput, type InputReply, type OutputPiece } from '../protocol/console-ends.ts';
import { decodeConsoleReply, type ConsoleReply, type ConsoleRequest } from '../protocol/console.ts';
import { VmRelay, type VmPlace } from './vm-relay.ts';

export interface RelayOptions {
  find: () => Promise<VmPlace | undefined>;
  heard: (piece: OutputPiece) => void;
  /** A node hears us from now on: input has to be opened there. */
  attached: () => void;
  heardOfInput: (reply: InputReply) => void;
  /** What people should know about what they heard. Absent: whoever is told of pieces finds out. */
  said?: (line: string) => void;
}

export class ConsoleRelay extends VmRelay<ConsoleRequest, ConsoleReply> {
  constructor({ find, heard, attached, heardOfInput, said }: RelayOptions) {
    const output = new HeardOutput(said ?? (() => undefined));
    super({
      find,
      attached,
      decode: decodeConsoleReply,
      heard: (reply, { isNewest, endOld }) => {
        if (reply.type !== 'output') {
          if (isNewest) heardOfInput(reply);
          return;
        }
        if (reply.epoch > output.epoch) endOld();
        const fresh = output.fresh(reply);
        if (fresh !== undefined) heard(fresh);
      },
    });
  }
}
