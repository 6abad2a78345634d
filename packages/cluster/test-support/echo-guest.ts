/** A guest for tests of networks, without a machine: answers ARP, echoes what comes to TCP port 80, and keeps what it heard. */
import { ArpOperation, buildArp, readArp } from '../../network/src/wire/arp.ts';
import { EtherType, readEthernet, writeEthernet } from '../../network/src/wire/ethernet.ts';
import { Protocol, readIpv4, transportOffset, writeIpv4 } from '../../network/src/wire/ipv4.ts';
import { readTcp, sealTcp, tcpFrame, TcpFlag, type TcpSegment } from '../../network/src/wire/tcp.ts';

const initial = 1000;

export class EchoGuest {
  readonly mac: number;
  readonly address: number;
  readonly heard: Uint8Array[] = [];
  /** Takes what it sends; set when it runs somewhere. */
  send: (frame: Uint8Array) => void = () => undefined;
  /** Reset segments that it got. */
  resets = 0;
  /** Next sequence number, by connection. */
  readonly #next = new Map<string, number>();

  constructor(mac: number, address: number) {
    this.mac = mac;
    this.address = address;
  }

  deliver(frame: Uint8Array): void {
    this.heard.push(frame);
    const arp = readEthernet(frame)?.type === EtherType.arp ? readArp(frame) : undefined;
    if (arp?.operation === ArpOperation.request && arp.targetAddress === this.address)
      this.#answerArp(arp.senderMac, arp.senderAddress);
    const header = readIpv4(frame);
    if (header?.protocol !== Protocol.tcp || header.destination !== this.address) return;
    const segment = readTcp(frame, header);
    if (segment !== undefined) this.#answer(frame, segment, header.source);
  }

  #answerArp(targetMac: number, targetAddress: number): void {
    const reply = {
      operation: ArpOperation.reply,
      senderMac: this.mac,
      senderAddress: this.address,
      targetMac,
      targetAddress,
    };
    this.send(buildArp(reply, { destination: targetMac }));
  }

  #answer(frame: Uint8Array, { flags, sequence, sourcePort, payload }: TcpSegment, to: number): void {
    if (flags & TcpFlag.rst) {
      this.resets++;
      return;
    }
    const opens = (flags & TcpFlag.syn) !== 0;
    if (!opens && payload.length === 0) return;
    const key = `${String(to)}:${String(sourcePort)}`;
    const next = opens ? initial : (this.#next.get(key) ?? 0);
    const answer = {
      sourcePort: 80,
      destinationPort: sourcePort,
      sequence: next,
      acknowledgment: (sequence + payload.length + (opens ? 1 : 0)) >>> 0,
      flags: TcpFlag.ack | (opens ? TcpFlag.syn : TcpFlag.psh),
      payload,
    };
    this.#next.set(key, next + payload.length + (opens ? 1 : 0));
    this.sendSegment({ mac: readEthernet(frame)!.source, address: to }, answer);
  }

  sendSegment(
    to: { mac: number; address: number },
    segment: Omit<TcpSegment, 'window' | 'maximumSegment' | 'windowShift'>,
  ): void {
    const ends = { source: this.address, destination: to.address };
    const { payload } = segment;
    const { frame, payloadAt } = tcpFrame({
      ...ends,
      ...segment,
      window: 60_000,
      payloadBytes: payload.length,
    });
    frame.set(payload, payloadAt);
    sealTcp(frame, ends);
    writeEthernet(frame, { destination: to.mac, source: this.mac, type: EtherType.ipv4 });
    writeIpv4(frame, { ...ends, protocol: Protocol.tcp, payloadBytes: frame.length - transportOffset });
    this.send(frame);
  }
}
