# Single steps and breakpoints (SDM Vol. 3B 18.2, 18.3). Every #DB is one line:  name db EIP-offset DR6 FLAGS
# (pushed RF, NT, TF, VM). The handler sets RF in the frame, and ends single-stepping after `steps` traps.
.include "lib32.s"

.macro stepping count
  movl $\count, steps
  pushfl
  orl $0x100, (%esp)
  popfl
.endm
# Goes to ring 3, where UD2 ends the test: it is reported with the offset from the label.
.macro ring3 name, label, flags
  begin_test \name
  movl $\label, test_start
  pushl $DATA3
  pushl $STACK3
  pushl $\flags
  pushl $CODE3
  pushl $\label
  iret
  end_test
.endm
# Breakpoints: DR0-DR3 hold addresses set before; DR7 last.
.macro watch register, address, control
  movl $\address, %eax
  movl %eax, %dr\register
  movl $\control, %eax
  movl %eax, %dr7
.endm
.macro unwatch
  xorl %eax, %eax
  movl %eax, %dr7
.endm

main:
  movl $db_handler, %eax
  movw %ax, idt+8
  shrl $16, %eax
  movw %ax, idt+14
  movl $bp_handler, %eax
  movw %ax, idt+24
  shrl $16, %eax
  movw %ax, idt+30

  begin_test step-nops
  stepping 3
  nop
  nop
  nop
  nop
  end_test
  begin_test step-jump
  stepping 3
  jmp 1f
  nop
1: call 2f
2: popl %eax
  nop
  end_test
  # The trap after the POPF that ends it is still taken.
  begin_test step-popf-off
  stepping 9
  pushfl
  andl $~0x100, (%esp)
  popfl
  nop
  end_test
  # One trap after each iteration.
  begin_test step-rep
  movl $watched, %esi
  movl $watched + 16, %edi
  movl $3, %ecx
  stepping 4
  rep movsb
  nop
  nop
  end_test
  show step-rep-ecx %ecx
  # No trap between MOV SS and the end of the instruction after it.
  begin_test step-mov-ss
  movl %ss, %eax
  stepping 3
  movl %eax, %ss
  nop
  nop
  nop
  end_test
  begin_test step-pushf
  stepping 2
  pushfl
  popl %ebx
  nop
  end_test
  andl $0x100, %ebx
  show step-pushf-tf %ebx

  # Instruction breakpoints are faults; RF in the frame lets the instruction run.
  begin_test execute
  watch 0, 1f, 0x00000401
  movl $2, %ecx
1: incl %ebx
  decl %ecx
  jnz 1b
  end_test
  unwatch
  begin_test execute-disabled
  watch 0, 1f, 0x00000400
1: nop
  end_test
  begin_test execute-two
  movl $1f, %eax
  movl %eax, %dr2
  watch 0, 1f, 0x00000411
1: nop
  end_test
  unwatch
  # Not right behind MOV SS.
  begin_test execute-behind-mov-ss
  watch 0, 1f, 0x00000401
  movl %ss, %eax
  movl %eax, %ss
1: nop
  nop
  end_test
  unwatch

  # Data: traps behind the access. R/W1 = 01, LEN1 = 4 bytes.
  begin_test write
  watch 1, watched, 0x00D00404
  movl watched, %ebx
  movl %ebx, watched
  nop
  movb %bl, watched + 3
  nop
  movb %bl, watched + 4
  nop
  end_test
  begin_test write-across
  movl %ebx, watched - 3
  nop
  end_test
  # R/W2 = 11, LEN2 = 2 bytes.
  begin_test read-write
  watch 2, watched, 0x07000410
  movb watched + 1, %bl
  nop
  movb watched + 2, %bl
  incw watched
  nop
  end_test
  # A stack access, and a string that passes by.
  begin_test string-write
  watch 3, watched + 4, 0x10000440
  movl $watched, %edi
  movl $8, %ecx
  movb $0, %al
  rep stosb
  nop
  end_test
  unwatch
  show string-write-ecx %ecx
  begin_test push-write
  movl %esp, %eax
  subl $4, %eax
  movl %eax, %dr3
  movl $0xD0000440, %eax
  movl %eax, %dr7
  pushl %ebx
  nop
  popl %ebx
  unwatch
  end_test
  # MOV SS puts the trap of its own operand off.
  begin_test data-mov-ss
  mov %ss, watched
  watch 2, watched, 0x03000410
  mov watched, %ss
  nop
  nop
  end_test
  unwatch

  # B0-B3 tell of this #DB alone, BS stays (DR6 was 4002 before).
  begin_test dr6-kept
  movl $0x4002, %eax
  movl %eax, %dr6
  movl $1f, %eax
  movl %eax, %dr2
  movl $0x410, %eax
  movl %eax, %dr7
1: nop
  end_test
  unwatch
  begin_test dr6-single-step
  movl $0xF, %eax
  movl %eax, %dr6
  stepping 1
  nop
  end_test
  # INT1 is one #DB without a bit, also under TF and behind MOV SS; the single-step trap comes with the next instruction.
  begin_test icebp-step
  stepping 2
  .byte 0xF1
  nop
  nop
  end_test
  begin_test icebp-behind-mov-ss
  movl %ss, %eax
  stepping 2
  movl %eax, %ss
  .byte 0xF1
  nop
  nop
  end_test
  # A breakpoint of the MOV SS is told by the same #DB.
  begin_test icebp-behind-watched
  mov %ss, watched
  watch 2, watched, 0x03000410
  mov watched, %ss
  .byte 0xF1
  nop
  end_test
  unwatch
  # The same in ring 3.
  movl $DATA3, %eax
  movl %eax, %ds
  movl $2, steps
  ring3 user-icebp-step, 1f, 0x102
  movl $DATA3, %eax
  movl %eax, %ds
  movl $2, steps
  ring3 user-icebp-behind-mov-ss, 2f, 0x102
  movl $DATA3, watched
  watch 2, watched, 0x03000410
  movl $DATA3, %eax
  movl %eax, %ds
  ring3 user-icebp-behind-watched, 3f, 2
  unwatch
  jmp 4f
1: .byte 0xF1
  nop
  ud2
2: movl %eax, %ss
  .byte 0xF1
  nop
  ud2
3: mov watched, %ss
  .byte 0xF1
  nop
  ud2
4:
  # INT n clears TF on its way: no trap in the handler, nor before the instruction behind it.
  begin_test int3-step
  stepping 2
  int3
  nop
  nop
  end_test
  # Behind a MOV SS whose breakpoint was met INT3 comes first, then #DB before the handler's first instruction.
  begin_test int3-behind-watched
  movl $bp_handler, test_start
  mov %ss, watched
  watch 2, watched, 0x03000410
  mov watched, %ss
  int3
  nop
  end_test
  unwatch

  # I/O breakpoints need CR4.DE; DR4 is DR6 without it and #UD with it.
  begin_test dr4-alias
  movl %dr4, %ebx
  end_test
  show dr4 %ebx
  movl %cr4, %eax
  orl $8, %eax
  movl %eax, %cr4
  begin_test dr4-undefined
  movl %dr4, %ebx
  end_test
  begin_test io
  watch 3, 0x80, 0x20000440
  outb %al, $0x81
  nop
  outb %al, $0x80
  nop
  end_test
  unwatch

  # Fixed bits.
  movl %eax, %dr6
  movl %dr6, %eax
  show dr6-zero %eax
  movl %dr7, %eax
  show dr7-zero %eax
  movl $0xFFFFFFFF, %eax
  movl %eax, %dr6
  movl %dr6, %eax
  show dr6-ones %eax
  # All but GD.
  movl $0xFFFFDF00, %eax
  movl %eax, %dr7
  movl %dr7, %eax
  show dr7-ones %eax
  unwatch
  ret

bp_handler:
  nop
  iret

db_handler:
  pushal
  movl test_name, %esi
  call print
  movl $text_db, %esi
  call print
  movl 32(%esp), %eax
  subl test_start, %eax
  call hex4
  movb $' ', %al
  call put
  movl %dr6, %eax
  call hex8
  movb $' ', %al
  call put
  movl 40(%esp), %eax
  andl $0x34100, %eax
  call hex8
  call newline
  movl $0xFFFF0FF0, %eax
  movl %eax, %dr6
  orl $0x10000, 40(%esp)
  decl steps
  jnz 1f
  andl $~0x100, 40(%esp)
1: popal
  iret

.section .rodata
text_db: .asciz "db "
.data
steps: .long 0
.balign 16
  .fill 16, 1, 0
watched: .fill 64, 1, 0
