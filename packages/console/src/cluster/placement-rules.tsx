/** Where a VM may run, and rather runs: the fields of its rules, and what they say. */
import type { VmSpec } from '@revenant/cluster/protocol';
import { textOf } from './use-action.tsx';

type Rules = Pick<VmSpec, 'nodes' | 'prefers' | 'affinity' | 'antiAffinity'>;

const fields = [
  { name: 'nodes', label: 'Only on these nodes', hint: 'any' },
  { name: 'prefers', label: 'Rather on one of these nodes', hint: 'any' },
  { name: 'affinity', label: 'On one node with others of the group', hint: 'no group' },
  { name: 'antiAffinity', label: 'Never on one node with others of the group', hint: 'no group' },
] as const;

const namesOf = (text: string): string[] => text.split(/[\s,]+/).filter((word) => word !== '');

/** What the fields of a form say; null: there is no such rule. */
export function rulesOf(data: FormData): { [K in keyof Rules]-?: NonNullable<Rules[K]> | null } {
  const [nodes, prefers] = [namesOf(textOf(data, 'nodes')), namesOf(textOf(data, 'prefers'))];
  return {
    nodes: nodes.length === 0 ? null : nodes,
    prefers: prefers.length === 0 ? null : prefers,
    affinity: textOf(data, 'affinity') || null,
    antiAffinity: textOf(data, 'antiAffinity') || null,
  };
}

/** The same for a VM that is being made. */
export const newRulesOf = (data: FormData): Rules =>
  Object.fromEntries(Object.entries(rulesOf(data)).filter(([, rule]) => rule !== null));

export function PlacementFields({ rules = {} }: { rules?: Rules }) {
  return fields.map(({ name, label, hint }) => (
    <label key={name}>
      {label}
      <input
        type="text"
        name={name}
        placeholder={hint}
        defaultValue={[rules[name] ?? []].flat().join(', ')}
      />
    </label>
  ));
}
