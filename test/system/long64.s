# 64-bit mode and compatibility mode: faults, canonical addresses, interrupt stack table, SYSCALL, SWAPGS, 4-level paging
# with NX, SMEP, SMAP (SDM Vol. 3A 4.5, 4.6, 5.8.8, 6.14).
.include "lib64.s"

main:
  movb $0xEE, idt + 3 * 16 + 5
  call simple_tests
  call canonical_tests
  call paging_tests
  call system_call_tests
  call compatibility_tests
  ret

simple_tests:
  begin_test divide
  xorl %ecx, %ecx
  divq %rcx
  end_test
  begin_test push-es
  .byte 0x06
  end_test
  begin_test aaa
  .byte 0x37
  end_test
  begin_test far-jump-immediate
  .byte 0xEA, 0, 0, 0, 0, 8, 0
  end_test
  begin_test two-lock
  .byte 0xF0, 0xF0, 0x48, 0x01, 0xD8
  end_test
  begin_test interrupt-stack-table
  movb $1, idt + 6 * 16 + 4
  ud2
  end_test
  movb $0, idt + 6 * 16 + 4
  begin_test unaligned-stack
  subq $5, %rsp
  ud2
  end_test
  begin_test null-ss-ring0
  xorl %eax, %eax
  movl %eax, %ss
  pushq %rax
  popq %rax
  ud2
  end_test
  begin_test int-gate-too-far
  int $32
  end_test
  begin_test load-ds-null
  xorl %eax, %eax
  movl %eax, %ds
  movl test_name, %eax
  end_test
  movl $DATA0, %eax
  movl %eax, %ds
  ret

canonical_tests:
  movabsq $0x0000800000000000, %rbx
  begin_test read-noncanonical
  movq (%rbx), %rax
  end_test
  begin_test across-canonical
  movq -4(%rbx), %rax
  end_test
  begin_test stack-noncanonical
  movq %rbx, %rbp
  movq (%rbp), %rax
  end_test
  begin_test jump-noncanonical
  jmp *%rbx
  end_test
  begin_test return-noncanonical
  pushq %rbx
  ret
  end_test
  begin_test iret-noncanonical
  pushq $DATA0
  pushq $STACKE
  pushq $2
  pushq $CODE0
  pushq %rbx
  iretq
  end_test
  begin_test msr-noncanonical
  movl $0xC0000101, %ecx
  xorl %eax, %eax
  movl $0x8000, %edx
  wrmsr
  end_test
  begin_test invlpg-noncanonical
  invlpg (%rbx)
  end_test
  ret

paging_tests:
  movq $FRAME + 3, TABLE
  movq $FRAME + 1, TABLE + 8
  movq $0, TABLE + 16
  movabsq $0x8000000000000000 + FRAME + 7, %rax
  movq %rax, TABLE + 24
  movq $FRAME + 7, TABLE + 32
  movabsq $0x0008000000000000 + FRAME + 7, %rax
  movq %rax, TABLE + 40
  begin_test read
  movq 0x400000, %rax
  end_test
  show accessed TABLE
  begin_test write
  movq %rax, 0x400000
  end_test
  show dirty TABLE
  begin_test write-read-only
  movq %rax, 0x401000
  end_test
  begin_test not-present
  movq %rax, 0x402000
  end_test
  begin_test no-execute
  movq $0x403000, %rax
  movq %rax, test_start
  jmp *%rax
  end_test
  begin_test reserved
  movq 0x405000, %rax
  end_test
  begin_test no-pml4-entry
  movabsq $0x0000010000000000, %rbx
  movq (%rbx), %rax
  end_test
  begin_test crossing
  movq 0x401FFC, %rax
  end_test
  # SMEP, SMAP
  movq %cr4, %rax
  btsq $20, %rax
  btsq $21, %rax
  movq %rax, %cr4
  begin_test smap-read
  movq 0x404000, %rax
  end_test
  begin_test smap-allowed
  stac
  movq 0x404000, %rax
  clac
  end_test
  begin_test smep
  movq $0x404000, %rax
  movq %rax, test_start
  jmp *%rax
  end_test
  movq %cr4, %rax
  btrq $20, %rax
  btrq $21, %rax
  movq %rax, %cr4
  ring3 user-supervisor, 1f
  ring3 user-no-execute, 2f
  ret
1: movq 0x400000, %rax
2: movq $0x403000, %rax
  movq %rax, test_start + USER
  jmp *%rax

system_call_tests:
  movl $0xC0000081, %ecx             # STAR: SYSCALL CS 08, SYSRET CS 23 + 16
  xorl %eax, %eax
  movl $(0x23 << 16) | CODE0, %edx
  wrmsr
  movl $0xC0000082, %ecx             # LSTAR
  movl $syscall_entry, %eax
  xorl %edx, %edx
  wrmsr
  movl $0xC0000084, %ecx             # SFMASK
  movl $0x4000, %eax
  wrmsr
  movl $0xC0000101, %ecx             # GS base, kernel GS base
  movl $0x1111, %eax
  xorl %edx, %edx
  wrmsr
  incl %ecx
  movl $0x2222, %eax
  wrmsr
  ring3 system-call, user_system_call
  movl $0xC0000101, %ecx
  rdmsr
  show gs-base %rax
  ring3 user-swapgs, 1f
  movl $0xC0000080, %ecx
  rdmsr
  andl $~1, %eax
  wrmsr
  ring3 system-call-disabled, 2f
  movl $0xC0000080, %ecx
  rdmsr
  orl $1, %eax
  wrmsr
  ret
1: swapgs
2: syscall

syscall_entry:
  swapgs
  movq %rsp, %r12
  movq $STACKE, %rsp
  show syscall-rsp %r12
  movq %rcx, %r13
  subq $user_system_call + USER, %r13
  show syscall-rcx %r13
  show syscall-r11 %r11
  movl %cs, %eax
  show syscall-cs %rax
  movl %ss, %eax
  show syscall-ss %rax
  pushfq
  popq %rax
  andl $0x4000, %eax
  show syscall-nt %rax
  movq %rcx, %r13
  movl $0xC0000101, %ecx
  rdmsr
  show syscall-gs %rax
  swapgs
  movq %r13, %rcx
  movq $0x4002, %r11             # IF stays 0: no timer interrupt of QEMU
  movq %r12, %rsp
  sysretq
user_system_call:
  pushfq
  orq $0x4000, (%rsp)
  popfq
  syscall
  movl %cs, %eax
  cmpl $CODE3, %eax
  jne 1f
  movl %ss, %eax
  cmpl $DATA3, %eax
  jne 1f
  int3
1: hlt

compatibility_tests:
  ring3 compatibility-int3, 1f, USER32
  ring3 compatibility-syscall-free, 2f, USER32
  ring3 compatibility-wrap, 3f, USER32
  ring3 compatibility-to-64, 4f, USER32
  ring3 compatibility-push, 5f, USER32
  begin_test compatibility-ring0
  ljmp *far_pointer
.code32
compatibility_entry:
  incl %eax
  .byte 0x40                         # INC EAX here, REX in 64-bit mode
  ljmp $CODE0, $compatibility_back
.code64
compatibility_back:
  end_test
  ret
.code32
1: int3
2: movl $0x12345678, %eax
  .byte 0x48, 0x40                   # DEC, INC
  cmpl $0x12345678, %eax
  jne 6f
  int3
3: movw $DATA3, %ax
  movw %ax, %ds
  movl $0xFFFFFFFF, %eax
  movl 0x300001(%eax), %eax          # linear 300000
  int3
4: ljmp $CODE3, $7f + USER
5: movl %esp, %eax
  pushl %ebx
  subl %esp, %eax
  cmpl $4, %eax
  jne 6f
  int3
6: hlt
.code64
7: movabsq $0x123456789ABCDEF0, %rax
  int3

.data
far_pointer:
  .long compatibility_entry
  .word CODE32
