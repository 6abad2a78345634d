/*
 * Runs short programs in Debian's Unicorn and prints what hooks were told and how each ended, for oracle.test.ts.
 * Standard input: a line for each program: bits, hooks (letters), instructions at most, end, bytes in hexadecimal digits.
 */
#include <stdio.h>
#include <string.h>
#include <unicorn/unicorn.h>

static int bits;

static uint64_t reg(uc_engine *u, int wide, int narrow) {
  uint64_t value = 0;
  uc_reg_read(u, bits == 64 ? wide : narrow, &value);
  return value;
}

static uint64_t pc(uc_engine *u) { return reg(u, UC_X86_REG_RIP, UC_X86_REG_EIP); }

static void code(uc_engine *u, uint64_t at, uint32_t size, void *data) {
  printf("code %lx %u\n", (unsigned long)at, size);
}
static void block(uc_engine *u, uint64_t at, uint32_t size, void *data) {
  printf("block %lx %u\n", (unsigned long)at, size);
}
static void memory(uc_engine *u, uc_mem_type type, uint64_t at, int size, int64_t value, void *data) {
  uint64_t mask = size == 8 ? ~0ul : (1ul << (size * 8)) - 1;
  printf("memory %d %lx %d %lx\n", type, (unsigned long)at, size, type == UC_MEM_WRITE ? (unsigned long)(value & mask) : 0);
}
static bool refuse(uc_engine *u, uc_mem_type type, uint64_t at, int size, int64_t value, void *data) {
  printf("refused %d %lx\n", type, (unsigned long)at);
  return false;
}
static bool map(uc_engine *u, uc_mem_type type, uint64_t at, int size, int64_t value, void *data) {
  printf("mapped %d %lx\n", type, (unsigned long)at);
  return uc_mem_map(u, at & ~0xfffull, 0x1000, UC_PROT_ALL) == UC_ERR_OK;
}
static void interrupt(uc_engine *u, uint32_t number, void *data) {
  printf("interrupt %u %lx\n", number, (unsigned long)pc(u));
  uc_emu_stop(u);
}
static bool invalid(uc_engine *u, void *data) {
  printf("invalid %lx\n", (unsigned long)pc(u));
  return false;
}
static uint32_t in(uc_engine *u, uint32_t port, int size, void *data) {
  printf("in %x %d\n", port, size);
  return 0xf1f2f3f4;
}
static void out(uc_engine *u, uint32_t port, int size, uint32_t value, void *data) {
  printf("out %x %d %x\n", port, size, value);
}
static void systemCall(uc_engine *u, void *data) { printf("syscall\n"); }
static int cpuid(uc_engine *u, void *data) {
  printf("cpuid\n");
  return 1;
}

static void hook(uc_engine *u, int type, void *call, int instruction) {
  uc_hook handle;
  uc_hook_add(u, &handle, type, call, NULL, 1, 0, instruction);
}

int main(void) {
  char hooks[32], hex[512];
  unsigned long count, until;
  while (scanf("%d %31s %lu %lx %511s", &bits, hooks, &count, &until, hex) == 5) {
    uc_engine *u;
    uint8_t bytes[256];
    size_t length = strlen(hex) / 2;
    for (size_t n = 0; n < length; n++) sscanf(hex + 2 * n, "%2hhx", &bytes[n]);
    uc_open(UC_ARCH_X86, bits == 64 ? UC_MODE_64 : bits == 32 ? UC_MODE_32 : UC_MODE_16, &u);
    uc_mem_map(u, 0x1000, 0x2000, UC_PROT_ALL);
    uc_mem_map(u, 0x8000, 0x1000, UC_PROT_READ | UC_PROT_WRITE);
    uc_mem_map(u, 0xa000, 0x1000, UC_PROT_READ);
    uc_mem_map(u, 0xb000, 0x1000, UC_PROT_WRITE);
    uc_mem_write(u, 0x1000, bytes, length);
    static const int wide[] = {UC_X86_REG_RSP, UC_X86_REG_RDI, UC_X86_REG_RSI, UC_X86_REG_RCX};
    static const int narrow[] = {UC_X86_REG_ESP, UC_X86_REG_EDI, UC_X86_REG_ESI, UC_X86_REG_ECX};
    static const uint64_t values[] = {0x8800, 0x8100, 0x8200, 3};
    for (int n = 0; n < 4; n++) uc_reg_write(u, bits == 64 ? wide[n] : narrow[n], &values[n]);
    if (strchr(hooks, 'c')) hook(u, UC_HOOK_CODE, code, 0);
    if (strchr(hooks, 'b')) hook(u, UC_HOOK_BLOCK, block, 0);
    if (strchr(hooks, 'm')) hook(u, UC_HOOK_MEM_VALID | UC_HOOK_MEM_READ_AFTER, memory, 0);
    if (strchr(hooks, 'r')) hook(u, UC_HOOK_MEM_INVALID, refuse, 0);
    if (strchr(hooks, 'M')) hook(u, UC_HOOK_MEM_INVALID, map, 0);
    if (strchr(hooks, 'i')) hook(u, UC_HOOK_INTR, interrupt, 0);
    if (strchr(hooks, 'u')) hook(u, UC_HOOK_INSN_INVALID, invalid, 0);
    if (strchr(hooks, 'p')) {
      hook(u, UC_HOOK_INSN, in, UC_X86_INS_IN);
      hook(u, UC_HOOK_INSN, out, UC_X86_INS_OUT);
      hook(u, UC_HOOK_INSN, systemCall, UC_X86_INS_SYSCALL);
      hook(u, UC_HOOK_INSN, cpuid, UC_X86_INS_CPUID);
    }
    uc_err error = uc_emu_start(u, 0x1000, until, 0, count);
    printf("end %d", error);
    static const int shown[][2] = {{UC_X86_REG_RAX, UC_X86_REG_EAX}, {UC_X86_REG_RCX, UC_X86_REG_ECX}, {UC_X86_REG_RDX, UC_X86_REG_EDX},
                                   {UC_X86_REG_RBX, UC_X86_REG_EBX}, {UC_X86_REG_RSP, UC_X86_REG_ESP}, {UC_X86_REG_RSI, UC_X86_REG_ESI},
                                   {UC_X86_REG_RDI, UC_X86_REG_EDI}};
    for (int n = 0; n < 7; n++) printf(" %lx", (unsigned long)reg(u, shown[n][0], shown[n][1]));
    printf(" flags %lx pc %lx\n", (unsigned long)reg(u, UC_X86_REG_EFLAGS, UC_X86_REG_EFLAGS), (unsigned long)pc(u));
    uc_close(u);
  }
  return 0;
}
