// Lint rules. What only Prettier decides (layout) is not here; what the layers decide is in .dependency-cruiser.cjs.
import js from '@eslint/js';
import { defineConfig } from 'eslint/config';
import tseslint from 'typescript-eslint';

const ambient =
  'The machine and the cluster logic are deterministic: take the clock, the random source or the timer as an argument.';

/** DESIGN: nothing outside the edges may look at the host's clock or randomness. */
const noAmbientState = {
  'no-restricted-properties': [
    'error',
    { object: 'Date', property: 'now', message: ambient },
    { object: 'Math', property: 'random', message: ambient },
    { object: 'performance', property: 'now', message: ambient },
    { object: 'crypto', property: 'randomUUID', message: ambient },
    { object: 'crypto', property: 'getRandomValues', message: ambient },
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
    },
  },
  {
    files: [
      'packages/emulator/src/**/*.ts',
      'packages/simulation/src/**/*.ts',
      'packages/cluster/src/**/*.ts',
    ],
    rules: noAmbientState,
  },
  {
    // The edges: the host's side of the emulator, the node process and its drivers, tests and build steps.
    files: [
      'packages/emulator/src/host-*/**/*.ts',
      'packages/cluster/src/**/*.ts',
      '**/build.ts',
      '**/build/**/*.ts',
      '**/*.test.ts',
      '**/*.bench.ts',
    ],
    rules: {
      'no-restricted-properties': 'off',
      'no-restricted-globals': 'off',
      'no-restricted-syntax': 'off',
    },
  },
  {
    files: ['packages/*/src/**/*.ts'],
    ignores: ['**/*.test.ts', '**/table/**'],
    rules: {
      'max-lines': ['warn', { max: 500, skipBlankLines: true, skipComments: true }],
      'max-lines-per-function': ['warn', { max: 70, skipBlankLines: true, skipComments: true }],
    },
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
