/** What every route of a node gets, and how it answers. */
import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Caller } from '../protocol/page.ts';
import type { ApiLimits } from './api-limits.ts';
import type { FigureHistory } from './figure-history.ts';

/** One request under way. */
export interface Answer {
  request: IncomingMessage;
  response: ServerResponse;
  caller: Caller;
  limits: ApiLimits;
  history: FigureHistory;
}

export function answerJson(response: ServerResponse, value: unknown, code = 200): void {
  response.writeHead(code, { 'content-type': 'application/json' });
  response.end(JSON.stringify(value));
}
