# Gates and tasks of 32-bit protected mode: call gates with a change of privilege, interrupt and trap gates, far returns,
# task switches by JMP, CALL, IRET and task gates, virtual-8086 mode (SDM Vol. 3A 5.8, 6.12, chapter 7, 20.2).
.include "lib32.s"

.set GATE, 0x30                      # 30: call gate to ring 0, two parameters, DPL 3
.set GATE_NP, 0x38                   # 38: the same, not present
.set TASK, 0x40                      # 40: a second TSS
.set TASKGATE, 0x48                  # 48: task gate to it, DPL 3
.set CONFORMING, 0x50                # 50: conforming ring-0 code
.set LDT, 0x58                       # 58: an LDT
.set TASK16, 0x60                    # 60: a 286 TSS

.macro gate slot, selector, target, attributes
  movl $\target, %eax
  movw %ax, gdt+\slot
  movw $\selector, gdt+\slot+2
  movw $\attributes, gdt+\slot+4
  shrl $16, %eax
  movw %ax, gdt+\slot+6
.endm
.macro system_segment slot, base, limit, type
  movl $\base, %eax
  movw $\limit, gdt+\slot
  movw %ax, gdt+\slot+2
  shrl $16, %eax
  movb %al, gdt+\slot+4
  movb $\type, gdt+\slot+5
  movb $0, gdt+\slot+6
  movb %ah, gdt+\slot+7
.endm
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

main:
  gate GATE, CODE0, gate_entry, 0xEC02
  gate GATE_NP, CODE0, gate_entry, 0x6C02
  movl $0x0000FFFF, gdt+CONFORMING
  movl $0x00CF9E00, gdt+CONFORMING+4
  system_segment TASK, task, 103, 0x89
  system_segment LDT, ldt, 15, 0x82
  system_segment TASK16, task16, 43, 0x81
  gate TASKGATE, TASK, 0, 0xE500
  movb $0xEE, idt + 3 * 8 + 5

  ring3 call-gate, user_gate
  ring3 call-gate-not-present, user_gate_np
  ring3 far-call-ring0, user_far_call
  ring3 conforming, user_conforming
  ring3 return-to-ring0, user_return

  # A call gate within ring 0 changes no stack.
  begin_test call-gate-same
  movl %esp, %edi
  lcall $GATE, $0
  end_test

  # LDT.
  begin_test ldt
  movw $LDT, %ax
  lldt %ax
  movl $0x0000FFFF, ldt+8
  movl $0x00CF9200, ldt+12
  movw $0x0C, %ax
  movw %ax, %es
  movl %es:test_start, %eax
  end_test
  begin_test ldt-beyond
  movw $0x14, %ax
  movw %ax, %es
  end_test

  # Tasks.
  call set_task
  begin_test task-jump
  ljmp $TASK, $0
  end_test
  show old-link tss
  show old-eax tss+40
  show tss-types gdt+TSS0+4
  show task-type gdt+TASK+4
  call set_task
  begin_test task-call
  movl $0x1234, %eax
  lcall $TASK, $0
  end_test
  show back-link task
  call set_task
  begin_test task-gate-call
  lcall $TASKGATE, $0
  end_test
  # A task gate as exception handler: #UD's error-free frame is the TSS itself.
  call set_task
  movl $handler_task, task+32
  movl $TASK << 16, idt + 6 * 8
  movl $0x8500, idt + 6 * 8 + 4
  begin_test task-gate-exception
  ud2
  end_test
  # An error code goes onto the new task's stack.
  call set_task
  movl $handler_task_error, task+32
  movl $TASK << 16, idt + 13 * 8
  movl $0x8500, idt + 13 * 8 + 4
  begin_test task-gate-error
  movw $0xFFF8, %ax
  movw %ax, %ds
  end_test
  call restore_gp
  # Faults of the switch.
  call set_task
  movb $0x09, gdt+TASK+5
  begin_test task-not-present
  ljmp $TASK, $0
  end_test
  movb $0x8B, gdt+TASK+5
  begin_test task-busy
  ljmp $TASK, $0
  end_test
  movb $0x89, gdt+TASK+5
  movw $102, gdt+TASK
  begin_test task-too-short
  ljmp $TASK, $0
  end_test
  movw $103, gdt+TASK
  call set_task

  # Virtual-8086 mode.
  call v86_tests
  ret

# Ring 0 code behind the gate: reports the stack it finds.
gate_entry:
  pushal
  movl %esp, %ebp
  movl $DATA0, %eax
  movl %eax, %ds
  movl %eax, %es
  show gate-return-cs 36(%ebp)
  movl 36(%ebp), %eax
  testb $3, %al
  jz 1f
  movl 32(%ebp), %eax
  subl $user_gate, %eax
  show gate-return-eip %eax
  show gate-parameter-1 40(%ebp)
  show gate-parameter-2 44(%ebp)
  show gate-esp 48(%ebp)
  show gate-ss 52(%ebp)
  movl $DATA3, %eax
  movl %eax, %ds
  movl %eax, %es
  popal
  lret $8
1: popal
  lret

user_gate:
  pushl $0x1111
  pushl $0x2222
  lcall $GATE, $0
  movl %esp, %eax
  cmpl $STACK3, %eax
  jne 1f
  # DATA3 in DS stays: a return to an outer ring only clears what is too privileged.
  movw %ds, %ax
  cmpw $DATA3, %ax
  jne 1f
  int3
1: hlt
user_gate_np:
  lcall $GATE_NP, $0
user_far_call:
  lcall $CODE0, $0
user_conforming:
  lcall $CONFORMING, $1f
  hlt
1: movw %cs, %ax
  cmpw $CONFORMING + 3, %ax
  jne 2f
  int3
2: hlt
user_return:
  pushl $CODE0
  pushl $0
  lret

# Fills the second TSS: starts at task_start with a stack of its own.
set_task:
  pushal
  movl $task, %edi
  movl $26, %ecx
  xorl %eax, %eax
  cld
  rep stosl
  movl $task_start, task+32
  movl $2, task+36
  movl $0xAAAA, task+40
  movl $0x1B0000, task+56
  movl $DATA0, task+72
  movl $CODE0, task+76
  movl $DATA0, task+80
  movl $DATA0, task+84
  movw $104, task+102
  movb $0x89, gdt+TASK+5
  popal
  ret

task_start:
  show task-eax %eax
  show task-esp %esp
  strl %eax
  show task-register %eax
  pushfl
  popl %eax
  andl $0x34000, %eax                # NT
  show task-flags %eax
  show task-ts-bit-type gdt+TASK+4
  movl %cr0, %eax
  show task-cr0 %eax
  pushfl
  popl %eax
  testl $0x4000, %eax
  jz 1f
  # Entered by a call: IRET goes back.
  iret
1: ljmp $TSS0, $0

handler_task:
  pushfl
  popl %eax
  show handler-flags %eax
  movl tss+32, %eax
  subl test_start, %eax
  show handler-old-eip %eax
  # Behind UD2.
  addl $2, tss+32
  iret
handler_task_error:
  popl %eax
  show handler-error %eax
  movl tss+32, %eax
  subl test_start, %eax
  show handler-old-eip %eax
  addl $2, tss+32
  iret

restore_gp:
  # The vector stubs are eight bytes each.
  movl $vector_stubs + 13 * 8, %eax
  movw %ax, idt + 13 * 8
  movw $CODE0, idt + 13 * 8 + 2
  movw $0x8E00, idt + 13 * 8 + 4
  shrl $16, %eax
  movw %ax, idt + 13 * 8 + 6
  movl $vector_stubs + 6 * 8, %eax
  movw %ax, idt + 6 * 8
  movw $CODE0, idt + 6 * 8 + 2
  movw $0x8E00, idt + 6 * 8 + 4
  shrl $16, %eax
  movw %ax, idt + 6 * 8 + 6
  ret

.macro v86 name, code, length, flags
  movl $\code, %esi
  movl $0x1000, %edi
  movl $\length, %ecx
  rep movsb
  begin_test \name
  movl $0, test_start
  pushl $0                           # GS FS DS ES
  pushl $0
  pushl $0x123
  pushl $0x456
  pushl $0x200                       # SS:ESP
  pushl $0x100
  pushl $0x20002 + \flags
  pushl $0x100                       # CS:EIP = 0x1000
  pushl $0
  iret
  end_test
.endm

v86_tests:
  v86 v86-hlt, v86_hlt, 4, 0
  v86 v86-cli-iopl0, v86_cli, 4, 0
  v86 v86-cli-iopl3, v86_cli, 4, 0x3000
  v86 v86-int-iopl0, v86_int, 4, 0
  v86 v86-pushf-iopl0, v86_pushf, 4, 0
  v86 v86-segments, v86_segments, 16, 0x3000
  v86 v86-int3, v86_int3, 4, 0
  ret
.code16
v86_hlt: nop
  hlt
  nop
v86_cli: cli
  ud2
  nop
v86_int: int $0x40
  nop
v86_pushf: pushfw
  nop
  nop
  nop
v86_segments:
  movw $0x110, %ax
  movw %ax, %ds
  movw 2, %bx                        # linear 0x1102
  jmp 1f
1: ud2
  nop
  nop
  nop
  nop
v86_int3: int3
  nop
  nop
  nop
.code32

.data
.balign 16
task: .fill 104, 1, 0
  .byte 0xFF
.balign 16
task16: .fill 44, 1, 0
.balign 8
ldt: .fill 2, 8, 0
