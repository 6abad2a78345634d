/** Sessions of web pages: a person proves a token once, and the page carries a pass from then on (page/pass.ts). */
import type { IncomingMessage, ServerResponse } from 'node:http';
import { ClusterError } from '../errors.ts';
import { callerOfPass, makePass, passCookie, passOf } from '../page/pass.ts';
import type { Caller } from '../protocol/page.ts';
import type { Callers } from './callers.ts';
import { answerJson } from './answers.ts';

export class Sessions {
  readonly #callers: Callers;

  constructor(callers: Callers) {
    this.#callers = callers;
  }

  /** Whose session a page has; without a token everybody at this host may do everything. */
  callerOf({ headers }: IncomingMessage): Caller | undefined {
    const { clusterToken } = this.#callers;
    if (clusterToken === undefined) return { name: '', role: 'admin' };
    const pass = passOf({
      cookie: headers.cookie,
      subprotocols: headers['sec-websocket-protocol'],
      authorization: headers.authorization,
    });
    const caller = pass === undefined ? undefined : callerOfPass(clusterToken, pass, Date.now());
    return caller !== undefined && this.#callers.isCaller(caller) ? caller : undefined;
  }

  newPass(caller: Caller): string | null {
    const { clusterToken } = this.#callers;
    return clusterToken === undefined ? null : makePass(clusterToken, caller, Date.now());
  }

  /** `POST /v1/session` of somebody who has proved a token, and `DELETE`, which takes the cookie back. */
  answer(request: IncomingMessage, response: ServerResponse, caller: Caller, secure: boolean): void {
    switch (request.method) {
      case 'POST':
        response.setHeader('set-cookie', passCookie(this.newPass(caller) ?? undefined, secure));
        return answerJson(response, caller);
      case 'DELETE':
        response.setHeader('set-cookie', passCookie(undefined, secure));
        return answerJson(response, {});
      default:
        throw new ClusterError('NOT_FOUND', `there is no ${request.method ?? ''} /v1/session`);
    }
  }
}
