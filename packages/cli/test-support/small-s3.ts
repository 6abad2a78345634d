/**
 * Test-only: a store in this process that others reach as `s3://bucket/` over HTTP, and that can be made to fail. As much of S3 as
 * reading checkpoints takes (Amazon S3 API: GetObject with Range, PutObject, DeleteObject, ListObjectsV2).
 */
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { isStoreError, MemoryStore } from '@revenant/storage';

const bucket = 'bucket';

interface Reply {
  status: number;
  headers?: Record<string, string>;
  body?: Uint8Array | string;
}

export class SmallS3 {
  readonly store = new MemoryStore();
  /** Objects, by the end of their key, that it fails to read: an answer of 503. */
  failing: (key: string) => boolean = () => false;
  readonly #server: Server;

  private constructor() {
    this.#server = createServer((request, response) => {
      void this.#serve(request, response);
    });
  }

  static async start(): Promise<SmallS3> {
    const s3 = new SmallS3();
    await new Promise<void>((resolve) => s3.#server.listen(0, '127.0.0.1', resolve));
    return s3;
  }

  get url(): string {
    const { port } = this.#server.address() as AddressInfo;
    return `s3://${bucket}/?endpoint=http://127.0.0.1:${String(port)}`;
  }

  close(): void {
    this.#server.closeAllConnections();
    this.#server.close();
  }

  async #serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const parts: Buffer[] = [];
    for await (const part of request) parts.push(part as Buffer);
    const reply = await this.#reply(request, Buffer.concat(parts)).catch((error: unknown): Reply => {
      if (isStoreError(error, 'CONFLICT')) return { status: 412 };
      throw error;
    });
    response.writeHead(reply.status, reply.headers);
    response.end(reply.body);
  }

  async #reply(request: IncomingMessage, body: Uint8Array): Promise<Reply> {
    const url = new URL(request.url ?? '/', 'http://localhost');
    const key = decodeURIComponent(url.pathname.slice(bucket.length + 2));
    if (request.method === 'DELETE') {
      await this.store.delete([key]);
      return { status: 204 };
    }
    if (request.method === 'PUT') {
      const ifVersion = request.headers['if-match']?.replaceAll('"', '');
      const { version } = await this.store.put(key, body, ifVersion === undefined ? {} : { ifVersion });
      return { status: 200, headers: { etag: `"${version}"` } };
    }
    if (url.searchParams.get('list-type') === '2') return this.#list(url.searchParams);
    if (this.failing(key)) return { status: 503 };
    const found = await this.store.get(key);
    if (found === undefined) return { status: 404 };
    const range = /^bytes=(\d+)-(\d+)$/.exec(request.headers.range ?? '');
    const headers = { etag: `"${found.version}"` };
    if (range === null) return { status: 200, headers, body: found.body };
    return { status: 206, headers, body: found.body.subarray(Number(range[1]), Number(range[2]) + 1) };
  }

  async #list(query: URLSearchParams): Promise<Reply> {
    const after = query.get('start-after') ?? undefined;
    const { objects, more } = await this.store.list(query.get('prefix') ?? '', {
      ...(after === undefined ? {} : { after }),
      limit: Number(query.get('max-keys') ?? 1000),
    });
    const contents = objects.map(
      ({ key, sizeBytes }) => `<Contents><Key>${key}</Key><Size>${String(sizeBytes)}</Size></Contents>`,
    );
    const body = `<?xml version="1.0"?><ListBucketResult><IsTruncated>${String(more)}</IsTruncated>${contents.join('')}</ListBucketResult>`;
    return { status: 200, headers: { 'content-type': 'application/xml' }, body };
  }
}
