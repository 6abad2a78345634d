/** Answers to packets that can't be obeyed. gdb shows the number and nothing else. */
export const Refusal = { badRequest: 'E01', fault: 'E0e', invalid: 'E16' } as const;
