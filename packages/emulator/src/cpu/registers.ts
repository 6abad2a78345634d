/** Names of the general registers, in the order of their numbers (SDM Vol. 2, table 2-4 and REX bits). */
// prettier-ignore
export const gprNames = [
  'rax', 'rcx', 'rdx', 'rbx', 'rsp', 'rbp', 'rsi', 'rdi', 'r8', 'r9', 'r10', 'r11', 'r12', 'r13', 'r14', 'r15',
] as const;
/** Name of a general register, in 64 bits. */
export type GprName = (typeof gprNames)[number];
