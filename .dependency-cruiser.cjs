/** The layers of docs/ARCHITECTURE.md as rules: who may import whom. */
const production = '(\\.test\\.ts|\\.bench\\.ts|/testing/|/testing\\.ts$)';

/** Folders of the emulator that run on Node only: the host side and the build steps. */
const emulatorNodeSide = '^packages/emulator/src/(host-node/|build\\.ts$|build/|tools/)';

module.exports = {
  forbidden: [
    {
      name: 'emulator-runs-anywhere',
      comment:
        'packages/emulator runs in a browser and in a worker: only its host-node folder and its build may import Node modules.',
      severity: 'error',
      from: { path: '^packages/emulator/src', pathNot: [production, emulatorNodeSide] },
      to: { dependencyTypes: ['core'] },
    },
    {
      name: 'emulator-core-not-host',
      comment: 'The machine does not know its host.',
      severity: 'error',
      from: { path: '^packages/emulator/src', pathNot: [production, emulatorNodeSide] },
      to: { path: '^packages/emulator/src/host-' },
    },
    {
      name: 'emulator-knows-no-house',
      severity: 'error',
      from: { path: '^packages/emulator', pathNot: production },
      to: { path: '^packages/(storage|cluster|cli|console|simulation)' },
    },
    {
      name: 'storage-knows-no-machine',
      severity: 'error',
      from: { path: '^packages/storage', pathNot: production },
      to: { path: '^packages/(emulator|cluster|cli|console|simulation)' },
    },
    {
      name: 'cluster-below-cli',
      severity: 'error',
      from: { path: '^packages/cluster', pathNot: production },
      to: { path: '^packages/(cli|console|simulation)' },
    },
    {
      name: 'protocol-runs-anywhere',
      comment:
        'Messages of the cluster are read by nodes, clients and pages: no Node modules, nothing of the house behind them.',
      severity: 'error',
      from: { path: '^packages/cluster/src/protocol/', pathNot: production },
      to: { dependencyTypes: ['core'] },
    },
    {
      name: 'protocol-stands-alone',
      severity: 'error',
      from: { path: '^packages/cluster/src/protocol/', pathNot: production },
      to: { path: '^packages/', pathNot: '^packages/cluster/src/(protocol/|errors\\.ts$)' },
    },
    {
      name: 'client-and-node-meet-in-the-protocol',
      comment:
        'What one of them sends, the other reads through the schemas of the protocol; neither knows the other inside.',
      severity: 'error',
      from: { path: '^packages/cluster/src/client/', pathNot: production },
      to: { path: '^packages/cluster/src/(node|vm)/' },
    },
    {
      name: 'node-and-client-meet-in-the-protocol',
      severity: 'error',
      from: { path: '^packages/cluster/src/(node|vm|decisions)/', pathNot: production },
      to: { path: '^packages/cluster/src/client/' },
    },
    {
      name: 'console-sees-messages-and-emulator-only',
      comment:
        'The web page draws, knows the messages of the cluster, and runs the emulator in the tab; it reaches into nothing else.',
      severity: 'error',
      from: { path: '^packages/console', pathNot: production },
      to: { path: '^packages/(storage|cli|simulation|cluster/src/(?!protocol/|errors\\.ts$))' },
    },
    {
      name: 'simulation-is-for-tests',
      severity: 'error',
      from: { path: '^packages/(?!simulation)', pathNot: production },
      to: { path: '^packages/simulation' },
    },
    {
      name: 'devices-do-not-import-each-other',
      comment:
        'A device gets its interrupt line, clock and backend by constructor; only the machine knows which devices exist.',
      severity: 'error',
      from: { path: '^packages/emulator/src/devices/([^/]+)\\.ts$', pathNot: production },
      to: { path: '^packages/emulator/src/machine/' },
    },
    {
      name: 'no-cycles',
      severity: 'error',
      from: {},
      to: { circular: true, viaOnly: { dependencyTypesNot: ['type-only'] } },
    },
    { name: 'no-unresolved', severity: 'error', from: {}, to: { couldNotResolve: true } },
  ],
  options: {
    doNotFollow: { path: 'node_modules' },
    exclude: { path: ['^packages/emulator/src/core/', '(^|/)generated/'] },
    tsPreCompilationDeps: true,
    tsConfig: { fileName: 'tsconfig.json' },
    enhancedResolveOptions: { exportsFields: ['exports'], conditionNames: ['import', 'node', 'default'] },
  },
};
