/** Sessions of web pages: a person proves a token once, and the page carries a pass from then on (page/pass.ts). */
import type { IncomingMessage, ServerResponse } from 'node:http';
import { ClusterError } from '../errors.ts';
import { callerOfPass, makePass, passCookie, passOf, shownPassOf } from '../page/pass.ts';
import type { Caller } from '../protocol/page.ts';
import type { Callers } from './callers.ts';
import { answerJson } from './answers.ts';

const headersOf = ({ headers }: IncomingMessage): Parameters<typeof passOf>[0] => ({
  cookie: headers.cookie,
  subprotocols: headers['sec-websocket-protocol'],
  authorization: headers.authorization,
});

/** The host of the page that asks, without a port, as cookies are of all ports: a browser may say no origin where that is the node which is asked. */
const pageHostOf = ({ headers: { origin, host = '' } }: IncomingMessage): string =>
  URL.parse(origin ?? `http://${host}`)?.hostname ?? '';

export class Sessions {
  readonly #callers: Callers;

  constructor(callers: Callers) {
    this.#callers = callers;
  }

  /** Whose session a page has; without a token everybody at this host may do everything. */
  callerOf(request: IncomingMessage): Caller | undefined {
    if (this.#callers.clusterToken === undefined) return { name: '', role: 'admin' };
    return this.#callerOfPass(request, passOf(headersOf(request)));
  }

  /** Whether it shows a pass that counts for pages of its origin, whichever host of the cluster that is, by whichever name. */
  isShown(request: IncomingMessage): boolean {
    return this.#callerOfPass(request, shownPassOf(headersOf(request))) !== undefined;
  }

  #callerOfPass(request: IncomingMessage, pass: string | undefined): Caller | undefined {
    const { clusterToken: token } = this.#callers;
    if (token === undefined || pass === undefined) return undefined;
    const caller = callerOfPass({ token, host: pageHostOf(request) }, pass, Date.now());
    return caller !== undefined && this.#callers.isCaller(caller) ? caller : undefined;
  }

  /** For the page that asks. */
  newPass(request: IncomingMessage, caller: Caller): string | null {
    const { clusterToken: token } = this.#callers;
    return token === undefined ? null : makePass({ token, host: pageHostOf(request) }, caller, Date.now());
  }

  /** `POST /v1/session` of somebody who has proved a token, and `DELETE`, which takes the cookie back. */
  answer(request: IncomingMessage, response: ServerResponse, caller: Caller, secure: boolean): void {
    switch (request.method) {
      case 'POST':
        response.setHeader('set-cookie', passCookie(this.newPass(request, caller) ?? undefined, secure));
        return answerJson(response, caller);
      case 'DELETE':
        response.setHeader('set-cookie', passCookie(undefined, secure));
        return answerJson(response, {});
      default:
        throw new ClusterError('NOT_FOUND', `there is no ${request.method ?? ''} /v1/session`);
    }
  }
}
