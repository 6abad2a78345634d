#include "../bench.h"
/* Writes of the TSC deadline, far away: what a kernel does for each timer that it starts or ends. */

/* The last page that start.s maps becomes the local APIC's. */
#define PAGE 0x1FFF
#define APIC_REGISTER(offset) (*(volatile word *)((unsigned long)PAGE * 4096 + (offset)))

static inline void write_msr(word number, word low, word high) {
  __asm__ volatile("wrmsr" : : "c"(number), "a"(low), "d"(high) : "memory");
}

static word run(word turns) {
  word sum = 0;
  ((volatile unsigned long *)0x304000)[PAGE] = 0xFEE0001B;
  __asm__ volatile("invlpg (%0)" : : "r"((unsigned long)PAGE * 4096) : "memory");
  APIC_REGISTER(0xF0) = 0x1FF;   /* spurious vector, enabled */
  APIC_REGISTER(0x320) = 0x500FE; /* timer: TSC deadline, masked */
  while (turns--) {
    write_msr(0x6E0, turns, 0x7000);
    sum = sum * 31 + turns;
  }
  return sum;
}
