// Addresses of nodes: `HOST:PORT`, or `https://HOST:PORT` where the node speaks TLS.
const SECURE = 'https://';

export const isSecure = (address: string): boolean => address.startsWith(SECURE);
/** `HOST:PORT` */
export const hostOf = (address: string): string =>
  isSecure(address) ? address.slice(SECURE.length) : address;
export const httpUrl = (address: string): string => (isSecure(address) ? address : `http://${address}`);
export const wsUrl = (address: string): string => `${isSecure(address) ? 'wss' : 'ws'}://${hostOf(address)}`;
