/** Lint rules. What only Prettier decides (layout) is not here; what the layers decide is in .dependency-cruiser.cjs. */
import js from '@eslint/js';
import { defineConfig } from 'eslint/config';
import tseslint from 'typescript-eslint';
import { privateByHash } from './.ci/private-by-hash.js';
import { tablesOnly } from './.ci/tables-only.js';

const ambient =
  'The machine and the cluster logic are deterministic: take the clock, the random source or the timer as an argument.';

/** Nothing outside the edges may look at the host's clock or randomness. */
const noAmbientState = {
  'no-restricted-properties': [
    'error',
    { object: 'Date', property: 'now', message: ambient },
    { object: 'Math', property: 'random', message: ambient },
    { object: 'performance', property: 'now', message: ambient },
    { object: 'crypto', property: 'randomUUID', message: ambient },
    { object: 'crypto', property: 'getRandomValues', message: ambient },
    { object: 'process', property: 'hrtime', message: ambient },
  ],
  // The same by import; the hashes of node:crypto depend on nothing but what is hashed.
  'no-restricted-imports': [
    'error',
    {
      paths: [
        { name: 'node:timers', message: ambient },
        { name: 'node:timers/promises', message: ambient },
        { name: 'node:perf_hooks', message: ambient },
        {
          name: 'node:crypto',
          importNames: [
            'randomBytes',
            'randomInt',
            'randomUUID',
            'randomFillSync',
            'getRandomValues',
            'webcrypto',
          ],
          message: ambient,
        },
      ],
    },
  ],
  'no-restricted-globals': [
    'error',
    { name: 'setTimeout', message: ambient },
    { name: 'setInterval', message: ambient },
    { name: 'setImmediate', message: ambient },
    { name: 'performance', message: ambient },
  ],
  'no-restricted-syntax': [
    'error',
    { selector: 'NewExpression[callee.name="Date"][arguments.length=0]', message: ambient },
  ],
};

export default defineConfig(
  { ignores: ['build/', '**/generated/', '**/node_modules/', '**/dist/'] },
  js.configs.recommended,
  {
    plugins: { house: { rules: { 'private-by-hash': privateByHash, 'tables-only': tablesOnly } } },
    rules: { 'house/private-by-hash': 'error', 'house/tables-only': 'error' },
  },
  {
    files: ['**/*.ts', '**/*.tsx'],
    extends: [tseslint.configs.strict],
    languageOptions: { parserOptions: { projectService: true, tsconfigRootDir: import.meta.dirname } },
    rules: {
      // A forgotten promise hides an error; an unhandled case hides a state.
      '@typescript-eslint/no-floating-promises': [
        'error',
        {
          allowForKnownSafeCalls: [
            { from: 'package', package: 'node:test', name: ['test', 'describe', 'it', 'suite'] },
          ],
        },
      ],
      '@typescript-eslint/no-misused-promises': 'error',
      '@typescript-eslint/switch-exhaustiveness-check': [
        'error',
        { considerDefaultExhaustiveForUnions: true },
      ],
      '@typescript-eslint/consistent-type-imports': 'error',
      '@typescript-eslint/no-unused-vars': ['error', { argsIgnorePattern: '^_', varsIgnorePattern: '^_' }],
      // noUncheckedIndexedAccess makes every array read optional; where the index was just checked, `!` says so.
      '@typescript-eslint/no-non-null-assertion': 'off',
      eqeqeq: 'error',
      'no-restricted-exports': ['error', { restrictDefaultExports: { direct: true } }],
      // Constants are named as all other variables: `leaseMs`. A name of a package is its own, as `V86`.
      '@typescript-eslint/naming-convention': [
        'error',
        {
          selector: 'variable',
          modifiers: ['global'],
          filter: { regex: '^V86$', match: false },
          format: null,
          custom: { regex: '^[A-Z][A-Z0-9]*(_[A-Z0-9]+)*$', match: false },
        },
      ],
    },
  },
  {
    // What a guest can see, and what the cluster decides. The edges are left out: the host's side of the emulator and what only builds or tests.
    files: [
      'packages/emulator/src/**/*.ts',
      'packages/simulation/src/**/*.ts',
      'packages/cluster/src/decisions/**/*.ts',
      'packages/network/src/**/*.ts',
    ],
    ignores: [
      'packages/emulator/src/host-*/**/*.ts',
      'packages/network/src/host-*/**/*.ts',
      'packages/simulation/src/mutate.ts',
      '**/build.ts',
      '**/build/**/*.ts',
      '**/*.test.ts',
      '**/*.bench.ts',
    ],
    rules: noAmbientState,
  },
  {
    // Decisions besides: nothing of the host at all, and no look-up by a name from outside in a plain object.
    files: ['packages/cluster/src/decisions/**/*.ts'],
    ignores: ['**/*.test.ts'],
    rules: {
      'no-restricted-globals': [
        ...noAmbientState['no-restricted-globals'],
        { name: 'process', message: ambient },
        { name: 'crypto', message: ambient },
        { name: 'fetch', message: ambient },
        { name: 'Buffer', message: 'Decisions run wherever JavaScript does.' },
      ],
      'no-restricted-syntax': [
        ...noAmbientState['no-restricted-syntax'],
        {
          selector: 'MemberExpression[computed=true][object.property.name="vms"]',
          message: 'The name may be one that every object has (`constructor`): use `vmOf`.',
        },
      ],
    },
  },
  {
    files: ['packages/**/*.{ts,tsx}', 'test/**/*.ts', 'images/**/*.ts', '.ci/**/*.ts', '*.{js,mjs,cjs}'],
    rules: { 'max-lines': ['error', { max: 500, skipBlankLines: true, skipComments: true }] },
  },
  {
    // Beside tables, a list of tests (`describe`) may be as long as a file.
    files: ['packages/**/*.{ts,tsx}', 'test/**/*.ts', 'images/**/*.ts', '*.{js,mjs,cjs}'],
    ignores: ['**/*.test.ts', '**/table/**'],
    rules: {
      'max-lines-per-function': ['error', { max: 70, skipBlankLines: true, skipComments: true }],
    },
  },
  {
    // Names that are a manual's: groups of bits of the clock's registers A, B and C, and flags of the processor.
    files: [
      'packages/emulator/src/devices/timer/rtc-mc146818.ts',
      'test/native/observe.ts',
      'test/native/undefined.ts',
    ],
    rules: { '@typescript-eslint/naming-convention': 'off' },
  },
  {
    // AssemblyScript: TypeScript's syntax with types of its own (i32, u64…), so nothing that asks for types can work.
    files: ['packages/emulator/src/core/**/*.ts'],
    ignores: ['**/*.test.ts'],
    extends: [tseslint.configs.disableTypeChecked],
    languageOptions: { parserOptions: { projectService: false } },
    rules: {
      // `==` is the only comparison of AssemblyScript; `===` compares identity there.
      eqeqeq: 'off',
      'house/private-by-hash': 'off',
      'no-undef': 'off',
      'no-loss-of-precision': 'off',
      'prefer-const': 'off',
      '@typescript-eslint/no-loss-of-precision': 'off',
      '@typescript-eslint/no-inferrable-types': 'off',
      '@typescript-eslint/prefer-literal-enum-member': 'off',
      '@typescript-eslint/no-extraneous-class': 'off',
      '@typescript-eslint/consistent-type-imports': 'off',
      '@typescript-eslint/switch-exhaustiveness-check': 'off',
      'no-restricted-globals': 'off',
    },
  },
  {
    files: ['**/*.mjs', '**/*.cjs', '*.js'],
    languageOptions: {
      globals: {
        process: 'readonly',
        URL: 'readonly',
        console: 'readonly',
        module: 'writable',
        require: 'readonly',
        Buffer: 'readonly',
        setInterval: 'readonly',
      },
    },
  },
  {
    files: ['packages/console/**/*.{js,ts}'],
    languageOptions: {
      globals: {
        document: 'readonly',
        window: 'readonly',
        WebSocket: 'readonly',
        fetch: 'readonly',
        location: 'readonly',
      },
    },
  },
);
