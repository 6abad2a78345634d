# Common part of the 32-bit guests of test/system: a flat multiboot image with ring-0 segments, an IDT whose handlers
# report what happened on port 0xE9, and macros for tests. Include first; the guest defines `main`.
#
# A report of an exception is one line:  name #VV e=EEEE c=CS:EIP-offset s=CR2 f=FLAGS
# (vector, error code or "-", offset of the pushed EIP from the test's start, CR2 after #PF, some pushed flags).

.code32
.text
.globl _start
_start:
  jmp start32
.balign 4
multiboot_header:
  .long 0x1BADB002, 0x00010000, -(0x1BADB002 + 0x00010000)
  .long multiboot_header, _start, 0, 0, start32

.set CODE0, 0x08
.set DATA0, 0x10
.set CODE3, 0x1B
.set DATA3, 0x23
.set TSS0, 0x28                      # the guest's own descriptors start at 0x30
.set STACK0, 0x180000                # stack of ring 0 (grows down)
.set STACK3, 0x190000                # stack of ring 3
.set STACKE, 0x1A0000                # stack of handlers on the way from ring 3

start32:
  cld
  cli
  lgdt gdt_pointer
  ljmp $CODE0, $1f
1: movl $DATA0, %eax
  movl %eax, %ds
  movl %eax, %es
  movl %eax, %ss
  xorl %eax, %eax
  movl %eax, %fs
  movl %eax, %gs
  movl $STACK0, %esp
  # NE and MP on, EM and TS off.
  movl %cr0, %eax
  andl $~0xC, %eax
  orl $0x22, %eax
  movl %eax, %cr0
  # Interrupt gates for the 32 exceptions.
  xorl %ecx, %ecx
2: movl $vector_stubs, %eax
  leal (%eax,%ecx,8), %eax
  movw %ax, idt(,%ecx,8)
  movw $CODE0, idt+2(,%ecx,8)
  movw $0x8E00, idt+4(,%ecx,8)
  shrl $16, %eax
  movw %ax, idt+6(,%ecx,8)
  incl %ecx
  cmpl $32, %ecx
  jne 2b
  lidt idt_pointer
  # After reset LDTR is usable, with base 0 and limit 64 KiB - 1.
  xorl %eax, %eax
  lldt %ax
  movl $STACKE, tss+4
  movl $DATA0, tss+8
  movw $104, tss+102
  movl $tss, %eax
  movw %ax, gdt+TSS0+2
  shrl $16, %eax
  movb %al, gdt+TSS0+4
  movb %ah, gdt+TSS0+7
  movw $TSS0, %ax
  ltr %ax
  call main
  movl $text_done, %esi
  call print
  xorl %eax, %eax
  outb %al, $0xF4
1: cli
  hlt
  jmp 1b

# Eight bytes each: push the vector, go on.
.balign 8
vector_stubs:
.set vector, 0
.rept 32
  .balign 8
  pushl $vector
  .byte 0xE9
  .long vector_common - . - 4
  .set vector, vector + 1
.endr

# Stack: vector, [error code,] EIP, CS, EFLAGS[, ESP, SS].
vector_common:
  movl %eax, %ss:saved_eax
  popl %eax
  movl %eax, %ss:last_vector
  # 8, 10-14 and 17 push an error code.
  btl %eax, %ss:error_vectors
  jnc 1f
  popl %eax
  movl %eax, %ss:last_error
  movl $1, %ss:has_error
  jmp 2f
1: movl $0, %ss:has_error
2: popl %eax
  movl %eax, %ss:last_eip
  popl %eax
  movl %eax, %ss:last_cs
  popl %eax
  movl %eax, %ss:last_flags
  movl $DATA0, %eax
  movl %eax, %ss
  movl %ss:resume_esp, %esp
  movl %eax, %ds
  movl %eax, %es
  cld
  call report
  movl resume_ebp, %ebp
  jmp *resume

report:
  movl test_name, %esi
  call print
  movb $'#', %al
  call put
  movl last_vector, %eax
  call hex2
  movl $text_error, %esi
  call print
  cmpl $0, has_error
  je 1f
  movl last_error, %eax
  call hex4
  jmp 2f
1: movb $'-', %al
  call put
2: movl $text_cs, %esi
  call print
  movl last_cs, %eax
  call hex4
  movb $':', %al
  call put
  movl last_eip, %eax
  subl test_start, %eax
  call hex4
  cmpl $14, last_vector
  jne 3f
  movl $text_cr2, %esi
  call print
  movl %cr2, %eax
  call hex8
3: cmpl $1, last_vector
  jne 4f
  movl $text_dr6, %esi
  call print
  movl %dr6, %eax
  call hex8
4: movl $text_flags, %esi
  call print
  # RF, NT, TF, VM
  movl last_flags, %eax
  andl $0x34100, %eax
  call hex8
  jmp newline

# al → port 0xE9
put:
  outb %al, $0xE9
  ret
newline:
  movb $10, %al
  jmp put
# text at esi, ended by 0
print:
1: movb (%esi), %al
  incl %esi
  testb %al, %al
  jz 2f
  call put
  jmp 1b
2: ret
hex8:
  pushl %eax
  shrl $16, %eax
  call hex4
  popl %eax
hex4:
  pushl %eax
  shrl $8, %eax
  call hex2
  popl %eax
hex2:
  pushl %eax
  shrl $4, %eax
  call hex1
  popl %eax
hex1:
  andl $15, %eax
  movb hex_digits(%eax), %al
  jmp put

# Runs what follows up to `end_test`; an exception reports and goes on behind it.
.macro begin_test name
  .pushsection .rodata
  .Lname\@: .asciz "\name "
  .popsection
  movl $.Lname\@, test_name
  movl %esp, resume_esp
  movl %ebp, resume_ebp
  movl $.Lstart\@, test_start
  movl $9f, resume
.Lstart\@:
.endm
# No exception came.
.macro end_test
  call test_passed
9:
.endm
test_passed:
  pushal
  movl $DATA0, %eax
  movl %eax, %ds
  movl %eax, %es
  movl test_name, %esi
  call print
  movl $text_passed, %esi
  call print
  popal
  ret
# Prints a register after a name.
.macro show name, value
  .pushsection .rodata
  .Lshow\@: .asciz "\name "
  .popsection
  pushal
  pushl \value
  movl $.Lshow\@, %esi
  call print
  popl %eax
  call hex8
  call newline
  popal
.endm

.section .rodata
text_error: .asciz " e="
text_cs: .asciz " at "
text_cr2: .asciz " cr2="
text_dr6: .asciz " dr6="
text_flags: .asciz " f="
text_passed: .asciz "no exception\n"
text_done: .asciz "done\n"
hex_digits: .ascii "0123456789abcdef"

.data
.balign 8
gdt:
  .quad 0
  .quad 0x00CF9A000000FFFF           # 08 ring-0 code
  .quad 0x00CF92000000FFFF           # 10 ring-0 data
  .quad 0x00CFFA000000FFFF           # 18 ring-3 code
  .quad 0x00CFF2000000FFFF           # 20 ring-3 data
  .quad 0x0000890000000067           # 28 TSS
gdt_own:
  .fill 24, 8, 0
gdt_pointer:
  .word gdt_pointer - gdt - 1
  .long gdt
idt_pointer:
  .word 32 * 8 - 1
  .long idt
error_vectors: .long 0x00027D00
.balign 4
saved_eax: .long 0
last_vector: .long 0
last_error: .long 0
has_error: .long 0
last_eip: .long 0
last_cs: .long 0
last_flags: .long 0
resume: .long 0
resume_esp: .long 0
resume_ebp: .long 0
test_start: .long 0
test_name: .long 0
.balign 8
idt: .fill 64, 8, 0
.balign 16
tss: .fill 104, 1, 0
  .byte 0xFF
.text
