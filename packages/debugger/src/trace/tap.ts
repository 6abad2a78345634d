/**
 * Listens where a processor meets the rest of the machine: ports, device memory, interrupts. It lies around the engine, so the machine knows nothing of
 * it, and code runs as fast as without.
 */
import type { EngineFactory } from '@revenant/emulator';

export type TappedEvent =
  | { kind: 'port' | 'device'; access: 'read' | 'write'; address: number; bytes: number; value: number }
  | { kind: 'interrupt'; vector: number }
  | { kind: 'nmi' };

export class Tap {
  /** Undefined: nobody listens. */
  listener: ((event: TappedEvent) => void) | undefined;

  /** Engines that are tapped. */
  around(factory: EngineFactory): EngineFactory {
    return async ({ memory, host }) => {
      const tell = (event: TappedEvent): void => this.listener?.(event);
      const read = (kind: 'port' | 'device', address: number, bytes: number, value: number): number => {
        tell({ kind, access: 'read', address, bytes, value: value >>> 0 });
        return value;
      };
      const engine = await factory({
        memory,
        host: {
          ...host,
          ioRead: (port, size) => read('port', port & 0xffff, size, host.ioRead(port, size)),
          ioWrite: (port, size, value) => {
            tell({ kind: 'port', access: 'write', address: port & 0xffff, bytes: size, value: value >>> 0 });
            host.ioWrite(port, size, value);
          },
          // Whoever listens hears of each item.
          ioReadBlock: (...block) => (this.listener === undefined ? host.ioReadBlock(...block) : 0),
          ioWriteBlock: (...block) => (this.listener === undefined ? host.ioWriteBlock(...block) : 0),
          mmioRead: (low, high, size) =>
            read('device', high * 2 ** 32 + (low >>> 0), size, host.mmioRead(low, high, size)),
          mmioWrite: (low, high, size, value) => {
            const address = high * 2 ** 32 + (low >>> 0);
            tell({ kind: 'device', access: 'write', address, bytes: size, value: value >>> 0 });
            host.mmioWrite(low, high, size, value);
          },
        },
      });
      const { core } = engine;
      return {
        ...engine,
        core: {
          ...core,
          injectInterrupt: (cpu, vector) => {
            tell({ kind: 'interrupt', vector });
            core.injectInterrupt(cpu, vector);
          },
          injectNmi: (cpu) => {
            tell({ kind: 'nmi' });
            core.injectNmi(cpu);
          },
        },
      };
    };
  }
}
