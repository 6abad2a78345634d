/** The screen of a VM of a cluster for VNC viewers: what its nodes tell goes to the viewers, what they do to whichever node runs the VM. */
import type { ClusterClient, DisplayEvent, DisplayFollower } from '@revenant/cluster';
import type { MachineInput, Rectangle } from '@revenant/emulator';
import { listenForViewers, type VncOption } from '../run/vnc-options.ts';
import type { VncServer } from './server.ts';

/** What people did and no node has taken yet; beyond it the viewers' own queue is full as well. */
const maxWaiting = 4096;
const againMs = 50;

const isEvent = (input: MachineInput): input is MachineInput & DisplayEvent =>
  input.kind === 'key' || input.kind === 'mouse' || input.kind === 'tablet';

export class VncBridge {
  readonly #vnc: VncServer;
  readonly #follower: DisplayFollower;
  #waiting: DisplayEvent[] = [];
  #changed: Rectangle[] = [];
  #wake: () => void = () => undefined;
  #again: NodeJS.Timeout | undefined;
  #closed = false;

  private constructor(
    vnc: VncServer,
    { client, vmId, say }: { client: ClusterClient; vmId: string; say: (line: string) => void },
  ) {
    this.#vnc = vnc;
    this.#follower = client.display(vmId, {
      said: say,
      shown: (picture, changed, isWhole) => {
        this.#changed.push(...changed);
        if (picture === undefined || !isWhole) return undefined;
        // The follower goes on with its own picture.
        vnc.show({ picture: { ...picture, rgba: picture.rgba.slice() }, changed: this.#changed });
        this.#changed = [];
        return this.#watched();
      },
    });
  }

  /** Throws CliError when the place can't be listened on. */
  static async open(
    client: ClusterClient,
    vmId: string,
    asked: VncOption,
    say: (line: string) => void,
  ): Promise<VncBridge> {
    const made: { bridge?: VncBridge } = {};
    const vnc = await listenForViewers(asked, {
      name: vmId,
      say,
      wake: () => made.bridge?.take(),
      takesTablet: () => made.bridge?.takesTablet === true,
    });
    made.bridge = new VncBridge(vnc, { client, vmId, say });
    return made.bridge;
  }

  /** Resolves when a viewer wants the next picture. */
  async #watched(): Promise<void> {
    while (!this.#closed && !this.#vnc.isWatched)
      await new Promise<void>((resolve) => {
        // A line that was full is looked at again.
        const timer = setTimeout(resolve, againMs);
        this.#wake = () => {
          clearTimeout(timer);
          resolve();
        };
      });
  }

  get takesTablet(): boolean {
    return this.#follower.takesTablet;
  }

  /** Somebody wants a picture, or did something. */
  take(): void {
    this.#wake();
    for (const input of this.#vnc.takeInputs())
      if (isEvent(input) && this.#waiting.length < maxWaiting) this.#waiting.push(input);
    clearTimeout(this.#again);
    if (this.#waiting.length === 0) return;
    if (this.#follower.act(this.#waiting)) this.#waiting = [];
    else this.#again = setTimeout(() => this.take(), againMs);
  }

  async close(): Promise<void> {
    this.#closed = true;
    clearTimeout(this.#again);
    this.#follower.close();
    this.#wake();
    await this.#vnc.close();
  }
}
