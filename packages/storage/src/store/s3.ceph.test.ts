/** The s3: driver against a real server. Takes about 20 s once Ceph is installed; REVENANT_CEPH=0 leaves it out (not in CI). */
import assert from 'node:assert/strict';
import { after, test } from 'node:test';
import { skipReason, startCeph } from '../../test-support/ceph.ts';
import { testCheckpointsOn } from '../../test-support/checkpoint-suite.ts';
import { isStoreError } from '../errors.ts';
import { testLogOn } from '../../test-support/log-suite.ts';
import { testStoreContract } from '../../test-support/store-contract.ts';
import { openStore } from './open-store.ts';

const leftOut = process.env['REVENANT_CEPH'] === '0' && process.env['CI'] !== 'true';
const ceph = leftOut ? { unavailable: 'left out by REVENANT_CEPH=0' } : await startCeph();
const skip = skipReason(ceph);
after(async () => {
  if (!('unavailable' in ceph)) await ceph.stop();
});

const open = async (): ReturnType<typeof openStore> => {
  assert.ok(!('unavailable' in ceph));
  process.env['AWS_ACCESS_KEY_ID'] = ceph.credentials.accessKeyId;
  process.env['AWS_SECRET_ACCESS_KEY'] = ceph.credentials.secretAccessKey;
  return openStore(`s3://contract/some/prefix?create=1&endpoint=${encodeURIComponent(ceph.endpoint)}`);
};

testStoreContract('s3: on Ceph', { open, skip });
testCheckpointsOn('s3: on Ceph', open, skip);
testLogOn('s3: on Ceph', open, skip);

test('a server that is not there is unavailable, and nothing was applied', { skip }, async () => {
  await assert.rejects(
    openStore('s3://contract/x?endpoint=http://127.0.0.1:9'),
    (error) => isStoreError(error, 'UNAVAILABLE') && error.retryable && error.outcome === 'not-applied',
  );
});
