/*
 * The loop of unicorn.ts in Debian's Unicorn: turns, hook (none, code, block, memory), loop's bytes in hexadecimal digits; prints the
 * seconds that it took.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unicorn/unicorn.h>

static unsigned long calls;
static void code(uc_engine *u, uint64_t at, uint32_t size, void *data) { calls++; }
static void memory(uc_engine *u, uc_mem_type type, uint64_t at, int size, int64_t value, void *data) { calls++; }

int main(int argc, char **argv) {
  uint64_t turns = strtoul(argv[1], NULL, 10), from = 0x8000, to = 0x8100;
  size_t length = strlen(argv[3]) / 2;
  uint8_t bytes[64];
  for (size_t n = 0; n < length; n++) sscanf(argv[3] + 2 * n, "%2hhx", &bytes[n]);
  uc_engine *u;
  uc_hook hook;
  uc_open(UC_ARCH_X86, UC_MODE_64, &u);
  uc_mem_map(u, 0x1000, 0x1000, UC_PROT_ALL);
  uc_mem_map(u, 0x8000, 0x1000, UC_PROT_ALL);
  uc_mem_write(u, 0x1000, bytes, length);
  uc_reg_write(u, UC_X86_REG_RCX, &turns);
  uc_reg_write(u, UC_X86_REG_RSI, &from);
  uc_reg_write(u, UC_X86_REG_RDI, &to);
  if (!strcmp(argv[2], "code")) uc_hook_add(u, &hook, UC_HOOK_CODE, code, NULL, 1, 0);
  if (!strcmp(argv[2], "block")) uc_hook_add(u, &hook, UC_HOOK_BLOCK, code, NULL, 1, 0);
  if (!strcmp(argv[2], "memory")) uc_hook_add(u, &hook, UC_HOOK_MEM_READ | UC_HOOK_MEM_WRITE, memory, NULL, 1, 0);
  struct timespec begin, end;
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &begin);
  uc_emu_start(u, 0x1000, 0x1000 + length, 0, 0);
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &end);
  printf("%f\n", (end.tv_sec - begin.tv_sec) + (end.tv_nsec - begin.tv_nsec) / 1e9);
  return 0;
}
