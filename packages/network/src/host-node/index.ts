/** What of a network only Node can do: sockets. */
export { ForwardError } from './host-sockets.ts';
export { plugInto } from './plug-peer.ts';
export { StreamPeer, StreamPeerError, type StreamPlace } from './stream-peer.ts';
export { UserNetwork, type NetworkPort } from './user-network.ts';
