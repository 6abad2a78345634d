/**
 * The checker of chain programs: a guest prints `step N digest`, each digest depending on all steps before, so that a lost, a
 * repeated or a wrong step can be told apart.
 */
import { createHash } from 'node:crypto';
import { builtinDigest } from '../images/builtin.ts';

/** How a guest computes its chain. */
export interface ChainRule {
  /** digest(0) */
  first: string;
  /** digest(n) from digest(n-1) */
  next(previous: string, step: number): string;
}

/** The rule of images/linux/chain. */
export const sha256Chain: ChainRule = {
  first: '0'.repeat(64),
  next: (previous, step) => createHash('sha256').update(`${previous} ${step}\n`).digest('hex'),
};

/** The rule of the built-in guest. */
export const builtinChain: ChainRule = { first: '0'.repeat(16), next: builtinDigest };

export interface ChainVerdict {
  /** Last step of the unbroken chain 1, 2, 3, … */
  steps: number;
  /** What is wrong, or undefined. */
  fault?: string;
}

const stepLine = /^step (\d+) ([0-9a-f]+)$/;

/** Steps in a console text, in order; other lines, and a last line that is not finished, are passed over. */
export function readSteps(text: string): { step: number; digest: string }[] {
  const lines = text.split('\n').slice(0, -1);
  return lines.flatMap((line) => {
    const match = stepLine.exec(line.trim());
    return match === null ? [] : [{ step: Number(match[1]), digest: match[2] ?? '' }];
  });
}

/** Follows the chain from step 1: every step once, in order, with the right digest. */
export function checkChain(text: string, rule: ChainRule): ChainVerdict {
  let digest = rule.first;
  let last = 0;
  for (const { step, digest: printed } of readSteps(text)) {
    if (step <= last) return { steps: last, fault: `step ${step} is repeated after step ${last}` };
    if (step > last + 1) return { steps: last, fault: `steps ${last + 1} to ${step - 1} are lost` };
    digest = rule.next(digest, step);
    if (printed !== digest) return { steps: last, fault: `step ${step} is wrong: ${printed}, not ${digest}` };
    last = step;
  }
  return { steps: last };
}
