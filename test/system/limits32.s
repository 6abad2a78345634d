# What the manual asks for in 32-bit protected mode and QEMU's TCG does not do: limits, stack faults, reserved bits,
# alignment (SDM Vol. 3A 5.3, 6.15). Not run in QEMU.
.include "lib32.s"

# limit in bytes - 1 (below 64 KiB), base `window`
.macro descriptor slot, low, high
  movl $\low, gdt_own + 8 * \slot
  movl $\high, gdt_own + 8 * \slot + 4
.endm

# Runs `label` in ring 3 with SS 53 and `esp`.
.macro stack_test name, esp, label
  begin_test \name
  movl $\label, test_start
  pushl $0x53
  pushl $\esp
  pushl $2
  pushl $CODE3
  pushl $\label
  iret
  end_test
.endm

main:
  # 30: data, base 0, limit 0xFFF. 38: expand-down data, base 0, limit 0xFFF, B=1. 40: expand-down, B=0.
  # 48: data, limit in pages: 0 → 0xFFF. 50: ring-3 stack, base 0x170000, limit 0xFFF
  descriptor 0, 0x00000FFF, 0x00409200
  descriptor 1, 0x00000FFF, 0x00409600
  descriptor 2, 0x00000FFF, 0x00009600
  descriptor 3, 0x00000000, 0x00C09200
  descriptor 4, 0x00000FFF, 0x0040F217


  movw $0x30, %ax
  movw %ax, %es
  begin_test byte-at-limit
  movb %es:0xFFF, %bl
  end_test
  movw $0x30, %ax
  movw %ax, %es
  begin_test byte-beyond-limit
  movb %es:0x1000, %bl
  end_test
  movw $0x30, %ax
  movw %ax, %es
  begin_test dword-at-limit
  movl %es:0xFFC, %ebx
  end_test
  movw $0x30, %ax
  movw %ax, %es
  begin_test dword-across-limit
  movl %es:0xFFD, %ebx
  end_test
  movw $0x30, %ax
  movw %ax, %es
  begin_test dword-wraps
  movl %es:0xFFFFFFFE, %ebx
  end_test
  movw $0x30, %ax
  movw %ax, %es
  begin_test write-across-limit
  movl %ebx, %es:0xFFE
  end_test
  movw $0x30, %ax
  movw %ax, %es
  begin_test string-beyond-limit
  movl $0xFFE, %edi
  movl $4, %ecx
  movb $0, %al
  rep stosb
  end_test
  show edi-after-string %edi
  show ecx-after-string %ecx
  movw $0x38, %ax
  movw %ax, %es
  begin_test expand-down-below
  movb %es:0xFFF, %bl
  end_test
  movw $0x38, %ax
  movw %ax, %es
  begin_test expand-down-first
  movb %es:0x1000, %bl
  end_test
  movw $0x38, %ax
  movw %ax, %es
  begin_test expand-down-32-high
  movb %es:0x180000, %bl
  end_test
  movw $0x40, %ax
  movw %ax, %es
  begin_test expand-down-16-inside
  movb %es:0xFFFF, %bl
  end_test
  movw $0x40, %ax
  movw %ax, %es
  begin_test expand-down-16-above
  movb %es:0x10000, %bl
  end_test
  movw $0x40, %ax
  movw %ax, %es
  begin_test expand-down-16-across
  movw %es:0xFFFF, %bx
  end_test
  movw $0x48, %ax
  movw %ax, %es
  begin_test granular-at-limit
  movb %es:0xFFF, %bl
  end_test
  movw $0x48, %ax
  movw %ax, %es
  begin_test granular-beyond
  movb %es:0x1000, %bl
  end_test

  # The stack segment, in ring 3 (in ring 0 the exception would find no stack either): #SS.
  stack_test stack-limit-push, 0x2000, 1f
  stack_test stack-limit-pop, 0xFFE, 2f
  stack_test stack-limit-operand, 0x800, 3f
  stack_test stack-limit-call, 0x1004, 4f
  stack_test stack-limit-enter, 0x1008, 5f
  stack_test stack-limit-pushal, 0x10, 6f
  stack_test stack-last-dword, 0x1000, 7f
  jmp 8f
1: pushl %eax
2: popl %eax
3: movl $0xFFD, %ebp
  movl (%ebp), %eax
4: call 4b
5: enter $16, $0
6: pushal
7: pushl %eax
  popl %eax
  hlt
8:

  # ENTER with 32-bit operands on a 16-bit stack (60): EBP gets the whole ESP after the push, of which only SP moved.
  descriptor 6, 0x0000FFFF, 0x00009200
  begin_test enter-16-bit-stack
  movl %esp, %esi
  movl $0x60, %eax
  movl %eax, %ss
  movl $0x10000, %esp
  movl $0x5FFF0, %ebp
  .byte 0xC8, 0x08, 0x00, 0x00         # ENTER 8, 0
  movl %esp, %ecx
  movl %ebp, %edx
  movl $DATA0, %eax
  movl %eax, %ss
  movl %esi, %esp
  end_test
  show enter-ebp %edx
  show enter-esp %ecx
  # With nesting: the frame pointer that is pushed last is the same whole value.
  begin_test enter-16-bit-nested
  movl %esp, %esi
  movl $0x60, %eax
  movl %eax, %ss
  movl $0x50000, %esp
  movl $0x5FFF0, %ebp
  enter $8, $1
  movl %esp, %ecx
  movl %ebp, %edx
  movl %ss:0xFFF8, %ebx
  movl $DATA0, %eax
  movl %eax, %ss
  movl %esi, %esp
  end_test
  show enter-nested-ebp %edx
  show enter-nested-esp %ecx
  show enter-nested-pushed %ebx

  # ARPL writes only a selector that it changes: in a read-only segment (68, based on 8000) it faults only then.
  descriptor 7, 0x8000FFFF, 0x00409000
  movl $0x68, %eax
  movl %eax, %fs
  movw $0xFFF2, 0x8000
  begin_test arpl-unchanged
  movw $2, %bx
  .byte 0x64, 0x63, 0x1D, 0, 0, 0, 0   # ARPL FS:[0], BX
  setz %cl
  end_test
  movzbl %cl, %ecx
  show arpl-unchanged-zf %ecx
  begin_test arpl-raised
  movw $3, %bx
  .byte 0x64, 0x63, 0x1D, 0, 0, 0, 0
  end_test

  # The code segment: 58 has limit 0xFFF.
  descriptor 5, 0x00000FFF, 0x00509A00
  begin_test jump-beyond-code-limit
  ljmp $0x58, $0x101000
  end_test

  # GDT limit: the last descriptor is only partly inside.
  begin_test gdt-limit
  movw gdt_pointer, %bx
  movw $0x2E, gdt_pointer
  lgdt gdt_pointer
  movw $0x28, %ax
  lsl %ax, %ecx
  jz 1f
  movw %bx, gdt_pointer
  lgdt gdt_pointer
  movw $0x28, %ax
  lsl %ax, %ecx
  jnz 1f
  int3
1: ud2
  end_test

  begin_test reserved-cr4
  movl $0x80000000, %eax
  movl %eax, %cr4
  end_test
  begin_test paging-without-protection
  movl $0x80000010, %eax
  movl %eax, %cr0
  end_test
  begin_test nw-without-cd
  movl %cr0, %eax
  andl $~0x40000000, %eax
  orl $0x20000000, %eax
  movl %eax, %cr0
  end_test
  begin_test efer-reserved
  movl $0xC0000080, %ecx
  movl $0x00020000, %eax
  xorl %edx, %edx
  wrmsr
  end_test
  # General detect: DR7.GD, DR6.BD.
  movl $0xFFFF0FF0, %eax
  movl %eax, %dr6
  begin_test general-detect
  movl $0x2400, %eax
  movl %eax, %dr7
  movl %dr0, %ebx
  end_test
  ret
