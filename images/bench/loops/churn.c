#include "../bench.h"
/*
 * Writes functions of random length and content all over 8 MiB, runs each until it is worth translating, and writes the next one over an
 * older one: a compiler at run time that never stops. Every second one lies across two pages.
 */
enum { room = 2048, places = 4096 };

static byte *emit(byte *at, const byte *bytes, int length) {
  for (int i = 0; i < length; i++) *at++ = bytes[i];
  return at;
}
static byte *emit_word(byte *at, word value) {
  for (int i = 0; i < 4; i++, value >>= 8) *at++ = (byte)value;
  return at;
}
static word call(const byte *code, word argument) {
  word result;
  __asm__ volatile("call *%2" : "=a"(result), "+c"(argument) : "r"(code) : "memory", "cc", "edx");
  return result;
}

/** mov eax, ecx; mov edx, TIMES; 1: random arithmetic with skips; dec edx; jnz 1b; ret */
static void generate(byte *at, word times) {
  at = emit(at, (const byte[]){0x89, 0xC8}, 2);
  at = emit_word(emit(at, (const byte[]){0xBA}, 1), times);
  byte *loop = at;
  for (int count = 4 + (int)(next_random() >> 27); count > 0; count--) {
    word kind = next_random() >> 29;
    if (kind < 2) at = emit(at, (const byte[]){0xC1, 0xC0, 0x05}, 3);                        /* rol eax, 5 */
    else if (kind < 3) at = emit(at, (const byte[]){0xA8, 0x10, 0x74, 0x02, 0xFF, 0xC0}, 6); /* test al, 16; jz over; inc eax */
    else at = emit_word(emit(at, (const byte[]){kind < 5 ? 0x05 : kind < 6 ? 0x35 : 0x2D}, 1), next_random());
  }
  at = emit(at, (const byte[]){0xFF, 0xCA, 0x0F, 0x85}, 4);
  at = emit_word(at, (word)(loop - (at + 4)));
  emit(at, (const byte[]){0xC3}, 1);
}

static word run(word turns) {
  word sum = 0;
  while (turns--) {
    word place = next_random() >> 20;
    byte *code = MEMORY + place * room + (place & 1 ? room - 64 : 0);
    generate(code, 20000);
    sum = call(code, sum);
  }
  return sum;
}
