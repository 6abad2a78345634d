/** Networks of guests: a switch, a gateway to the host's sockets, both pure. docs/NETWORK.md describes them; sockets are in ./host-node. */
export type { GatewayEffect, GatewayEvent, Target } from './gateway/events.ts';
export { handle, nextTimer } from './gateway/gateway.ts';
export { rollBack } from './gateway/roll-back.ts';
export {
  loseSockets,
  restoreGateway,
  saveGateway,
  SavedGatewayError,
  type SavedGateway,
} from './gateway/save.ts';
export {
  defaultGatewaySettings,
  guestOf,
  whySettingsAreWrong,
  type Forward,
  type GatewaySettings,
} from './gateway/settings.ts';
export { newGatewayState, type GatewayState } from './gateway/state.ts';
export { rollBackConnections, track, type Connections } from './switch/connections.ts';
export { inward, newFormerSelf, outward, type FormerSelf, type Name } from './switch/former-self.ts';
export { splitFrame } from './switch/split.ts';
export {
  forward,
  newSwitch,
  own,
  removePort,
  type Delivery,
  type SwitchPort,
  type SwitchState,
} from './switch/switch.ts';
export {
  broadcastOf,
  formatAddress,
  formatMac,
  inSubnet,
  isGroupMac,
  maskOf,
  parseAddress,
  parseMac,
  readMac,
  writeMac,
  type Subnet,
} from './wire/address.ts';
export { maxFrameBytes } from './wire/ethernet.ts';
