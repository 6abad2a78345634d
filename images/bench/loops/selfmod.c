#include "../bench.h"
/*
 * Writes small functions and calls them, as a compiler at run time does: each is called a hundred times before another one takes its
 * place; every turn also patches a number inside of a loop that is already hot.
 */
enum { functions = 64, room = 128 };

static byte *emit(byte *at, const byte *bytes, int length) {
  for (int i = 0; i < length; i++) *at++ = bytes[i];
  return at;
}
static byte *emit_word(byte *at, word value) {
  for (int i = 0; i < 4; i++, value >>= 8) *at++ = (byte)value;
  return at;
}
/** Calls generated code: argument in ECX, result in EAX. */
static word call(const byte *code, word argument) {
  word result;
  __asm__ volatile("call *%2" : "=a"(result), "+c"(argument) : "r"(code) : "memory", "cc", "edx");
  return result;
}

/** mov eax, ecx; eight random ones of add, xor, sub with a number, or rol; ret */
static void generate(byte *at) {
  at = emit(at, (const byte[]){0x89, 0xC8}, 2);
  for (int i = 0; i < 8; i++) {
    word kind = next_random() >> 30;
    if (kind == 3) at = emit(at, (const byte[]){0xC1, 0xC0, 0x05}, 3);
    else at = emit_word(emit(at, (const byte[]){kind == 0 ? 0x05 : kind == 1 ? 0x35 : 0x2D}, 1), next_random());
  }
  emit(at, (const byte[]){0xC3}, 1);
}

static word run(word turns) {
  /* mov eax, ecx; mov edx, 100; 1: add eax, NUMBER; rol eax, 3; dec edx; jnz 1b; ret  (FF /1 is DEC in both modes) */
  static const byte loop[] = {0x89, 0xC8, 0xBA, 100, 0, 0, 0, 0x05, 0, 0, 0, 0, 0xC1, 0xC0, 0x03, 0xFF, 0xCA, 0x75, 0xF4, 0xC3};
  byte *code = MEMORY, *hot = MEMORY + (1 << 20);
  word sum = 0;
  emit(hot, loop, sizeof loop);
  for (int i = 0; i < functions; i++) generate(code + i * room);
  while (turns--) {
    byte *changed = code + turns % functions * room;
    generate(changed);
    for (int i = 0; i < 100; i++) sum = call(changed, sum);
    emit_word(hot + 8, turns);
    for (int i = 0; i < 10; i++) sum = call(hot, sum);
  }
  return sum;
}
