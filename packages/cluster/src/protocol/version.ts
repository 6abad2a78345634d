/**
 * Which protocol two parts of a cluster speak. Nodes and clients of other versions are refused in words before anything else is
 * understood differently by the two (docs/CLUSTER_PROTOCOL.md, "Versions").
 */

/** Of links, API and console together: raised whenever one of them changes so that an older part would misread it. */
export const protocolVersion = 5;

/** Header of every request and every answer. */
export const versionHeader = 'revenant-protocol';
/** The proof of the token: `Revenant CHALLENGE.PROOF`. */
export const authHeader = 'authorization';
export const authScheme = 'Revenant ';
/** SHA-256 of the body in hexadecimal: so the proof can be checked before the body is read. */
export const bodyHeader = 'revenant-body';
/** `ROLE NAME`: for whom a node asks another, which then allows no more than that role may (docs/CLUSTER_PROTOCOL.md, "Roles"). */
export const onBehalfHeader = 'revenant-on-behalf-of';
/** Websocket subprotocol (RFC 6455, 1.9) of consoles. */
export const subprotocol = `revenant.${String(protocolVersion)}`;
/** Second offered subprotocol: the proof of the token, as a page can't set headers of a websocket. */
export const proofSubprotocol = 'revenant-proof.';

/** What is said where two versions meet. `who` is the other side. */
export function versionMismatch(who: string, theirs: string | number): string {
  return `${who} speaks protocol ${String(theirs)}, this is protocol ${String(protocolVersion)}: use the same release of Revenant on both sides`;
}
