#include "../bench.h"
/* REP MOVS and REP STOS of blocks between 16 bytes and 256 KiB, aligned and not. */
static void move(void *to, const void *from, unsigned long length) {
  __asm__ volatile("rep movsb" : "+D"(to), "+S"(from), "+c"(length) : : "memory");
}
static void move_words(void *to, const void *from, unsigned long length) {
  length /= 4;
  __asm__ volatile("rep movsl" : "+D"(to), "+S"(from), "+c"(length) : : "memory");
}
static void set_words(void *to, word value, unsigned long length) {
  length /= 4;
  __asm__ volatile("rep stosl" : "+D"(to), "+c"(length) : "a"(value) : "memory");
}

static word run(word turns) {
  byte *from = MEMORY, *to = MEMORY + (2 << 20);
  word sum = 0;
  for (int i = 0; i < 1 << 18; i++) ((word *)from)[i] = next_random();
  while (turns--) {
    move_words(to, from, 1 << 18);
    for (int i = 0; i < 16; i++) move_words(to + i * 4096, from + i * 8192 + 4, 4096);
    for (int i = 0; i < 64; i++) move(to + i * 333, from + i * 777, 256 + i);
    for (int i = 0; i < 256; i++) move(to + i * 17, from + i * 29, 16);
    set_words(to + 4096, turns, 1 << 14);
    sum = sum * 31 + ((word *)to)[turns & 0xFFFF];
  }
  return sum;
}
