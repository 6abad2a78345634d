# Micro benchmarks: the same loops for 32-bit protected mode without paging and for 64-bit mode.
#
#   as --32 --defsym BITS=32 -o b.o bench.s && ld -m elf_i386   -Ttext 0x100000 --oformat binary -o bench32.bin b.o
#   as --64 --defsym BITS=64 -o b.o bench.s && ld -m elf_x86_64 -Ttext 0x100000 --oformat binary -o bench64.bin b.o
#
# A flat multiboot 1 image (Multiboot Specification 0.6.96, "address fields"), so that our machine, v86 and QEMU
# (-kernel) load the same file. Port 0xE9 (isa-debugcon) tells what happens, one byte at a time:
#   'a'+n           benchmark n begins
#   'A'+n, 4 bytes  benchmark n has ended; a checksum of its results, low byte first
#   '.'             all done; then 0 goes to port 0xF4 (isa-debug-exit) and the processor halts
# The host takes the time at these bytes: the guest has no clock of its own.

.ifndef SCALE
SCALE = 1                           # the loops run SCALE/DIVISOR times their full length
.endif
.ifndef DIVISOR
DIVISOR = 1
.endif

.if BITS == 64
ax = %rax
bx = %rbx
cx = %rcx
dx = %rdx
si = %rsi
di = %rdi
bp = %rbp
sp = %rsp
.else
ax = %eax
bx = %ebx
cx = %ecx
dx = %edx
si = %esi
di = %edi
bp = %ebp
sp = %esp
.endif

.text
.globl _start
_start:
.code32
  jmp start32

.balign 4
header:
  .long 0x1BADB002, 0x00010000, -(0x1BADB002 + 0x00010000)
  .long header, _start, 0, 0, start32   # header, load, load end (whole file), bss end, entry

start32:
  cld
  movl $stack_top, %esp
  movl %cr0, %eax
  andl $~0x4, %eax                  # EM
  orl $0x22, %eax                   # MP, NE
  movl %eax, %cr0
  movl %cr4, %eax
  orl $0x600, %eax                  # OSFXSR, OSXMMEXCPT
  movl %eax, %cr4
  fninit
.if BITS == 64
  # Identity mapping of the first gigabyte with 2 MiB pages.
  movl $page_tables, %edi
  movl $page_tables + 0x1003, %eax
  movl %eax, (%edi)
  movl $page_tables + 0x2003, %eax
  movl %eax, 0x1000(%edi)
  movl $0x83, %eax
  xorl %ecx, %ecx
1: movl %eax, 0x2000(%edi,%ecx,8)
  addl $0x200000, %eax
  incl %ecx
  cmpl $512, %ecx
  jne 1b
  movl %edi, %cr3
  movl %cr4, %eax
  orl $0x20, %eax                   # PAE
  movl %eax, %cr4
  movl $0xC0000080, %ecx
  rdmsr
  orl $0x100, %eax                  # EFER.LME
  wrmsr
  movl %cr0, %eax
  orl $0x80000000, %eax
  movl %eax, %cr0
  lgdtl gdt_pointer
  ljmpl $8, $start64
.code64
start64:
  movl $16, %eax
  movl %eax, %ds
  movl %eax, %es
  movl %eax, %ss
  movl $stack_top, %esp
.endif
  call main
  xorl %eax, %eax
  outb %al, $0xF4
1: cli
  hlt
  jmp 1b

# al to the debug port.
.macro say
  outb %al, $0xE9
.endm

.macro bench number, function
  movb $'a' + \number, %al
  say
  call \function
  movl %eax, %ebx
  movb $'A' + \number, %al
  say
  .rept 4
  movb %bl, %al
  say
  shrl $8, %ebx
  .endr
.endm

main:
  bench 0, alu
  bench 1, memory
  bench 2, branches
  bench 3, calls
  bench 4, strings
  bench 5, sse2
  bench 6, x87
  movb $'.', %al
  say
  ret

# Register arithmetic, logic, shifts, multiplication, carries: 12 instructions a turn.
alu:
  movl $8000000 * SCALE / DIVISOR, %ecx
  movl $0x12345678, %eax
  movl $0x9E3779B9, %ebx
  movl $1, %edx
.balign 16
1: addl %ebx, %eax
  xorl %edx, %eax
  roll $5, %eax
  leal 7(bx,dx,2), %esi
  subl %esi, %edx
  imull $13, %eax, %edi
  andl $0x7FFFFFFF, %edi
  adcl %edi, %ebx
  shrl $3, %esi
  orl %esi, %edx
  decl %ecx
  jnz 1b
  xorl %ebx, %eax
  xorl %edx, %eax
  ret

# Loads and stores over 64 KiB: 7 instructions a turn.
memory:
  movl $buffer, %edi
  movl $14000000 * SCALE / DIVISOR, %ecx
  xorl %eax, %eax
  xorl %edx, %edx
.balign 16
1: movl (di,dx,4), %ebx
  addl %ecx, %ebx
  addl %ebx, %eax
  movl %ebx, 65536(di,dx,4)
  addl %eax, (di,dx,4)
  leal 37(dx), %edx
  andl $0x3FFF, %edx
  decl %ecx
  jnz 1b
  ret

# Conditional jumps on a pseudo-random sequence: about 11 instructions a turn.
branches:
  movl $9000000 * SCALE / DIVISOR, %ecx
  movl $12345, %eax
  xorl %edx, %edx
.balign 16
1: imull $1664525, %eax, %eax
  addl $1013904223, %eax
  testl $0x10000000, %eax
  jz 2f
  incl %edx
  testl $0x20000000, %eax
  jnz 3f
  addl $3, %edx
  jmp 3f
2: cmpl $0x40000000, %eax
  jb 4f
  subl $5, %edx
  jmp 3f
4: xorl $0x55, %edx
3: decl %ecx
  jnz 1b
  movl %edx, %eax
  ret

# Calls three deep with a stack frame: 19 instructions a turn.
calls:
  movl $5000000 * SCALE / DIVISOR, %ecx
  movl $1, %eax
.balign 16
1: push cx
  call 2f
  pop cx
  decl %ecx
  jnz 1b
  ret
.balign 16
2: push bp
  mov sp, bp
  addl %ecx, %eax
  call 3f
  call 3f
  pop bp
  ret
.balign 16
3: push bx
  movl %eax, %ebx
  leal 1(ax,bx,2), %eax
  pop bx
  ret

# String instructions: copies and fills of 1 KiB, short copies, a byte loop.
strings:
  movl $1000000 * SCALE / DIVISOR, %ebp
  xorl %ebx, %ebx
.balign 16
1: movl $buffer, %esi
  movl $buffer + 65536, %edi
  movl $256, %ecx
  rep movsl
  movl $128, %ecx
  movl %ebp, %eax
  rep stosl
  movl $buffer + 65536 + 100, %esi
  movl $7, %ecx
  rep movsb
  movl $16, %ecx
2: lodsb
  addl %eax, %ebx
  stosb
  decl %ecx
  jnz 2b
  movl $buffer + 65536, %edi
  movl $200, %ecx
  movb $0xEE, %al
  repne scasb
  addl %ecx, %ebx
  decl %ebp
  jnz 1b
  movl %ebx, %eax
  ret

# Packed and scalar SSE2: 12 instructions a turn.
sse2:
  movl $4000000 * SCALE / DIVISOR, %ecx
  movl $vectors, %esi
  movapd (si), %xmm0
  movapd 16(si), %xmm1
  movdqa 32(si), %xmm2
  movdqa %xmm2, %xmm3
  xorpd %xmm5, %xmm5
.balign 16
1: mulpd %xmm1, %xmm0
  addpd 48(si), %xmm0
  paddd %xmm2, %xmm3
  pshufd $0x39, %xmm3, %xmm4
  pxor %xmm4, %xmm3
  cvtdq2ps %xmm3, %xmm6
  movaps %xmm6, 64(si)
  mulsd %xmm1, %xmm5
  addsd %xmm0, %xmm5
  movdqu 60(si), %xmm7
  decl %ecx
  jnz 1b
  movapd %xmm5, 64(si)
  movl 64(si), %eax
  xorl 68(si), %eax
  movd %xmm3, %edx
  xorl %edx, %eax
  ret

# x87 with memory operands and stack operations: 11 instructions a turn.
x87:
  movl $3000000 * SCALE / DIVISOR, %ecx
  movl $vectors, %esi
  fldz
  fldl 16(si)
.balign 16
1: fldl (si)
  fmul %st(1), %st
  faddp %st, %st(2)
  fld %st(1)
  fsubl 48(si)
  fabs
  fstpl 64(si)
  fxch %st(1)
  fxch %st(1)
  decl %ecx
  jnz 1b
  fstp %st(0)
  fstpl 72(si)
  movl 64(si), %eax
  xorl 76(si), %eax
  ret

.balign 8
gdt:
  .quad 0, 0x00AF9A000000FFFF, 0x00CF92000000FFFF
gdt_pointer:
  .word 23
  .long gdt
.balign 16
vectors:
  .double 1.25, 0.75, 0.99951171875, 0.9990234375
  .long 1, 3, 5, 7
  .double 0.015625, 0.03125
  .fill 64, 1, 0

.set end, .
buffer = 0x200000                    # 128 KiB, never initialised: zero in a fresh machine
page_tables = 0x300000
stack_top = 0x400000
