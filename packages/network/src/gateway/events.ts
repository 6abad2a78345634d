/**
 * What happens to a gateway, and what it wants done. Sockets, flows and queries bear numbers; the side that opens one gives it: the gateway
 * even numbers, the host odd ones (of connections that it accepted).
 */

/** Where a connection or datagram of a guest goes. */
export type Target =
  | { kind: 'address'; address: number; port: number }
  /** A port of the host's own loopback. */
  | { kind: 'loopback'; port: number }
  /** The host's own name server. */
  | { kind: 'resolver' };

export type GatewayEvent =
  /** `sentAt`: at which instruction count of its guest's it was sent, for `rollBack`. */
  | { kind: 'frame'; frame: Uint8Array; sentAt?: number | undefined }
  /** Time has passed: `nextTimer` said so. */
  | { kind: 'tick' }
  | { kind: 'tcpConnected'; socket: number }
  | { kind: 'tcpFailed'; socket: number; reason: 'refused' | 'unreachable' }
  /** Somebody entered by a forward (its place in the settings). */
  | { kind: 'tcpAccepted'; socket: number; forward: number }
  | { kind: 'tcpReceived'; socket: number; data: Uint8Array }
  /** So many bytes of tcpWrite left the host's buffers. */
  | { kind: 'tcpWritten'; socket: number; bytes: number }
  /** The other side sends no more. */
  | { kind: 'tcpEnded'; socket: number }
  /** The socket is gone, by an error or a reset. */
  | { kind: 'tcpClosed'; socket: number }
  | { kind: 'udpReceived'; flow: number; address: number; port: number; data: Uint8Array }
  /** A datagram entered by a forward. */
  | { kind: 'udpArrived'; forward: number; address: number; port: number; data: Uint8Array }
  /** Without data: nobody answered. */
  | { kind: 'dnsAnswered'; query: number; data: Uint8Array | undefined };

export type GatewayEffect =
  | { kind: 'frame'; frame: Uint8Array }
  | { kind: 'tcpConnect'; socket: number; target: Target }
  | { kind: 'tcpWrite'; socket: number; data: Uint8Array }
  /** The guest sends no more: end this direction behind what was written. */
  | { kind: 'tcpEnd'; socket: number }
  /** Break the connection: the other side is to see a reset. */
  | { kind: 'tcpReset'; socket: number }
  /** Both sides are done: let go of the socket when what was written is out. */
  | { kind: 'tcpRelease'; socket: number }
  /** Read no more for now, or again. */
  | { kind: 'tcpFlow'; socket: number; paused: boolean }
  | { kind: 'udpSend'; flow: number; target: Target; data: Uint8Array }
  | { kind: 'udpClose'; flow: number }
  | { kind: 'udpReply'; forward: number; address: number; port: number; data: Uint8Array }
  | { kind: 'dnsQuery'; query: number; data: Uint8Array };
