/*
 * Runs single x86 instructions on the host's processor: the oracle of test/native.
 *
 *   harness BATCH
 *   harness --processor      (maker, family and model of the processor, as CPUID tells them)
 *
 * BATCH is a file of a header and fixed-size cases (layout: case.ts, kept in step by the static asserts below). It is
 * mapped shared; each case's result replaces its input. One signal per instruction: the handler that receives the
 * trap of one instruction stores its outcome, loads the next case into its own signal frame and returns into it
 * with TF set (or, without TF, into an instruction followed by INT3), so a case costs one exception and one
 * sigreturn. 32-bit and 16-bit code run in the same process through other code segments.
 *
 * Always: nothing in the handler touches thread-local storage (FS and GS belong to the case).
 */
#define _GNU_SOURCE
#include <asm/ldt.h>
#include <asm/prctl.h>
#include <cpuid.h>
#include <fcntl.h>
#include <signal.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <ucontext.h>
#include <unistd.h>

enum {
  CODE = 0x100000, CODE_BYTES = 0x2000,
  DATA = 0x200000, DATA_BYTES = 0x2000,
  READ_ONLY = 0x204000,
  STACK = 0x300000, STACK_BYTES = 0x1000,
  WINDOW_A = DATA + 0xe80, WINDOW_A_BYTES = 768,
  WINDOW_B = DATA + 0x1f80, WINDOW_B_BYTES = 128,
  WINDOW_S = STACK + 0x600, WINDOW_S_BYTES = 512,
  FS_BASE = 0x1000, GS_BASE = 0x2000,
  USER32_CS = 0x23, USER_DS = 0x2b, USER_CS = 0x33,
  LDT_CODE16 = 0x07, LDT_DATA16 = 0x0f, LDT_STACK16 = 0x17,
};
enum { OPTION_TRAP_FLAG = 1 };
enum { TF = 0x100 };

struct header { uint32_t magic, count, done, reserved[13]; };
struct test_case {
  uint32_t mode, options, code_length, code_offset;
  uint8_t unused[16];
  uint64_t gpr[16]; /* RAX RCX RDX RBX RSP RBP RSI RDI R8.. */
  uint64_t rflags, rip, cr2;
  uint32_t signal, trap, error;
  uint32_t strayed; /* 1 when bytes outside of the windows were written (and have been cleared again) */
  uint16_t selectors[6]; /* ES CS SS DS FS GS after the instruction */
  uint8_t code[44]; /* one instruction, or several of which the last is followed by INT3 */
  uint8_t fxsave[512];
  uint8_t window_a[WINDOW_A_BYTES];
  uint8_t window_b[WINDOW_B_BYTES];
  uint8_t window_s[WINDOW_S_BYTES];
  uint8_t uppers[256]; /* bits 128-255 of YMM0-15 */
};
_Static_assert(sizeof(struct header) == 64, "header");
_Static_assert(offsetof(struct test_case, selectors) == 200, "selectors");
_Static_assert(offsetof(struct test_case, fxsave) == 256, "fxsave");
_Static_assert(sizeof(struct test_case) == 2432, "case");

static struct header *header;
static struct test_case *cases;
static uint32_t count;
static int64_t current = -1;
static uint8_t *code_alias; /* the code pages once more, writable */
static int has_ldt;
/* A kernel or its host may keep RDFSBASE and its like away from programs: CR4.FSGSBASE (HWCAP2_FSGSBASE). */
static int has_fsgsbase;
/* Whether the kernel keeps AVX state in signal frames, where it always lies behind the header of the XSAVE area. */
static int has_avx;
enum { XSTATE_BV = 512, XSTATE_AVX = 576, COMPONENT_AVX = 4 };

static void copy(void *to, const void *from, size_t n) { __asm__ volatile("rep movsb" : "+D"(to), "+S"(from), "+c"(n)::"memory"); }
static void fill(void *to, int value, size_t n) { __asm__ volatile("rep stosb" : "+D"(to), "+c"(n) : "a"(value) : "memory"); }

static const int greg_order[16] = {REG_RAX, REG_RCX, REG_RDX, REG_RBX, REG_RSP, REG_RBP, REG_RSI, REG_RDI,
                                   REG_R8,  REG_R9,  REG_R10, REG_R11, REG_R12, REG_R13, REG_R14, REG_R15};

static void leave(int status) {
  __asm__ volatile("syscall" ::"a"(SYS_exit_group), "D"(status) : "rcx", "r11", "memory");
}

static void set_base(long code, uint64_t base) {
  long result = SYS_arch_prctl;
  __asm__ volatile("syscall" : "+a"(result) : "D"(code), "S"(base) : "rcx", "r11", "memory");
}

static void load_segments(uint32_t mode) {
  uint16_t data = mode == 16 ? LDT_DATA16 : USER_DS;
  __asm__ volatile("mov %0, %%ds; mov %0, %%es" ::"r"((uint32_t)data));
  if (mode == 32) {
    /* FS reaches the data with 16-bit addresses and has a limit; GS is flat. */
    __asm__ volatile("mov %0, %%fs; mov %1, %%gs" ::"r"((uint32_t)LDT_DATA16), "r"((uint32_t)USER_DS));
  } else if (mode == 64) {
    __asm__ volatile("mov %0, %%fs; mov %0, %%gs" ::"r"(0));
    if (has_fsgsbase) {
      __asm__ volatile("wrfsbase %0; wrgsbase %1" ::"r"((uint64_t)FS_BASE), "r"((uint64_t)GS_BASE));
    } else {
      set_base(ARCH_SET_FS, FS_BASE);
      set_base(ARCH_SET_GS, GS_BASE);
    }
  } else {
    __asm__ volatile("mov %0, %%fs; mov %0, %%gs" ::"r"((uint32_t)data));
  }
}

/* An instruction may be cut off by the end of the mapped pages. */
static size_t code_room(const struct test_case *c) {
  size_t room = CODE_BYTES - c->code_offset;
  return room < sizeof c->code ? room : sizeof c->code;
}

/* Clears [start, end) and says whether something was there. */
static int clear(uint64_t start, uint64_t end) {
  const uint64_t *p = (const uint64_t *)start;
  uint64_t any = 0;
  for (; p < (const uint64_t *)end; p++) any |= *p;
  if (any) fill((void *)start, 0, end - start);
  return any != 0;
}

static uint32_t clear_outside_of_windows(void) {
  return (uint32_t)(clear(DATA, WINDOW_A) | clear(WINDOW_A + WINDOW_A_BYTES, WINDOW_B) | clear(STACK, WINDOW_S) |
                    clear(WINDOW_S + WINDOW_S_BYTES, STACK + STACK_BYTES));
}

static void store_result(struct test_case *c, int signal_number, const ucontext_t *uc) {
  const greg_t *g = uc->uc_mcontext.gregs;
  uint16_t ds, es, fs, gs;
  __asm__ volatile("mov %%ds, %0; mov %%es, %1; mov %%fs, %2; mov %%gs, %3" : "=r"(ds), "=r"(es), "=r"(fs), "=r"(gs));
  for (int i = 0; i < 16; i++) c->gpr[i] = (uint64_t)g[greg_order[i]];
  c->rflags = (uint64_t)g[REG_EFL];
  c->rip = (uint64_t)g[REG_RIP];
  c->cr2 = (uint64_t)g[REG_CR2];
  c->signal = (uint32_t)signal_number;
  c->trap = (uint32_t)g[REG_TRAPNO];
  c->error = (uint32_t)g[REG_ERR];
  uint64_t csgsfs = (uint64_t)g[REG_CSGSFS];
  c->selectors[0] = es;
  c->selectors[1] = (uint16_t)csgsfs;
  c->selectors[2] = (uint16_t)(csgsfs >> 48);
  c->selectors[3] = ds;
  c->selectors[4] = fs;
  c->selectors[5] = gs;
  copy(c->fxsave, uc->uc_mcontext.fpregs, 464);
  const uint8_t *fp = (const uint8_t *)uc->uc_mcontext.fpregs;
  if (has_avx && (*(const uint64_t *)(fp + XSTATE_BV) & COMPONENT_AVX)) copy(c->uppers, fp + XSTATE_AVX, 256);
  else fill(c->uppers, 0, 256);
  copy(c->window_a, (void *)WINDOW_A, WINDOW_A_BYTES);
  copy(c->window_b, (void *)WINDOW_B, WINDOW_B_BYTES);
  copy(c->window_s, (void *)WINDOW_S, WINDOW_S_BYTES);
  c->strayed = clear_outside_of_windows();
  fill(code_alias + c->code_offset, 0xcc, code_room(c));
}

static void load_case(const struct test_case *c, ucontext_t *uc) {
  greg_t *g = uc->uc_mcontext.gregs;
  for (int i = 0; i < 16; i++) g[greg_order[i]] = (greg_t)c->gpr[i];
  g[REG_EFL] = (greg_t)((c->rflags & ~(uint64_t)TF) | ((c->options & OPTION_TRAP_FLAG) ? TF : 0));
  uint64_t cs = c->mode == 64 ? USER_CS : c->mode == 32 ? USER32_CS : LDT_CODE16;
  uint64_t ss = c->mode == 16 ? LDT_STACK16 : USER_DS;
  g[REG_RIP] = (greg_t)(c->mode == 16 ? c->code_offset : CODE + c->code_offset);
  g[REG_CSGSFS] = (greg_t)(cs | (ss << 48));
  uint8_t *fp = (uint8_t *)uc->uc_mcontext.fpregs;
  copy(fp, c->fxsave, 464);
  /* x87, SSE and AVX from memory, everything else initial */
  *(uint64_t *)(fp + XSTATE_BV) = has_avx ? 7 : 3;
  if (has_avx) copy(fp + XSTATE_AVX, c->uppers, 256);
  copy((void *)WINDOW_A, c->window_a, WINDOW_A_BYTES);
  copy((void *)WINDOW_B, c->window_b, WINDOW_B_BYTES);
  copy((void *)WINDOW_S, c->window_s, WINDOW_S_BYTES);
  copy(code_alias + c->code_offset, c->code, c->code_length < code_room(c) ? c->code_length : code_room(c));
  load_segments(c->mode);
}

static void handler(int signal_number, siginfo_t *info, void *context) {
  ucontext_t *uc = context;
  (void)info;
  /*
   * The kernel leaves AC, ID and NT as the case had them. The handler itself may access unaligned data, and sigreturn
   * does not restore ID and NT: the next case would begin with them.
   */
  __asm__ volatile("pushfq; andl $~0x244000, (%%rsp); popfq" ::: "memory", "cc");
  if (current >= 0) store_result(&cases[current], signal_number, uc);
  current++;
  header->done = (uint32_t)current;
  if ((uint32_t)current == count) leave(0);
  if (cases[current].mode == 16 && !has_ldt) leave(4);
  load_case(&cases[current], uc);
}

static void *map(uint64_t address, size_t bytes, int protection, int flags, int fd) {
  void *p = mmap((void *)address, bytes, protection, flags | MAP_POPULATE | (address ? MAP_FIXED_NOREPLACE : 0), fd, 0);
  if (p == MAP_FAILED) {
    perror("mmap");
    exit(2);
  }
  return p;
}

/* 16-bit segments whose bases are the pages, so that 16-bit offsets reach them. */
static void make_segments16(void) {
  struct user_desc d[3];
  memset(d, 0, sizeof d);
  const uint32_t bases[3] = {CODE, DATA, STACK};
  has_ldt = 1;
  for (unsigned i = 0; i < 3; i++) {
    d[i].entry_number = i;
    d[i].base_addr = bases[i];
    d[i].limit = 0xffff;
    d[i].contents = i == 0 ? MODIFY_LDT_CONTENTS_CODE : MODIFY_LDT_CONTENTS_DATA;
    d[i].useable = 1;
    if (syscall(SYS_modify_ldt, 1, &d[i], sizeof d[i]) != 0) has_ldt = 0;
  }
}

/* Family and model with their extensions (SDM Vol. 2, CPUID, leaf 1; APM Vol. 3, function 1). */
static int print_processor(void) {
  unsigned a, b, c, d;
  char vendor[13] = {0};
  if (!__get_cpuid(0, &a, &b, &c, &d)) return 2;
  memcpy(vendor, &b, 4);
  memcpy(vendor + 4, &d, 4);
  memcpy(vendor + 8, &c, 4);
  if (!__get_cpuid(1, &a, &b, &c, &d)) return 2;
  unsigned family = (a >> 8) & 15, model = (a >> 4) & 15;
  if (family == 6 || family == 15) model |= (a >> 12) & 0xf0;
  if (family == 15) family += (a >> 20) & 0xff;
  printf("%s %u %u\n", vendor, family, model);
  return 0;
}

int main(int argc, char **argv) {
  if (argc != 2) {
    fprintf(stderr, "usage: harness BATCH | --processor\n");
    return 2;
  }
  if (strcmp(argv[1], "--processor") == 0) return print_processor();
  has_avx = __builtin_cpu_supports("avx") != 0;
  has_fsgsbase = (getauxval(AT_HWCAP2) & 2) != 0;
  int fd = open(argv[1], O_RDWR);
  struct stat st;
  if (fd < 0 || fstat(fd, &st) != 0) {
    perror(argv[1]);
    return 2;
  }
  header = map(0, (size_t)st.st_size, PROT_READ | PROT_WRITE, MAP_SHARED, fd);
  cases = (struct test_case *)(header + 1);
  count = header->count;
  if ((uint64_t)st.st_size < sizeof *header + (uint64_t)count * sizeof *cases) {
    fprintf(stderr, "%s: truncated\n", argv[1]);
    return 2;
  }
  int code = memfd_create("code", 0);
  if (code < 0 || ftruncate(code, CODE_BYTES) != 0) {
    perror("memfd_create");
    return 2;
  }
  code_alias = map(0, CODE_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, code);
  memset(code_alias, 0xcc, CODE_BYTES);
  map(CODE, CODE_BYTES, PROT_READ | PROT_EXEC, MAP_SHARED, code);
  map(DATA, DATA_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1);
  uint8_t *read_only = map(READ_ONLY, 0x1000, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1);
  for (unsigned i = 0; i < 0x1000; i++) read_only[i] = (uint8_t)(i * 7 + 3);
  mprotect(read_only, 0x1000, PROT_READ);
  map(STACK, STACK_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1);
  make_segments16();

  static uint8_t alternate[1 << 16] __attribute__((aligned(4096)));
  memset(alternate, 0, sizeof alternate);
  stack_t ss = {.ss_sp = alternate, .ss_size = sizeof alternate};
  sigaltstack(&ss, NULL);
  struct sigaction action;
  memset(&action, 0, sizeof action);
  action.sa_sigaction = handler;
  action.sa_flags = SA_SIGINFO | SA_ONSTACK;
  const int signals[] = {SIGTRAP, SIGSEGV, SIGILL, SIGFPE, SIGBUS};
  for (unsigned i = 0; i < sizeof signals / sizeof *signals; i++) sigaction(signals[i], &action, NULL);
  alarm(60);
  __asm__ volatile("int3");
  return 3;
}
