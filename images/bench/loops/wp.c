#include "../bench.h"
/* CR0.WP off, a write, and on again: what a kernel does around each write to its read-only pages. */

static word run(word turns) {
  unsigned long cr0;
  word sum = 0;
  volatile word *place = (volatile word *)MEMORY;
  __asm__ volatile("mov %%cr0, %0" : "=r"(cr0));
  const unsigned long on = cr0 | 0x10000, off = on & ~0x10000ul;
  while (turns--) {
    __asm__ volatile("mov %0, %%cr0" : : "r"(off) : "memory");
    *place += turns;
    __asm__ volatile("mov %0, %%cr0" : : "r"(on) : "memory");
    sum = sum * 31 + *place;
  }
  return sum;
}
