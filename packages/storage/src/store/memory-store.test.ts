import { openStore } from './open-store.ts';
import { testStoreContract } from './contract.ts';

testStoreContract('memory:', { open: () => openStore('memory:contract-suite') });
