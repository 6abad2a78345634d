import { testCheckpointsOn } from '../checkpoint/driver-suite.ts';
import { MemoryStore } from './memory-store.ts';
import { openStore } from './open-store.ts';
import { testStoreContract } from './contract.ts';

testStoreContract('memory:', { open: () => openStore('memory:contract-suite') });

const shared = new MemoryStore();
// Closing one opener's view must not close the other's.
shared.close = () => Promise.resolve();
testCheckpointsOn('memory:', () => Promise.resolve(shared));
