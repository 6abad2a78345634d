/** The API of a node as OpenAPI 3.1 describes one, made of the table of operations and the protocol's schemas. */
import { toJsonSchema, type ConversionConfig } from '@valibot/to-json-schema';
import type * as v from 'valibot';
import { errorAnswerSchema } from '../protocol/api.ts';
import { open } from '../protocol/open.ts';
import { mapParts } from '../protocol/schema.ts';
import { authHeader, authScheme, bodyHeader, protocolVersion } from '../protocol/version.ts';
import { operations, type Body, type Operation } from './operations.ts';

type JsonSchema = ReturnType<typeof toJsonSchema>;

const config: ConversionConfig = {
  target: 'draft-2020-12',
  typeMode: 'input',
  // What only code can check (a limit of all together, a name that is repeated) is left out.
  errorMode: 'ignore',
  overrideSchema: ({ valibotSchema }) => {
    const map = mapParts(valibotSchema as v.GenericSchema);
    if (map === undefined) return undefined;
    return {
      type: 'object',
      maxProperties: map.limit,
      propertyNames: { maxLength: map.keyLimit },
      additionalProperties: jsonSchema(map.item),
    };
  },
};

function jsonSchema(schema: v.GenericSchema): JsonSchema {
  const { $schema: _, ...rest } = toJsonSchema(schema, config);
  return rest;
}

type Content = Record<string, { schema: JsonSchema }> | undefined;

function contentOf(body: Body, told: boolean): Content {
  switch (body) {
    case 'none':
    case 'socket':
      return undefined;
    case 'text':
      return { 'text/plain': { schema: { type: 'string' } } };
    case 'bytes':
      return { 'application/octet-stream': { schema: {} } };
    default:
      // What is told may have more fields than are named here.
      return { 'application/json': { schema: jsonSchema(told ? open(body) : body) } };
  }
}

function parametersOf({ path, query = {} }: Operation): unknown[] {
  const inPath = [...path.matchAll(/\{(\w+)\}/g)].map(([, name = '']) => ({
    ...{ name, in: 'path', required: true, schema: { type: 'string' } },
  }));
  const behind = Object.entries(query).map(([name, description]) => ({
    ...{ name, in: 'query', description, schema: { type: 'string' } },
  }));
  return [...inPath, ...behind];
}

function described(operation: Operation): Record<string, unknown> {
  const { method, path, about, role, takes, answers } = operation;
  const [request, answer] = [contentOf(takes, false), contentOf(answers, true)];
  const parameters = parametersOf(operation);
  const good =
    answers === 'socket'
      ? { 101: { description: 'A websocket of binary messages.' } }
      : { 200: { description: about, ...(answer === undefined ? {} : { content: answer }) } };
  return {
    operationId: `${method.toLowerCase()}${path.replaceAll(/[^A-Za-z0-9]+(\w?)/g, (_, next: string) => next.toUpperCase())}`,
    summary: role === null ? about : `${about} Role: ${role}.`,
    ...(parameters.length === 0 ? {} : { parameters }),
    ...(request === undefined ? {} : { requestBody: { required: true, content: request } }),
    responses: { ...good, default: { $ref: '#/components/responses/refused' } },
    ...(role === null ? { security: [] } : {}),
  };
}

export interface OpenApi {
  openapi: string;
  paths: Record<string, Record<string, unknown>>;
  [part: string]: unknown;
}

export function openApi(): OpenApi {
  const paths: OpenApi['paths'] = {};
  for (const each of operations) (paths[each.path] ??= {})[each.method.toLowerCase()] = described(each);
  return {
    openapi: '3.1.0',
    info: {
      title: 'A node of a Revenant cluster',
      version: String(protocolVersion),
      license: { name: 'Apache-2.0', identifier: 'Apache-2.0' },
    },
    servers: [{ url: 'http://127.0.0.1:7001' }],
    security: [{ proof: [] }],
    paths,
    components: {
      securitySchemes: {
        proof: {
          ...{ type: 'apiKey', in: 'header', name: authHeader },
          description: `${authScheme}CHALLENGE.PROOF, where the cluster has a token, with the SHA-256 of the body in ${bodyHeader}: CLUSTER_PROTOCOL.md, "API"`,
        },
      },
      responses: {
        refused: {
          description: 'Why not, in words.',
          content: { 'application/json': { schema: jsonSchema(open(errorAnswerSchema)) } },
        },
      },
    },
  };
}
