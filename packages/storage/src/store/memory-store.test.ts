/** The store in memory: contract, checkpoints and log. */
import { testCheckpointsOn } from '../../test-support/checkpoint-suite.ts';
import { MemoryStore } from './memory-store.ts';
import { openStore } from './open-store.ts';
import { testLogOn } from '../../test-support/log-suite.ts';
import { testStoreContract } from '../../test-support/store-contract.ts';

testStoreContract('memory:', { open: () => openStore('memory:contract-suite') });

const shared = new MemoryStore();
// Closing one opener's view must not close the other's.
shared.close = () => Promise.resolve();
testCheckpointsOn('memory:', () => Promise.resolve(shared));
testLogOn('memory:', () => Promise.resolve(shared));
