# Supervisor-mode protections, control registers and their refusals in 64-bit mode (SDM Vol. 3A 2.5, 4.6, 4.10; Vol. 2 SYSENTER, XSETBV).
.include "lib64.s"

.set PAGE, 0x404000                  # a page of ring 3
.set PAGE0, 0x405000                 # a page of ring 0
.set LDT, 0x48                       # on the page of ring 3
.set SMEP, 1 << 20
.set SMAP, 1 << 21
.set UMIP, 1 << 11
.set PGE, 1 << 7
.set TSD, 1 << 2
.set OSXSAVE, 1 << 18

.macro set_cr4 bits
  movq %cr4, %rax
  orq $\bits, %rax
  movq %rax, %cr4
.endm
.macro clear_cr4 bits
  movq %cr4, %rax
  andq $~(\bits), %rax
  movq %rax, %cr4
.endm
# A write that is refused (or not) with `bits` set or cleared in a control register.
.macro try_cr name, register, set, clear
  begin_test \name
  movq %\register, %rax
  movabsq $\set, %rcx
  orq %rcx, %rax
  movabsq $~(\clear), %rcx
  andq %rcx, %rax
  movq %rax, %\register
  end_test
.endm
.macro try_msr name, number, low, high
  movl $\number, %ecx
  movl $\low, %eax
  movl $\high, %edx
  begin_test \name
  wrmsr
  end_test
.endm

.macro set_bases
  movl $DATA0, %eax
  movl %eax, %fs
  movl %eax, %gs
  movl $FSBASE, %ecx
  movl $base_data + USER, %eax
  xorl %edx, %edx
  wrmsr
  incl %ecx
  addl $8, %eax
  wrmsr
.endm
.macro show_base name, number
  movl $\number, %ecx
  rdmsr
  show \name %rax
.endm

main:
  orb $0x60, idt + 3 * 16 + 5        # INT3 from ring 3
  movq $FRAME + 7, TABLE + 32
  movq $FRAME + 0x1000 + 3, TABLE + 40
  movb $0xC3, PAGE
  call protection_tests
  call umip_tests
  call global_tests
  call refusal_tests
  call sysenter_tests
  call base_tests
  call syscall_step_tests
  call write_protect_tests
  ret

protection_tests:
  movl $PAGE, %ebx
  begin_test execute-user-page
  call *%rbx
  end_test
  set_cr4 SMEP
  begin_test smep
  call *%rbx
  end_test
  begin_test smep-read
  movq (%rbx), %rax
  end_test
  set_cr4 SMAP
  begin_test smap-read
  movq (%rbx), %rax
  end_test
  begin_test smap-write
  movq %rax, 8(%rbx)
  end_test
  begin_test smap-modify
  incq 8(%rbx)
  end_test
  stac
  begin_test smap-stac
  movq (%rbx), %rax
  movq %rax, 8(%rbx)
  incq PAGE0
  end_test
  begin_test smap-stac-execute
  call *%rbx
  end_test
  clac
  begin_test smap-clac
  movq (%rbx), %rax
  end_test
  pushfq
  orl $0x40000, (%rsp)
  popfq
  begin_test smap-popf
  movq (%rbx), %rax
  end_test
  clac
  # System structures are read as if AC were 0.
  movl $gdt, %esi
  movl $own_gdt, %edi
  movl $9, %ecx
  rep movsq
  lgdt own_gdt_pointer
  movw $LDT, %ax
  lldt %ax
  stac
  begin_test smap-implicit
  movl $4, %eax
  movl %eax, %ds
  end_test
  clac
  begin_test smap-supervisor-page
  movq PAGE0, %rax
  end_test
  ring3 smap-ring3, 1f
  clear_cr4 (SMEP | SMAP)
  begin_test no-smap
  movq (%rbx), %rax
  end_test
  ring3 stac-ring3, 2f
  ret
1: movq PAGE, %rax
  movq %rax, PAGE + 8
  int3
2: clac
  int3

umip_tests:
  ring3 sgdt, 1f
  ring3 smsw, 2f
  set_cr4 UMIP
  ring3 umip-sgdt, 1f
  ring3 umip-sidt, 3f
  ring3 umip-sldt, 4f
  ring3 umip-str, 5f
  ring3 umip-smsw, 2f
  begin_test umip-ring0
  sgdt gdt_saved
  smsw %eax
  end_test
  clear_cr4 UMIP
  ring3 rdtsc, 6f
  set_cr4 TSD
  ring3 rdtsc-tsd, 6f
  clear_cr4 TSD
  ring3 mov-cr0, 7f
  ring3 lgdt, 8f
  ring3 invlpg, 19f
  ring3 rdmsr, 10f
  ring3 hlt, 11f
  ret
1: sgdt STACK3 + USER - 64
  int3
2: smsw %eax
  int3
3: sidt STACK3 + USER - 64
  int3
4: sldt %eax
  int3
5: str %eax
  int3
6: rdtsc
  int3
7: movq %cr0, %rax
8: lgdt STACK3 + USER - 64
19: invlpg PAGE
10: rdmsr
11: hlt

# Page 6: first global, its frame changed behind the TLB's back.
global_tests:
  set_cr4 PGE
  movq $0x1111, FRAME + 0x2000
  movq $0x2222, FRAME + 0x3000
  movq $FRAME + 0x2000 + 0x103, TABLE + 48
  movq 0x406000, %rbx
  movq $FRAME + 0x3000 + 0x103, TABLE + 48
  movq %cr3, %rax
  movq %rax, %cr3
  movq 0x406000, %rbx
  show global-kept %rbx
  invlpg 0x406123
  movq 0x406000, %rbx
  show global-invlpg %rbx
  movq $FRAME + 0x2000 + 0x103, TABLE + 48
  clear_cr4 PGE
  movq 0x406000, %rbx
  show global-pge-off %rbx
  movq $FRAME + 0x3000 + 3, TABLE + 48
  movq %cr3, %rax
  movq %rax, %cr3
  movq 0x406000, %rbx
  show not-global %rbx
  # A 2 MiB page becomes another one: INVLPG of any address in it.
  movq $0x00A00087, DIRECTORY + 5 * 8
  movq $0x3333, 0xA01008
  movq $0x4444, 0xC01008
  invlpg 0xA00000
  movq 0xA01008, %rbx
  movq $0x00C00087, DIRECTORY + 5 * 8
  invlpg 0xBFF000
  movq 0xA01008, %rbx
  show large-invlpg %rbx
  ret

refusal_tests:
  try_cr cr8, cr8, 5, 0
  movq %cr8, %rax
  show cr8-value %rax
  try_cr cr8-zero, cr8, 0, 15
  begin_test cr1
  .byte 0x0F, 0x20, 0xC8
  end_test
  try_msr efer-reserved, 0xC0000080, 0x100D01, 0
  try_msr pat-type, 0x277, 2, 0
  try_msr pat, 0x277, 0x00070406, 0x00070406
  try_msr fs-base, 0xC0000100, 0, 0x12345678
  begin_test xgetbv-without-osxsave
  xorl %ecx, %ecx
  xgetbv
  end_test
  set_cr4 OSXSAVE
  begin_test xgetbv
  xorl %ecx, %ecx
  xgetbv
  end_test
  begin_test xgetbv-index
  movl $7, %ecx
  xgetbv
  end_test
  begin_test xsetbv-no-x87
  xorl %ecx, %ecx
  xorl %edx, %edx
  movl $2, %eax
  xsetbv
  end_test
  begin_test xsetbv
  xorl %ecx, %ecx
  xorl %edx, %edx
  movl $3, %eax
  xsetbv
  end_test
  ret

# Returns to ring 3 that take FS and GS away leave their bases alone; a load of a null selector does not.
.set FSBASE, 0xC0000100
.set GSBASE, 0xC0000101
base_tests:
  set_bases
  ring3 iret-keeps-bases, show_bases
  call report_bases
  set_bases
  begin_test retf-keeps-bases
  movq $retf_bases + USER, test_start
  pushq $DATA3
  pushq $STACK3 + USER
  pushq $CODE3
  pushq $retf_bases + USER
  lretq
  end_test
  call report_bases
  set_bases
  xorl %eax, %eax
  movl %eax, %fs
  movl %eax, %gs
  show_base null-fs-base, FSBASE
  show_base null-gs-base, GSBASE
  ret
# What ring 3 reads through FS and GS, and their selectors, in R12-R15.
show_bases:
retf_bases:
  movq %fs:4, %r12
  movq %gs:4, %r13
  movl %fs, %r14d
  movl %gs, %r15d
  int3
report_bases:
  show through-fs %r12
  show through-gs %r13
  show selector-fs %r14
  show selector-gs %r15
  ret

# CR0.WP guards a supervisor's writes to read-only pages, also to those that it could write just before; first one page, then more than
# a processor remembers. Then CR4.PGE forgets as many global translations.
.set WP, 1 << 16
.set MANY, 0x408                     # pages from 408000 on
.macro write_protect value
  movq %cr0, %rax
  btr $16, %rax
  orq $\value, %rax
  movq %rax, %cr0
.endm
write_protect_tests:
  movl $400, %r12d
  movl $FRAME + 0x2101, %r13d
  call map_many
  write_protect WP
  begin_test wp-one
  write_protect 0
  movl $1, MANY << 12
  write_protect WP
  movl $2, MANY << 12
  end_test
  movl MANY << 12, %ebx
  show wp-one-written %rbx
  write_protect 0
  call touch_many
  write_protect WP
  begin_test wp-many-first
  movl $3, MANY << 12
  end_test
  begin_test wp-many-last
  movl $3, (MANY + 399) << 12
  end_test
  begin_test wp-many-read
  movl (MANY + 399) << 12, %ebx
  end_test
  write_protect 0
  begin_test wp-off-again
  movl $5, (MANY + 399) << 12
  end_test
  set_cr4 PGE
  call touch_many
  movl $FRAME + 0x3103, %r13d
  call map_many
  movl $0x5555, FRAME + 0x3000
  clear_cr4 PGE
  movl MANY << 12, %ebx
  show pge-many-first %rbx
  movl (MANY + 399) << 12, %ebx
  show pge-many-last %rbx
  ret
# R12D entries of the table from MANY on become R13D.
map_many:
  leaq TABLE + 8 * (MANY - 0x400), %rdi
  movl %r12d, %ecx
1: movq %r13, (%rdi)
  addq $8, %rdi
  loop 1b
  ret
touch_many:
  movl $MANY << 12, %edi
  movl %r12d, %ecx
1: movl $4, (%rdi)
  movl (%rdi), %eax
  addl $0x1000, %edi
  loop 1b
  ret

# SYSCALL that masks TF is not stepped; SYSRET that sets it traps before the next instruction.
syscall_step_tests:
  try_msr star, 0xC0000081, 0, 0x00230008
  try_msr lstar, 0xC0000082, step_entry, 0
  try_msr sfmask, 0xC0000084, 0x100, 0
  ring3 sysret-traps, 1f
  ret
1: pushfq
  orl $0x100, (%rsp)
  popfq
  syscall
  nop
  hlt
step_entry:
  nop
  sysretq

sysenter_tests:
  try_msr sysenter-cs, 0x174, CODE0, 0
  try_msr sysenter-esp, 0x175, STACKE, 0
  try_msr sysenter-eip, 0x176, sysenter_entry, 0
  try_msr sysenter-eip-noncanonical, 0x176, 0, 0x12345678
  # SYSEXIT's code is CS + 32 = 28: make it a 64-bit ring-3 code segment's neighbour only in name; it is not read.
  ring3 sysenter, 1f
  xorl %eax, %eax
  xorl %edx, %edx
  movl $0x174, %ecx
  wrmsr
  ring3 sysenter-null, 1f
  begin_test sysexit-null
  sysexit
  end_test
  ret
1: movl $2f + USER, %r12d
  sysenter
2: movl %cs, %eax
  movl %ss, %ebx
  shll $16, %eax
  movw %bx, %ax
  cmpl $(0x2B << 16) | 0x33, %eax
  jne 3f
  int3
3: hlt

sysenter_entry:
  show sysenter-rsp %rsp
  movl %cs, %eax
  show sysenter-cs-selector %rax
  movl %ss, %eax
  show sysenter-ss-selector %rax
  pushfq
  popq %rax
  andl $0x20200, %eax
  show sysenter-flags %rax
  movl $STACK3 + USER, %ecx
  movl %r12d, %edx
  sysexitq

.data
.balign 8
base_data: .long 0, 0x11111111, 0x22222222, 0x33333333, 0x44444444
.balign 8
gdt_saved: .fill 10, 1, 0
.balign 8
own_gdt:
  .fill 9, 8, 0
  .quad 0x0000824040000007, 0        # 48
own_gdt_pointer:
  .word own_gdt_pointer - own_gdt - 1
  .quad own_gdt
