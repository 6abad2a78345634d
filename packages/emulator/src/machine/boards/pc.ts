/** A PC with the i440FX chipset: the parts of every board, with keyboard, mouse, video and DMA. */
import { commonParts, descriptiveParts } from './microvm.ts';
import type { BoardPlan } from './plan.ts';

export const pc: BoardPlan = {
  parts: [
    ...commonParts,
    { chip: 'dma-8237' },
    { chip: 'vga-text' },
    { chip: 'i8042', keyboardIrq: 1, mouseIrq: 12 },
    ...descriptiveParts,
  ],
};
