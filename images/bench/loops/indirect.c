#include "../bench.h"
/* An interpreter of byte code by computed jumps, then calls through a table of functions. */
enum { push, add, sub, dup_top, swap, drop, xor, rotate, opcodes };

static NOINLINE word interpret(const byte *code, word length, word top) {
  static const void *const labels[] = {&&do_push, &&do_add, &&do_sub, &&do_dup, &&do_swap, &&do_drop, &&do_xor, &&do_rotate};
  word stack[16], depth = 0, at = 0, swapped;
#define NEXT \
  if (at >= length) return top + stack[depth & 15]; \
  goto *labels[code[at++]]
  for (int i = 0; i < 16; i++) stack[i] = (word)i;
  NEXT;
do_push: stack[depth++ & 15] = top; top = at; NEXT;
do_add: top += stack[--depth & 15]; NEXT;
do_sub: top -= stack[--depth & 15]; NEXT;
do_dup: stack[depth++ & 15] = top; NEXT;
do_swap: swapped = stack[depth & 15]; stack[depth & 15] = top; top = swapped; NEXT;
do_drop: top = stack[--depth & 15]; NEXT;
do_xor: top ^= stack[depth & 15]; NEXT;
do_rotate: top = top << 7 | top >> 25; NEXT;
}

static NOINLINE word f0(word a) { return a + 1; }
static NOINLINE word f1(word a) { return a ^ 0x55AA; }
static NOINLINE word f2(word a) { return a * 5; }
static NOINLINE word f3(word a) { return a >> 1 | a << 31; }

static word run(word turns) {
  static word (*const functions[])(word) = {f0, f1, f2, f3};
  byte *code = MEMORY;
  word sum = 0;
  for (int i = 0; i < 4096; i++) code[i] = (byte)((next_random() >> 16) % opcodes);
  while (turns--) {
    sum = interpret(code, 4096, sum);
    for (int i = 0; i < 1024; i++) sum = functions[code[i] & 3](sum);
  }
  return sum;
}
