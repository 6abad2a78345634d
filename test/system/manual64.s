# What the manual asks for in 64-bit mode and QEMU's TCG does not do. Not run in QEMU.
.include "lib64.s"

main:
  begin_test rex-before-prefix
  # The REX is dead: MOV of 16 bits.
  movq $-1, %rax
  .byte 0x48, 0x66, 0xB8, 0x34, 0x12
  end_test
  show stale-rex %rax
  begin_test reserved-cr8
  movl $16, %eax
  movq %rax, %cr8
  end_test
  begin_test cr0-upper-half
  movq %cr0, %rax
  btsq $32, %rax
  movq %rax, %cr0
  end_test
  begin_test cr4-reserved
  movq %cr4, %rax
  btsq $39, %rax
  movq %rax, %cr4
  end_test
  begin_test cr3-reserved
  movq %cr3, %rax
  btsq $62, %rax
  movq %rax, %cr3
  end_test
  begin_test cr0-nw-without-cd
  movq %cr0, %rax
  btsq $29, %rax
  btrq $30, %rax
  movq %rax, %cr0
  end_test
  begin_test paging-off
  movq %cr0, %rax
  btrq $31, %rax
  movq %rax, %cr0
  end_test
  begin_test pae-off
  movq %cr4, %rax
  btrq $5, %rax
  movq %rax, %cr4
  end_test
  begin_test lme-off
  movl $0xC0000080, %ecx
  rdmsr
  btrl $8, %eax
  wrmsr
  end_test
  ret
