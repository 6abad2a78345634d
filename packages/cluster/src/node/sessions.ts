// Sessions of web pages: a person proves the token once, and the page carries a pass from then on (page/pass.ts).
import type { IncomingMessage, ServerResponse } from 'node:http';
import { ClusterError } from '../errors.ts';
import { makePass, passCookie, passOf, roleOfPass } from '../page/pass.ts';
import type { Role } from '../protocol/page.ts';
import { answerJson } from './routes.ts';

export class Sessions {
  readonly #token: string | undefined;

  constructor(token: string | undefined) {
    this.#token = token;
  }

  /** What the session of a page may do; without a token everybody at this host may do everything. */
  roleOf({ headers }: IncomingMessage): Role | undefined {
    if (this.#token === undefined) return 'admin';
    const pass = passOf({ cookie: headers.cookie, subprotocols: headers['sec-websocket-protocol'] });
    return pass === undefined ? undefined : roleOfPass(this.#token, pass, Date.now());
  }

  newPass(role: Role): string | null {
    return this.#token === undefined ? null : makePass(this.#token, role, Date.now());
  }

  /** `POST /v1/session` of somebody who has proved the token, and `DELETE`, which takes the cookie back. */
  answer(request: IncomingMessage, response: ServerResponse): void {
    switch (request.method) {
      case 'POST':
        response.setHeader('set-cookie', passCookie(this.newPass('admin') ?? undefined));
        return answerJson(response, { role: 'admin' satisfies Role });
      case 'DELETE':
        response.setHeader('set-cookie', passCookie(undefined));
        return answerJson(response, {});
      default:
        throw new ClusterError('NOT_FOUND', `there is no ${request.method ?? ''} /v1/session`);
    }
  }
}
