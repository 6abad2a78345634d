/** Questions of a guest reach a terminal only just after somebody typed there; everything else always does. */
import { test } from 'node:test';
import assert from 'node:assert/strict';
import fc from 'fast-check';
import { TerminalQuestions } from './terminal-questions.ts';

const asked = [
  '\x1b[6n', // the cursor's place
  '\x1b[?6n',
  '\x1b[5n',
  '\x1b[c', // what the terminal is
  '\x1b[0c',
  '\x1b[>c',
  '\x1b[=c',
  '\x1bZ',
  '\x1b[>0q',
  '\x1b[?2026$p', // whether a mode is set
  '\x1b[4$p',
  '\x1b[18t', // how large the window is
  '\x1b[21t',
  '\x1b[?u',
  '\x1b]10;?\x07', // a colour
  '\x1b]4;1;?\x07',
  '\x1b]52;c;?\x07', // the clipboard
  '\x1bP$qm', // a setting
  '\x1bP+q544e',
  '\x05',
  '\xc2\x9b6n', // the same by control characters of one code point
  '\xc2\x9a',
  '\x1b[6\x00n',
];

const told = [
  'text, täxt and 漢字',
  '\x1b[31m',
  '\x1b[2J\x1b[H',
  '\x1b[?1049h',
  '\x1b[8;24;80t', // sets a size
  '\x1b(B',
  '\x1b]0;a title\x07',
  '\x1b]10;#ffffff\x07',
  '\x1b[4 q', // the cursor's shape
  '\x1b[u', // back to a place
  '\x1b7\x1b8',
  `\x1bP0;1q${'#0~~@@'.repeat(400)}\x1b\\`, // a picture
];

const latin1 = (text: string): Uint8Array => Buffer.from(text, 'latin1');
const utf8 = (text: string): Uint8Array => new TextEncoder().encode(text);
const join = (pieces: Uint8Array[]): string => Buffer.concat(pieces).toString('latin1');

test('a question that nobody here caused is left out, whatever is around it', () => {
  for (const question of asked) {
    const questions = new TerminalQuestions(() => 0);
    assert.equal(
      join([questions.pass(latin1(`a${question}\x1b[1mb`))]),
      'a\x1b[1mb',
      JSON.stringify(question),
    );
    if (!question.startsWith('\x1b')) continue;
    const inString = new TerminalQuestions(() => 0);
    assert.equal(
      join([inString.pass(latin1(`\x1b]0;title${question}\x1b\\`))]),
      '\x1b]0;title\x1b\\',
      JSON.stringify(question),
    );
  }
});

test('everything else is shown, unchanged', () => {
  for (const text of told) {
    const questions = new TerminalQuestions(() => 0);
    assert.deepEqual(questions.pass(utf8(`${text}.`)), utf8(`${text}.`), JSON.stringify(text));
  }
});

test('questions come through within ten seconds of what was typed; an answer opens nothing', () => {
  let nowMs = 0;
  const questions = new TerminalQuestions(() => nowMs);
  const shows = (): boolean => questions.pass(latin1('\x1b[6n')).length > 0;
  questions.typed(latin1('\x1b[1;1R'));
  assert.equal(shows(), false);
  questions.typed(latin1('r'));
  assert.equal(shows(), true);
  nowMs = 10_000;
  questions.typed(latin1('\x1b[1;1R'));
  assert.equal(shows(), true);
  nowMs = 10_001;
  assert.equal(shows(), false);
});

test('it does not matter how output is cut into pieces', () => {
  const token = fc.oneof(fc.constantFrom(...asked, ...told), fc.string({ maxLength: 4 }));
  fc.assert(
    fc.property(
      fc.array(token, { maxLength: 20 }),
      fc.array(fc.integer({ min: 1, max: 9 })),
      (tokens, cuts) => {
        const all = latin1(tokens.join(''));
        const whole = new TerminalQuestions(() => 0).pass(all);
        const cut = new TerminalQuestions(() => 0);
        const pieces: Uint8Array[] = [];
        let at = 0;
        for (const length of [...cuts, all.length])
          pieces.push(cut.pass(all.subarray(at, (at += length))).slice());
        assert.equal(join(pieces), join([whole]));
      },
    ),
  );
});
