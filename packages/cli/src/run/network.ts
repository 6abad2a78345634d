/** The network of a guest that runs in this process: frames between its card and what --net names. */
import type { Machine, MachineOutput } from '@revenant/emulator';
import { defaultGatewaySettings, splitFrame } from '@revenant/network';
import {
  ForwardError,
  plugInto,
  StreamPeer,
  StreamPeerError,
  UserNetwork,
  type NetworkPort,
} from '@revenant/network/host-node';
import { CliError, ExitCode } from '../errors.ts';
import type { NetworkOption } from './network-options.ts';

/** Frames that wait for the guest; beyond it the newest are dropped, and TCP slows down. */
const maxWaitingBytes = 0x80_0000;
const maxWaitingFrames = 2048;
/** An Ethernet frame of the usual size. */
const promptBytes = 1514;
const nic = 0;

export class GuestNetwork {
  #port: NetworkPort | undefined;
  #user: UserNetwork | undefined;
  #in: Uint8Array[] = [];
  #inBytes = 0;
  #out: Uint8Array[] = [];
  readonly #arrived: () => void;

  private constructor(arrived: () => void) {
    this.#arrived = arrived;
  }

  /** `arrived`: there is something for the guest. `say`: what a person should know. Throws CliError. */
  static async open(
    option: NetworkOption,
    { arrived, say }: { arrived: () => void; say: (line: string) => void },
  ): Promise<GuestNetwork> {
    const network = new GuestNetwork(arrived);
    const toGuest = (frame: Uint8Array): void => {
      network.#queue(frame);
    };
    try {
      if (option.kind === 'user') {
        const { forwards, hostPorts } = option;
        const user = new UserNetwork({ ...defaultGatewaySettings(), forwards, hostPorts }, toGuest, {
          arrived,
        });
        const ports = await user.open();
        forwards.forEach(({ hostAddress, guestPort, protocol }, n) => {
          say(`${hostAddress}:${String(ports[n])} is the guest's ${protocol} port ${String(guestPort)}`);
        });
        network.#user = user;
        network.#port = user;
      } else {
        const ended = (why: string | undefined): void => {
          say(`the network's peer is gone${why === undefined ? '' : `: ${why}`}`);
        };
        const options = { toGuest, ended, frameBytes: promptBytes };
        network.#port =
          option.kind === 'plug'
            ? await plugInto(option.place, options)
            : await StreamPeer.connect(option.place, options);
      }
    } catch (error) {
      throw asUsage(error);
    }
    return network;
  }

  #queue(frame: Uint8Array): void {
    if (this.#in.length >= maxWaitingFrames || this.#inBytes > maxWaitingBytes) return;
    this.#in.push(frame);
    this.#inBytes += frame.length;
    this.#arrived();
  }

  /** An output of the machine, which still runs. A small frame leaves at once, as somebody may wait for it; large ones do so together. */
  output(output: MachineOutput): void {
    if (output.kind !== 'frame') return;
    this.#out.push(output.bytes);
    if (this.#out.length === 1 && output.bytes.length <= promptBytes) this.#port?.send(this.#out.splice(0));
  }

  /** Between two runs: what the guest sent goes out, and what came goes in as far as the guest has room. Returns whether anything went in. */
  exchange(machine: Machine): boolean {
    const frameBytes = machine.frameBytes(nic);
    if (this.#user !== undefined && frameBytes > 0) this.#user.frameBytes = frameBytes;
    this.#user?.settle();
    if (this.#out.length > 0) this.#port?.send(this.#out.splice(0));
    let given = 0;
    for (const frame of this.#in) {
      given++;
      this.#inBytes -= frame.length;
      const parts = frame.length <= frameBytes || frameBytes === 0 ? [frame] : splitFrame(frame, frameBytes);
      const results = parts.map((bytes) => machine.input({ kind: 'frame', nic, bytes }));
      if (results.some((result) => result !== 'taken')) break;
      // The guest has its bytes, and a run keeps no log.
      this.#user?.done(frame);
    }
    this.#in.splice(0, given);
    return given > 0;
  }

  async close(): Promise<void> {
    await this.#port?.close();
  }
}

function asUsage(error: unknown): unknown {
  if (error instanceof ForwardError)
    return new CliError(
      ExitCode.usage,
      `--publish: ${error.message}`,
      'choose another port, or 0 for any',
      error,
    );
  if (error instanceof StreamPeerError)
    return new CliError(ExitCode.badInput, `--net: ${error.message}`, 'start the peer first', error);
  if (error instanceof RangeError)
    return new CliError(ExitCode.usage, `--net: ${error.message}`, 'see --help', error);
  return error;
}
