#include "../bench.h"
/* Reads of CR8, the task priority: what a kernel asks whenever it takes a lock at an interrupt level. */

static word run(word turns) {
  word sum = 0;
  while (turns--) {
    unsigned long priority;
    __asm__ volatile("mov %%cr8, %0" : "=r"(priority));
    sum = sum * 31 + (word)priority + turns;
  }
  return sum;
}
