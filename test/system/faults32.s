# Exceptions of 32-bit protected mode in ring 0 and on the way into ring 3: vector, error code, pushed EIP, DR6 (SDM
# Vol. 3A chapter 6.15). What depends on segment limits is in limits32.s, as QEMU's TCG does not check those.
.include "lib32.s"

main:
  begin_test divide
  xorl %edx, %edx
  movl $5, %eax
  xorl %ecx, %ecx
  divl %ecx
  end_test

  begin_test divide-overflow
  movl $5, %edx
  movl $2, %ecx
  divl %ecx
  end_test

  begin_test aam-zero
  aam $0
  end_test

  # Single step: the trap comes behind the instruction after POPF.
  begin_test single-step
  pushfl
  orl $0x100, (%esp)
  popfl
  nop
  nop
  end_test

  # INT1 leaves DR6 alone; the pushed EIP is behind it.
  movl $0xFFFF0FF0, %eax
  movl %eax, %dr6
  begin_test icebp
  .byte 0xF1
  end_test

  begin_test int3
  int3
  end_test

  begin_test into
  movb $0x7F, %al
  addb $1, %al
  into
  end_test

  begin_test into-clear
  xorl %eax, %eax
  into
  end_test

  begin_test bound
  movl $11, %eax
  boundl %eax, bound_pair
  end_test

  begin_test bound-inside
  movl $10, %eax
  boundl %eax, bound_pair
  end_test

  begin_test ud2
  nop
  ud2
  end_test

  begin_test lock-on-register
  .byte 0xF0, 0x01, 0xD8
  end_test

  begin_test lock-on-load
  .byte 0xF0, 0x8B, 0x03
  end_test

  begin_test too-long
  .byte 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x90
  end_test

  begin_test longest
  .byte 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x90
  end_test

  # CR0.TS: x87 gives #NM; WAIT too, as MP is set.
  movl %cr0, %eax
  orl $8, %eax
  movl %eax, %cr0
  begin_test x87-not-available
  fnop
  end_test
  begin_test wait-not-available
  fwait
  end_test
  begin_test mmx-not-available
  .byte 0x0F, 0x77
  end_test
  clts
  begin_test x87-available
  fninit
  fwait
  end_test
  # SSE without CR4.OSFXSR.
  begin_test sse-disabled
  xorps %xmm0, %xmm0
  end_test

  # Interrupts: vector 32 is beyond the limit of the IDT: #GP(vector * 8 + 2).
  begin_test int-beyond-idt
  int $32
  end_test
  # No gate there: the descriptor is all zero.
  movl $64 * 8 - 1, %eax
  movw %ax, idt_pointer
  lidt idt_pointer
  begin_test int-empty-gate
  int $33
  end_test
  # A gate that is not present: #NP.
  movl $34 * 8, %ebx
  movl $(CODE0 << 16) | 0x1234, idt(%ebx)
  movl $0x00100E00, idt+4(%ebx)
  begin_test int-not-present
  int $34
  end_test

  # Segment loads.
  begin_test ds-beyond-gdt
  movw $0xFFF8, %ax
  movw %ax, %ds
  end_test
  begin_test ds-ldt-without-ldt
  movw $0x000C, %ax
  movw %ax, %ds
  end_test
  begin_test ss-null
  xorl %eax, %eax
  movw %ax, %ss
  end_test
  begin_test ss-ring3-selector
  movw $DATA3, %ax
  movw %ax, %ss
  end_test
  begin_test ss-code
  movw $CODE0, %ax
  movw %ax, %ss
  end_test
  # 30: data, not present. 38: execute-only code. 40: read-only data. 48: stack, not present
  movl $0x0000FFFF, gdt_own
  movl $0x00CF1200, gdt_own+4
  movl $0x0000FFFF, gdt_own+8
  movl $0x00CF9800, gdt_own+12
  movl $0x0000FFFF, gdt_own+16
  movl $0x00CF9000, gdt_own+20
  begin_test ds-not-present
  movw $0x30, %ax
  movw %ax, %ds
  end_test
  begin_test ss-not-present
  movw $0x30, %ax
  movw %ax, %ss
  end_test
  begin_test ds-execute-only
  movw $0x38, %ax
  movw %ax, %ds
  end_test
  begin_test ss-read-only
  movw $0x40, %ax
  movw %ax, %ss
  end_test
  begin_test write-read-only
  movw $0x40, %ax
  movw %ax, %es
  movl %es:scratch, %ebx
  movl %ebx, %es:scratch
  end_test
  begin_test write-code
  movl %ebx, %cs:scratch
  end_test
  begin_test es-null-access
  xorl %eax, %eax
  movw %ax, %es
  movl %es:scratch, %ebx
  end_test
  movl %esp, stack_pointer
  begin_test lss
  lssl stack_pointer, %esp
  end_test
  show accessed-bits gdt+0x14

  # Far transfers.
  begin_test far-jump-null
  ljmp $0, $0
  end_test
  begin_test far-jump-data
  ljmp $DATA0, $0
  end_test
  begin_test far-jump-ring3
  ljmp $CODE3, $0
  end_test
  begin_test far-jump-not-present
  movl $0x00CF1A00, gdt_own+4
  ljmp $0x30, $0
  end_test
  begin_test lldt-data
  movw $DATA0, %ax
  lldt %ax
  end_test
  begin_test ltr-busy
  movw $TSS0, %ax
  ltr %ax
  end_test
  begin_test cr1
  movl %cr1, %eax
  end_test
  begin_test unknown-msr
  movl $0x12345678, %ecx
  rdmsr
  end_test
  begin_test mov-to-cs
  .byte 0x8E, 0xC8
  end_test

  # Ring 3.
  call ring3_tests
  ret

# Runs the code at `label` in ring 3; the exception that ends it reports.
.macro ring3 name, label
  begin_test \name
  movl $\label, test_start
  pushl $DATA3
  pushl $STACK3
  pushl $2
  pushl $CODE3
  pushl $\label
  iret
  end_test
.endm

ring3_tests:
  ring3 ring3-hlt, 1f
  ring3 ring3-cli, 2f
  ring3 ring3-out-denied, 3f
  ring3 ring3-out-allowed, 4f
  ring3 ring3-lgdt, 5f
  ring3 ring3-cr0, 6f
  ring3 ring3-int-gate-dpl0, 7f
  movb $0xEE, idt + 3 * 8 + 5
  ring3 ring3-int3-gate-dpl3, 8f
  ring3 ring3-ds-ring0, 10f
  ring3 ring3-rdmsr, 11f
  ring3 ring3-single-step, 12f
  ring3 ring3-popf-keeps-if, 13f
  movl %cr0, %eax
  orl $0x40000, %eax
  movl %eax, %cr0
  ring3 ring3-alignment, 14f
  ret
1: hlt
2: nop
  cli
3: movw $0x80, %dx
  outb %al, %dx
4: nop
  movw $DATA3, %ax
  movw %ax, %ds
  movl $42, scratch
  int3
5: lgdt gdt_pointer
6: movl %cr0, %eax
7: int $0x21
8: int3
10: movw $DATA0, %ax
  movw %ax, %ds
11: rdmsr
12: pushfl
  orl $0x100, (%esp)
  popfl
  nop
13: pushfl
  orl $0x200, (%esp)
  popfl
  pushfl
  popl %eax
  testl $0x200, %eax
  jz 1f
  ud2
1: int3
14: movw $DATA3, %ax
  movw %ax, %ds
  pushfl
  orl $0x40000, (%esp)
  popfl
  movl scratch, %eax
  movl scratch+1, %eax
  int3

.data
.balign 4
bound_pair: .long 1, 10
scratch: .long 0x11223344, 0x55667788
stack_pointer:
  .long 0
  .word DATA0
