/** The makers of virtio cards, each in its place on bus 0. */
import { PirqRouter } from '../../devices/pci/pirq-router.ts';
import type { MessageSink } from '../../devices/pci/msix.ts';
import { pciWindow } from '../../devices/pci/pci-host.ts';
import { E1000, e1000MemoryBytes, e1000PortBytes } from '../../devices/network/e1000.ts';
import type { NetworkCardOptions } from '../../devices/network/network-card.ts';
import { Rtl8139, rtl8139Bytes } from '../../devices/network/rtl8139.ts';
import { RandomSource } from '../../devices/system/random-source.ts';
import { VirtioBalloon } from '../../devices/virtio/virtio-balloon.ts';
import { VirtioBlk } from '../../devices/virtio/virtio-blk.ts';
import { VirtioConsole } from '../../devices/virtio/virtio-console.ts';
import { VirtioNet } from '../../devices/virtio/virtio-net.ts';
import type { VirtioCardOptions, VirtioPciDevice } from '../../devices/virtio/virtio-pci.ts';
import { VirtioRng } from '../../devices/virtio/virtio-rng.ts';
import { VirtioTablet } from '../../devices/virtio/virtio-tablet.ts';
import { maxDisks } from '../description.ts';
import type { NetworkCard } from './board.ts';
import type { Site } from './chips.ts';
import { attached } from './i440fx-chips.ts';
import type { ChipName, PartOf } from './plan.ts';

/** The entry of a chip in the plan of a site, if it has one. */
export function partOf<C extends ChipName>({ parts }: Site, chip: C): PartOf<C> | undefined {
  return parts.find((part): part is PartOf<C> => part.chip === chip);
}

/** The ISA interrupt that firmware would give to INTA# of a device on bus 0. */
export function firmwareIrq(site: Site, device: number): number {
  const { pirqRoutes } = partOf(site, 'piix3-isa') ?? partOf(site, 'pci-host') ?? { pirqRoutes: [] };
  return pirqRoutes[PirqRouter.pirqOf(device)] ?? 0;
}

/** Without a ROM nobody else sets up the PCI functions. */
export const hasFirmware = ({ description }: Site): boolean => description.romBytes > 0;

/** A place on bus 0: device number, and where its base address is when there is no firmware to choose it. */
interface Place {
  device: number;
  slot: number;
}
/** What a card decodes in memory. */
const slotBytes = 0x4000;

function addCard<C extends VirtioPciDevice>(
  site: Site,
  { device, slot }: Place,
  name: string,
  make: (card: VirtioCardOptions) => C,
): C {
  const { board, clock, memory, description } = site;
  const firmware = hasFirmware(site)
    ? undefined
    : { barAddress: pciWindow.base + slot * slotBytes, interruptLine: firmwareIrq(site, device) };
  const messages: MessageSink | undefined = description.devices.includes('msi-x')
    ? (address, data) => {
        board.interrupts.message(address, data);
      }
    : undefined;
  const eventIndexes = description.devices.includes('event-index');
  const irq = board.pirqs.line(device, name);
  const card = make({ name, memory, clock, irq, firmware, messages, eventIndexes });
  board.cards.set(device, board.add(card));
  board.functions.set(device * 8, card);
  return card;
}

function addDisks(site: Site, { firstDevice }: PartOf<'virtio-blk'>): void {
  const discards = site.description.devices.includes('discard');
  attached(site, 'virtio').forEach((disk, n) => {
    addCard(
      site,
      { device: firstDevice + n, slot: n },
      `virtio-blk-${String(n)}`,
      (card) => new VirtioBlk({ ...card, identity: disk.name, backend: disk, discards }),
    );
  });
}

/** Where the first card of each model is, behind those of 16 KiB and the ports of the IDE controller's bus master, and how far apart they are. */
const realCards = {
  e1000: {
    make: (options: NetworkCardOptions) => new E1000(options),
    memory: { base: pciWindow.base + 0x10_0000, bytes: e1000MemoryBytes },
    ports: { base: 0xc040, bytes: e1000PortBytes },
  },
  rtl8139: {
    make: (options: NetworkCardOptions) => new Rtl8139(options),
    memory: { base: pciWindow.base + 0x21_0000, bytes: rtl8139Bytes },
    ports: { base: 0xc400, bytes: rtl8139Bytes },
  },
} as const;

/** A card as there are real ones. */
function addRealCard(
  site: Site,
  { device, nic, model }: { device: number; nic: number; model: keyof typeof realCards },
  options: Pick<NetworkCardOptions, 'mac' | 'mtu' | 'transmit'>,
): NetworkCard {
  const { board, clock, memory } = site;
  const name = `${model}-${String(nic)}`;
  const place = realCards[model];
  const firmware = hasFirmware(site)
    ? undefined
    : {
        memory: place.memory.base + nic * place.memory.bytes,
        ports: place.ports.base + nic * place.ports.bytes,
        interruptLine: firmwareIrq(site, device),
      };
  const irq = board.pirqs.line(device, name);
  const card = board.add(place.make({ ...options, name, memory, clock, irq, firmware }));
  board.cards.set(device, card);
  board.functions.set(device * 8, card);
  return card;
}

function addNetworkCards(site: Site, { firstDevice }: PartOf<'virtio-net'>): void {
  const { board, signals, description } = site;
  description.networkCards.forEach(({ mac, mtu, model = 'virtio' }, nic) => {
    const transmit = (bytes: Uint8Array): void => {
      signals.output({ kind: 'frame', nic, bytes });
    };
    const address = Uint8Array.from(mac.split(':'), (byte) => Number.parseInt(byte, 16));
    const place = { device: firstDevice + nic, slot: maxDisks + nic };
    if (model !== 'virtio') {
      board.networkCards.push(addRealCard(site, { ...place, nic, model }, { mac: address, mtu, transmit }));
      return;
    }
    const card = addCard(
      site,
      place,
      `virtio-net-${String(nic)}`,
      (options) => new VirtioNet({ ...options, mac: address, mtu, transmit }),
    );
    board.networkCards.push(card);
  });
  board.consumers.frame = ({ nic, bytes }) => {
    const card = board.networkCards[nic];
    return card === undefined ? 'no-device' : card.receive(bytes);
  };
}

function addRandomNumbers(site: Site, place: PartOf<'virtio-rng'>): void {
  const { board, description } = site;
  if (!description.devices.includes('virtio-rng')) return;
  const source = board.add(new RandomSource({ seed: description.randomSeed }));
  const draw = (length: number): Uint8Array => source.draw(length);
  addCard(site, place, 'virtio-rng', (card) => new VirtioRng({ ...card, draw }));
  board.consumers.entropy = ({ bytes }) => {
    source.stir(bytes);
  };
}

/** What programs in guests and hosts find the channel by. */
const channelName = 'org.revenant.agent';

function addConsole(site: Site, place: PartOf<'virtio-console'>): void {
  const { board, description, signals } = site;
  if (!description.devices.includes('virtio-console')) return;
  const transmit = (port: number, bytes: Uint8Array): void => {
    signals.output({ kind: 'console', port, bytes });
  };
  const card = addCard(
    site,
    place,
    'virtio-console',
    (options) => new VirtioConsole({ ...options, transmit, channelName }),
  );
  board.consumers.console = ({ port, bytes }) => card.receive(port, bytes);
}

function addBalloon(site: Site, place: PartOf<'virtio-balloon'>): void {
  const { board, description } = site;
  if (!description.devices.includes('virtio-balloon')) return;
  const memoryPages = description.memoryBytes / 4096;
  const card = addCard(
    site,
    place,
    'virtio-balloon',
    (options) => new VirtioBalloon({ ...options, memoryPages }),
  );
  board.consumers.balloon = ({ pages }) => {
    card.setTarget(pages);
  };
}

function addTablet(site: Site, place: PartOf<'virtio-tablet'>): void {
  const { board, description } = site;
  if (!description.devices.includes('virtio-tablet')) return;
  const card = addCard(site, place, 'virtio-tablet', (options) => new VirtioTablet(options));
  board.setChip('tablet', card);
  board.consumers.tablet = (move) => card.move(move);
  board.rooms.tablet = () => card.hasRoom;
}

type VirtioChip =
  'virtio-blk' | 'virtio-net' | 'virtio-rng' | 'virtio-console' | 'virtio-balloon' | 'virtio-tablet';

export const virtioMakers: { [C in VirtioChip]: (site: Site, part: PartOf<C>) => void } = {
  'virtio-blk': addDisks,
  'virtio-net': addNetworkCards,
  'virtio-rng': addRandomNumbers,
  'virtio-console': addConsole,
  'virtio-balloon': addBalloon,
  'virtio-tablet': addTablet,
};
