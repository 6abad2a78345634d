/** Options that say where a VM may run, and rather runs. */
import type { VmSpec } from '@revenant/cluster';
import { value, type Options, type Values } from '../command/options.ts';

/** Takes a rule away. */
const none = 'none';

const nodeNames = (text: string): string[] | null =>
  text === none ? null : text.split(',').filter((word) => word !== '');
const group = (text: string): string | null => (text === none ? null : text);

export const ruleOptions = {
  on: value(
    'NODES',
    `only on these nodes (a,b): while none of them can take it, it waits; ${none}: on any`,
    nodeNames,
  ),
  prefer: value('NODES', 'on one of these nodes while one can take it, else on any', nodeNames),
  affinity: value('GROUP', 'on a node with another VM of the group, where one has room', group),
  'anti-affinity': value('GROUP', 'never on one node with another VM of the group', group),
} satisfies Options;

type Rules = Pick<VmSpec, 'nodes' | 'prefers' | 'affinity' | 'antiAffinity'>;

/** The rules that were given; null: that one is taken away. */
export function rulesOf(values: Values<typeof ruleOptions>): { [K in keyof Rules]?: Rules[K] | null } {
  const { on: nodes, prefer: prefers, affinity, 'anti-affinity': antiAffinity } = values;
  const given = Object.entries({ nodes, prefers, affinity, antiAffinity });
  return Object.fromEntries(given.filter(([, rule]) => rule !== undefined));
}

/** Those of a new VM. */
export function newRulesOf(values: Values<typeof ruleOptions>): Rules {
  return Object.fromEntries(Object.entries(rulesOf(values)).filter(([, rule]) => rule !== null)) as Rules;
}
