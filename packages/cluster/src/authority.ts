/** Files about trust that a person names, and the authorities that this process trusts. */
import { readFileSync } from 'node:fs';
import { getCACertificates, setDefaultCACertificates } from 'node:tls';
import { ClusterError, messageOf } from './errors.ts';

/** @param option for the message, as in `--tls-ca` @throws ClusterError */
export function readGiven(option: string, path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch (error) {
    throw new ClusterError('BAD_REQUEST', `${option}: can't read ${path}: ${messageOf(error)}`, {
      cause: error,
    });
  }
}

/** From now on this process trusts the certificates that an authority of the installation's own has signed, beside the usual ones. */
export function trustAuthority(path: string): void {
  const pem = readGiven('--tls-ca', path);
  try {
    setDefaultCACertificates([...getCACertificates('default'), pem]);
  } catch (error) {
    throw new ClusterError('BAD_REQUEST', `--tls-ca: ${messageOf(error)}`, {
      cause: error,
      hint: 'a PEM file of certificates',
    });
  }
}
