#include "../bench.h"
/* CR4.PGE off and on again: how a kernel forgets all translations, global ones too. A few pages are touched in between. */

static word run(word turns) {
  unsigned long cr4;
  word sum = 0;
  volatile word *place = (volatile word *)MEMORY;
  __asm__ volatile("mov %%cr4, %0" : "=r"(cr4));
  const unsigned long on = cr4 | 0x80, off = on & ~0x80ul;
  while (turns--) {
    __asm__ volatile("mov %0, %%cr4" : : "r"(off) : "memory");
    __asm__ volatile("mov %0, %%cr4" : : "r"(on) : "memory");
    place[0] += turns;
    place[1024 * (turns & 7)] += turns;
    sum = sum * 31 + place[0];
  }
  return sum;
}
