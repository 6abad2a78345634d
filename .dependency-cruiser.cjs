/** The layers of docs/ARCHITECTURE.md as rules: who may import whom. */
const production = '(\\.test\\.ts|\\.bench\\.ts|/testing/|/testing\\.ts$)';

/** Folders of the emulator that run on Node only: the host side and the build steps. */
const emulatorNodeSide = '^packages/emulator/src/(host-node/|build\\.ts$|build/|tools/)';

/** Parts of which several devices are made; each is a library, not a device. */
const devicePart =
  '/(pci/(pci-(function|registers)|plain-function|register-function|msix)|ahci/ahci-(port|command)|ide/(ata|atapi|ata-commands|bus-master|ide-channel|ide-state)|floppy/(fdc-state|floppy-media)|video/(font|vga-(memory|mode|ports|registers|renderer))|virtio/virtio-pci|virtio/(virtqueue|virtio-state|checksums)|network/(network-card|e1000-(eeprom|transmit))|serial/serial-log|input/ps2-[a-z]+)\\.ts$';

/** What reads the state of a device for people; no device either. */
const deviceReader = '/video/(saved-screen|screen-text|text-picture|display)\\.ts$';

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
      from: {
        path: '^packages/emulator/src',
        pathNot: [production, emulatorNodeSide, '^packages/emulator/src/host-browser/'],
      },
      to: { path: '^packages/emulator/src/host-' },
    },
    {
      name: 'emulator-knows-no-house',
      severity: 'error',
      from: { path: '^packages/emulator/', pathNot: production },
      to: { path: '^packages/(?!emulator/)' },
    },
    {
      name: 'storage-knows-no-machine',
      severity: 'error',
      from: { path: '^packages/storage/', pathNot: production },
      to: { path: '^packages/(?!storage/)' },
    },
    {
      name: 'network-runs-anywhere',
      comment: 'Switch and gateway are pure; only the host-node folder touches sockets.',
      severity: 'error',
      from: { path: '^packages/network/src', pathNot: [production, '^packages/network/src/host-node/'] },
      to: { dependencyTypes: ['core'] },
    },
    {
      name: 'network-core-not-host',
      severity: 'error',
      from: { path: '^packages/network/src', pathNot: [production, '^packages/network/src/host-node/'] },
      to: { path: '^packages/network/src/host-' },
    },
    {
      name: 'network-knows-no-house',
      severity: 'error',
      from: { path: '^packages/network/', pathNot: production },
      to: { path: '^packages/(?!network/)' },
    },
    {
      name: 'unicorn-knows-the-processor-only',
      severity: 'error',
      from: { path: '^packages/unicorn/', pathNot: production },
      to: { path: '^packages/(?!(unicorn|emulator)/)' },
    },
    {
      name: 'debugger-runs-anywhere',
      comment: 'Protocols and time travel are pure; only the host-node folder touches sockets.',
      severity: 'error',
      from: { path: '^packages/debugger/src', pathNot: [production, '^packages/debugger/src/host-node/'] },
      to: { dependencyTypes: ['core'] },
    },
    {
      name: 'debugger-knows-the-emulator-only',
      severity: 'error',
      from: { path: '^packages/debugger/', pathNot: production },
      to: { path: '^packages/(?!(debugger|emulator)/)' },
    },
    {
      name: 'cluster-below-cli',
      severity: 'error',
      from: { path: '^packages/cluster/', pathNot: production },
      to: { path: '^packages/(?!(cluster|emulator|storage|network|debugger)/)' },
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
      name: 'console-sees-messages-emulator-and-files-only',
      comment:
        'The web page draws, knows the messages of the cluster, and runs the emulator in the tab, also from checkpoint files; it reaches into nothing else.',
      severity: 'error',
      from: { path: '^packages/console', pathNot: production },
      to: {
        path: '^packages/(storage/src/(?!browser\\.ts$)|cluster/src/(?!protocol/|errors\\.ts$)|(?!(console|emulator|debugger|storage|cluster)/))',
      },
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
        'A device gets its interrupt line, clock and backend by constructor; only the machine knows which devices exist. What several share is a contract, directly in devices/, or one of the parts named here, of which devices are made.',
      severity: 'error',
      from: { path: '^packages/emulator/src/devices/[^/]+/', pathNot: [production, deviceReader] },
      to: { path: '^packages/emulator/src/devices/[^/]+/', pathNot: devicePart },
    },
    {
      name: 'devices-know-no-machine',
      severity: 'error',
      from: { path: '^packages/emulator/src/devices/', pathNot: production },
      to: {
        path: '^packages/emulator/src/(machine|boot|acpi|cpu|engine|translator|host-[^/]+)/',
      },
    },
    {
      name: 'decisions-have-no-effects',
      comment:
        'What the cluster decides is a function of state and event: neither Node nor a library nor any other part of the cluster is within reach.',
      severity: 'error',
      from: { path: '^packages/cluster/src/decisions/', pathNot: production },
      to: {
        // Addresses are counted as the network does it.
        pathNot:
          '^packages/cluster/src/(decisions|protocol)/|^packages/cluster/src/errors\\.ts$|^packages/network/src/wire/address\\.ts$',
      },
    },
    {
      name: 'no-cycles',
      severity: 'error',
      from: {},
      to: { circular: true, viaOnly: { dependencyTypesNot: ['type-only'] } },
    },
    {
      name: 'no-type-cycles-across-folders',
      comment:
        'Files of one folder may name the types of each other: they are one thing in several files, and nothing of it is there at run time. Across folders it would mean that neither can be understood alone. The one exception: a row of the instruction table is written against the builder, and the builder is told which row it builds.',
      severity: 'error',
      from: {
        path: '^(.+)/[^/]+$',
        pathNot: '^packages/emulator/src/cpu/(builder|flag-builder|table/row)\\.ts$',
      },
      to: { circular: true, via: { pathNot: '^$1/[^/]+$' } },
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
