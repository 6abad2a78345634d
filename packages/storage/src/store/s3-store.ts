/**
 * `s3:` an existing object store that speaks S3: Amazon's, Ceph's gateway and others that pass the admission probe.
 *
 * Notes on servers, seen with Ceph 16.2:
 * - If-Match wants the ETag without its quotes (RFC 9110 8.8.3 has them); which form a server takes is tried out once;
 * - a contended conditional put may answer 500: the outcome is unknown, so the SDK must not retry by itself;
 * - ETags are MD5 sums: equal bodies have equal versions. Whoever swaps puts a nonce in the body (records.ts);
 * - conditions on DELETE are ignored: nothing here relies on them.
 */
import type * as S3 from '@aws-sdk/client-s3';
import { StoreError } from '../errors.ts';
import { newNonce, systemHost } from '../host.ts';
import {
  checkKey,
  conflict,
  maxList,
  type ListOptions,
  type ListPage,
  type ObjectStore,
  type ObjectVersion,
  type PutOptions,
  type StoredObject,
} from './object-store.ts';

export interface S3StoreOptions {
  bucket: string;
  /** Key prefix inside the bucket, without slashes at its ends. */
  prefix?: string;
  /** For servers other than Amazon's. Implies path-style addresses. */
  endpoint?: string;
  region?: string;
  /** Otherwise the SDK's usual sources: AWS_ACCESS_KEY_ID and so on. */
  credentials?: { accessKeyId: string; secretAccessKey: string };
  /** One request's limit. Default 10 s. */
  timeoutMs?: number;
  /** Makes the bucket when it is missing. Default false. */
  createBucket?: boolean;
}

const deletesAtOnce = 8;

export class S3Store implements ObjectStore {
  readonly url: string;
  readonly #client: S3.S3Client;
  readonly #s3: typeof S3;
  readonly #bucket: string;
  readonly #prefix: string;
  readonly #timeoutMs: number;
  /** Whether the server wants its ETags quoted: found out at the first put that has one. */
  #quoted: Promise<boolean> | undefined;

  private constructor(s3: typeof S3, options: S3StoreOptions) {
    this.#s3 = s3;
    this.#bucket = options.bucket;
    this.#prefix = options.prefix === undefined || options.prefix === '' ? '' : `${options.prefix}/`;
    this.#timeoutMs = options.timeoutMs ?? 10_000;
    this.url = `s3://${options.bucket}/${options.prefix ?? ''}`;
    this.#client = new s3.S3Client({
      region: options.region ?? process.env['AWS_REGION'] ?? 'us-east-1',
      maxAttempts: 1,
      // Older servers do not know the newer checksum headers; objects carry checksums of their own.
      requestChecksumCalculation: 'WHEN_REQUIRED',
      responseChecksumValidation: 'WHEN_REQUIRED',
      ...(options.endpoint === undefined ? {} : { endpoint: options.endpoint, forcePathStyle: true }),
      ...(options.credentials === undefined ? {} : { credentials: options.credentials }),
    });
  }

  /** Connects, and makes the bucket when asked to. Writes nothing else. */
  static async open(options: S3StoreOptions): Promise<S3Store> {
    const store = new S3Store(await import('@aws-sdk/client-s3'), options);
    if (options.createBucket === true) await store.#createBucket();
    return store;
  }

  async get(key: string): Promise<StoredObject | undefined> {
    return this.#fetch(key, undefined);
  }

  async getRange(key: string, start: number, length: number): Promise<Uint8Array | undefined> {
    if (length === 0) return (await this.#fetch(key, undefined)) && new Uint8Array(0);
    return (await this.#fetch(key, `bytes=${String(start)}-${String(start + length - 1)}`))?.body;
  }

  async put(key: string, body: Uint8Array, options: PutOptions = {}): Promise<{ version: ObjectVersion }> {
    checkKey(key);
    const { ifVersion } = options;
    const etag =
      ifVersion === undefined ? undefined : (await this.#learntForm()) ? `"${ifVersion}"` : ifVersion;
    return this.#putWith(key, body, { etag, ifAbsent: options.ifAbsent === true });
  }

  async #putWith(
    key: string,
    body: Uint8Array,
    { etag, ifAbsent }: { etag: string | undefined; ifAbsent: boolean },
  ): Promise<{ version: ObjectVersion }> {
    const command = new this.#s3.PutObjectCommand({
      Bucket: this.#bucket,
      Key: this.#prefix + key,
      Body: body,
      ...(ifAbsent ? { IfNoneMatch: '*' } : {}),
      ...(etag === undefined ? {} : { IfMatch: etag }),
    });
    try {
      const reply = await this.#client.send(command, this.#limit());
      return { version: unquote(reply.ETag) };
    } catch (error) {
      // A condition on an object that is not there answers 404 on some servers.
      if (statusOf(error) === 412 || (etag !== undefined && statusOf(error) === 404)) throw conflict(key);
      throw storeError(key, error, true);
    }
  }

  async list(prefix: string, options: ListOptions = {}): Promise<ListPage> {
    const command = new this.#s3.ListObjectsV2Command({
      Bucket: this.#bucket,
      Prefix: this.#prefix + prefix,
      MaxKeys: Math.min(options.limit ?? maxList, maxList),
      ...(options.after === undefined ? {} : { StartAfter: this.#prefix + options.after }),
    });
    try {
      const reply = await this.#client.send(command, this.#limit());
      const objects = (reply.Contents ?? []).map((entry) => ({
        key: (entry.Key ?? '').slice(this.#prefix.length),
        sizeBytes: entry.Size ?? 0,
      }));
      return { objects, more: reply.IsTruncated === true };
    } catch (error) {
      throw storeError(prefix, error, false);
    }
  }

  async delete(keys: readonly string[]): Promise<void> {
    for (const key of keys) checkKey(key);
    for (let at = 0; at < keys.length; at += deletesAtOnce)
      await Promise.all(keys.slice(at, at + deletesAtOnce).map((key) => this.#deleteOne(key)));
  }

  async flush(): Promise<void> {
    // A put that was answered is durable.
    return Promise.resolve();
  }

  async close(): Promise<void> {
    this.#client.destroy();
    return Promise.resolve();
  }

  async #fetch(key: string, range: string | undefined): Promise<StoredObject | undefined> {
    checkKey(key);
    const command = new this.#s3.GetObjectCommand({
      Bucket: this.#bucket,
      Key: this.#prefix + key,
      ...(range === undefined ? {} : { Range: range }),
    });
    try {
      const reply = await this.#client.send(command, this.#limit());
      const body = (await reply.Body?.transformToByteArray()) ?? new Uint8Array(0);
      return { body, version: unquote(reply.ETag) };
    } catch (error) {
      if (statusOf(error) === 404 && nameOf(error) !== 'NoSuchBucket') return undefined;
      // A range that begins at or after the end.
      if (statusOf(error) === 416) return { body: new Uint8Array(0), version: '' };
      throw storeError(key, error, false);
    }
  }

  async #deleteOne(key: string): Promise<void> {
    try {
      await this.#client.send(
        new this.#s3.DeleteObjectCommand({ Bucket: this.#bucket, Key: this.#prefix + key }),
        this.#limit(),
      );
    } catch (error) {
      if (statusOf(error) !== 404) throw storeError(key, error, true);
    }
  }

  async #createBucket(): Promise<void> {
    try {
      await this.#client.send(new this.#s3.CreateBucketCommand({ Bucket: this.#bucket }), this.#limit());
    } catch (error) {
      if (!['BucketAlreadyOwnedByYou', 'BucketAlreadyExists'].includes(nameOf(error)))
        throw storeError(this.#bucket, error, true);
    }
  }

  async #learntForm(): Promise<boolean> {
    const learning = (this.#quoted ??= this.#wantsQuotes());
    // A store that failed is asked again.
    learning.catch(() => (this.#quoted = undefined));
    return learning;
  }

  async #wantsQuotes(): Promise<boolean> {
    const key = `probe/etag-${newNonce(systemHost)}`;
    try {
      const { version } = await this.#putWith(key, Buffer.from('one'), { etag: undefined, ifAbsent: false });
      await this.#putWith(key, Buffer.from('two'), { etag: version, ifAbsent: false });
      return false;
    } catch (error) {
      if (error instanceof StoreError && error.code === 'CONFLICT') return true;
      // Nothing was changed that anybody reads: what waited for this has not happened.
      throw error instanceof StoreError
        ? new StoreError(error.code, error.message, { retryable: error.retryable, cause: error })
        : error;
    } finally {
      await this.delete([key]).catch(() => undefined);
    }
  }

  #limit(): { abortSignal: AbortSignal } {
    return { abortSignal: AbortSignal.timeout(this.#timeoutMs) };
  }
}

function unquote(etag: string | undefined): string {
  return (etag ?? '').replace(/^(W\/)?"|"$/g, '');
}

function statusOf(error: unknown): number | undefined {
  if (typeof error !== 'object' || error === null || !('$metadata' in error)) return undefined;
  return (error.$metadata as { httpStatusCode?: number }).httpStatusCode;
}

function nameOf(error: unknown): string {
  return error instanceof Error ? error.name : '';
}

function storeError(key: string, error: unknown, changes: boolean): StoreError {
  const status = statusOf(error);
  const reason = error instanceof Error ? error.message || error.name : String(error);
  const message = `${key}: ${reason}`;
  const refused = error instanceof Error && 'code' in error && error.code === 'ECONNREFUSED';
  const outcome = changes && !refused ? 'unknown' : 'not-applied';
  if (nameOf(error) === 'AbortError' || nameOf(error) === 'TimeoutError')
    return new StoreError('TIMEOUT', `${key}: no answer in time`, { outcome, cause: error });
  if (nameOf(error) === 'NoSuchBucket')
    return new StoreError('NO_STORE', message, { cause: error, hint: 'make the bucket, or check its name' });
  if (status === 403 || status === 401 || nameOf(error) === 'CredentialsProviderError')
    return new StoreError('ACCESS_DENIED', message, { cause: error, hint: 'check the access key' });
  if (status === 507 || nameOf(error) === 'QuotaExceeded')
    return new StoreError('FULL', message, { cause: error });
  if (status !== undefined && status >= 400 && status < 500 && status !== 409 && status !== 429)
    return new StoreError('FAILED', message, { cause: error });
  return new StoreError('UNAVAILABLE', message, { outcome, cause: error });
}
