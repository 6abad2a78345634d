/** Addresses of nodes: `HOST:PORT`, or `https://HOST:PORT` where the node speaks TLS. */

const secure = 'https://';

export const isSecure = (address: string): boolean => address.startsWith(secure);
/** `HOST:PORT` */
export const hostOf = (address: string): string =>
  isSecure(address) ? address.slice(secure.length) : address;
export const httpUrl = (address: string): string => (isSecure(address) ? address : `http://${address}`);
export const wsUrl = (address: string): string => `${isSecure(address) ? 'wss' : 'ws'}://${hostOf(address)}`;
