/**
 * The handlers that the interpreter's loop contains itself, instead of calling them: what profiles of kernels, compiled
 * programs and boot loaders show most often. Everything else costs an indirect call; the semantics are the same.
 */
import { Form } from './table/row.ts';
import type { HandlerSlot } from './decode-tables.ts';

/** Opcodes whose register and flat memory forms with 4- and 8-byte operands (1 for byte operands) are inline. */
// prettier-ignore
const operandForms = new Set([
  '88', '89', '8A', '8B', '8D', 'C6 /0', 'C7 /0', '63', '0F B6', '0F B7', '0F BE', '0F BF',
  '01', '03', '09', '0B', '11', '19', '21', '23', '29', '2B', '31', '33', '39', '3B', '30', '38', '3A', '3C', '3D', '05', '25', '2D',
  '80 /7', '81 /0', '81 /4', '81 /5', '81 /7', '83 /0', '83 /1', '83 /2', '83 /4', '83 /5', '83 /6', '83 /7',
  '84', '85', 'A8', 'F6 /0', 'F7 /0', 'F7 /2', 'F7 /3', 'F7 /4', 'FE /0', 'FE /1', 'FF /0', 'FF /1',
  'C1 /0', 'C1 /1', 'C1 /4', 'C1 /5', 'C1 /7', 'D1 /4', 'D1 /5', 'D1 /7', 'D3 /4', 'D3 /5', '0F AF', '69', '6B', '98', '99',
  '0F 42', '0F 43', '0F 44', '0F 45', '0F 46', '0F 47', '0F 48', '0F 49', '0F 4C', '0F 4D', '0F 4E', '0F 4F', '0F 94', '0F 95', '0F BA /4', '0F A3',
  '50+r', '58+r', '68', '6A', 'C9', 'FF /6', '40+r', '48+r', 'B0+r', 'B8+r', '90 noB', '90+r', '0F 1F', 'F3 90 noB',
  'EB', 'E9', 'E8', 'C3', 'FF /2', 'FF /4', 'E2',
]);

const conditionalJump = /^(7[0-9A-F]|0F 8[0-9A-F])$/;
/** Per-processor data of 64-bit kernels is addressed through GS. */
const basedForms = new Set(['89', '8B', '01', '03', 'FF /0', 'FF /1', '83 /0', '39', '3B', '29', '2B']);

export function isHot({ row, size, form }: HandlerSlot): boolean {
  if (size === 2 || form === Form.segmented) return false;
  if (conditionalJump.test(row.opcodeText)) return true;
  if (form === Form.based) return basedForms.has(row.opcodeText);
  return operandForms.has(row.opcodeText);
}
