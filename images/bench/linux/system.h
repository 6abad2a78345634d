/* Linux system calls without a C library, for i386 (int 0x80) and x86-64 (syscall). */
#ifdef __x86_64__
enum { sys_read = 0, sys_write = 1, sys_open = 2, sys_exit = 60, sys_fork = 57, sys_execve = 59, sys_wait4 = 61, sys_getppid = 110 };
static long system_call(long number, long a, long b, long c, long d) {
  register long fourth __asm__("r10") = d;
  __asm__ volatile("syscall" : "+a"(number) : "D"(a), "S"(b), "d"(c), "r"(fourth) : "rcx", "r11", "memory");
  return number;
}
#else
enum { sys_read = 3, sys_write = 4, sys_open = 5, sys_exit = 1, sys_fork = 2, sys_execve = 11, sys_wait4 = 114, sys_getppid = 64 };
static long system_call(long number, long a, long b, long c, long d) {
  __asm__ volatile("int $0x80" : "+a"(number) : "b"(a), "c"(b), "d"(c), "S"(d) : "memory");
  return number;
}
#endif

static int program(int count);

/** The number on the command line goes to program(). */
__attribute__((used)) static void start(char **stack) {
  int count = 0;
  for (char *digit = stack[2]; digit && *digit; digit++) count = count * 10 + *digit - '0';
  system_call(sys_exit, program(count), 0, 0, 0);
}

#ifdef __x86_64__
__asm__(".globl _start\n_start: mov %rsp, %rdi\n and $-16, %rsp\n call start\n");
#else
__asm__(".globl _start\n_start: mov %esp, %eax\n and $-16, %esp\n sub $12, %esp\n push %eax\n call start\n");
#endif
