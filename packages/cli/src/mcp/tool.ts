/** What a tool of the MCP server is: its name, what it takes (a schema), whether it changes anything, and what it does. */
import type { ClusterClient } from '@revenant/cluster/client';
import * as v from 'valibot';
import type { Made } from './made.ts';

/** What a tool answers: text for a model, and perhaps a picture. */
export interface Said {
  text: string;
  /** PNG. */
  picture?: Uint8Array;
}

export interface ToolContext {
  client: ClusterClient;
  /** VMs that this server made, and how many it may make. */
  made: Made;
  /** Of the cluster's store, where one was named. */
  storeUrl: string | undefined;
  /** Aborted: whoever asked does not want the answer any more. */
  signal: AbortSignal;
}

export interface Tool {
  name: string;
  about: string;
  takes: v.GenericSchema;
  /** It changes what a VM is, or which there are: not offered by a server that may only look. */
  changes: boolean;
  run(given: unknown, context: ToolContext): Promise<Said>;
}

interface ToolParts<T extends v.GenericSchema> {
  about: string;
  takes: T;
  changes: boolean;
  run(given: v.InferOutput<T>, context: ToolContext): Promise<Said>;
}

/** Keeps the type of what it takes for `run`. */
export function tool<T extends v.GenericSchema>(name: string, parts: ToolParts<T>): Tool {
  return { name, ...parts };
}

const maxNameLength = 63;

export const told = <T extends v.GenericSchema>(schema: T, about: string) =>
  v.pipe(schema, v.description(about));
export const vmName = told(v.pipe(v.string(), v.maxLength(maxNameLength)), 'name of a VM');
export const seconds = (about: string, most: number) =>
  told(v.pipe(v.number(), v.minValue(0), v.maxValue(most)), about);
export const json = (value: unknown): Said => ({ text: JSON.stringify(value, null, 1) });
