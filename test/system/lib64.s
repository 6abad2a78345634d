# Common part of the 64-bit guests of test/system: a flat multiboot image that enters 64-bit mode with the first gigabyte
# mapped, an IDT whose handlers report on port 0xE9, and macros for tests. Include first; the guest defines `main`.
#
# A report of an exception is one line:  name #VV e=EEEE at CS:RIP-offset [cr2=…] s=SS:frame f=FLAGS
# (vector, error code or "-", offset of the pushed RIP from the test's start, CR2 after #PF, pushed SS, address of the pushed
# RIP, some pushed flags).
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
.set CODE32, 0x18                    # ring-0 32-bit code (compatibility mode)
.set USER32, 0x23                    # ring-3 32-bit code
.set DATA3, 0x2B
.set CODE3, 0x33                     # ring-3 64-bit code
.set TSS0, 0x38
.set STACK0, 0x180000
.set STACK3, 0x190000
.set STACKE, 0x1A0000
.set STACKIST, 0x1B0000
.set PML4, 0x200000
.set PDPT, 0x201000
.set DIRECTORY, 0x202000             # 0-1 GiB
.set TABLE, 0x203000                 # 0x400000-0x5FFFFF
.set FRAME, 0x300000
.set USER, 0x600000                  # linear address of the image's mapping for ring 3

start32:
  cld
  movl $PML4, %edi
  movl $PDPT + 7, (%edi)
  movl $DIRECTORY + 7, PDPT
  movl $0x87, %eax
  movl $DIRECTORY, %edi
  xorl %ecx, %ecx
1: movl %eax, (%edi,%ecx,8)
  addl $0x200000, %eax
  incl %ecx
  cmpl $512, %ecx
  jne 1b
  # The image is a supervisor's, and mapped a second time for ring 3.
  movl $0x83, DIRECTORY
  movl $0x87, DIRECTORY + 24
  movl $TABLE + 7, DIRECTORY + 16
  movl %cr4, %eax
  orl $0x620, %eax                   # PAE, OSFXSR, OSXMMEXCPT
  movl %eax, %cr4
  movl $PML4, %eax
  movl %eax, %cr3
  movl $0xC0000080, %ecx
  rdmsr
  orl $0x901, %eax                   # NXE, LME, SCE
  wrmsr
  movl %cr0, %eax
  andl $~0xC, %eax
  orl $0x80010022, %eax              # PG, WP, NE, MP
  movl %eax, %cr0
  lgdtl gdt_pointer32
  ljmpl $CODE0, $start64

.code64
start64:
  movl $DATA0, %eax
  movl %eax, %ds
  movl %eax, %es
  movl %eax, %ss
  xorl %eax, %eax
  movl %eax, %fs
  movl %eax, %gs
  lldt %ax
  movq $STACK0, %rsp
  xorl %ecx, %ecx
2: leaq vector_stubs(%rip), %rax
  leaq (%rax,%rcx,8), %rax
  movl %ecx, %edi
  shll $4, %edi
  addl $idt, %edi
  movw %ax, (%rdi)
  movw $CODE0, 2(%rdi)
  movw $0x8E00, 4(%rdi)
  shrq $16, %rax
  movw %ax, 6(%rdi)
  shrq $16, %rax
  movl %eax, 8(%rdi)
  movl $0, 12(%rdi)
  incl %ecx
  cmpl $32, %ecx
  jne 2b
  lidt idt_pointer
  movq $STACKE, tss+4
  movq $STACKIST, tss+36
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

.balign 8
vector_stubs:
.set vector, 0
.rept 32
  .balign 8
  pushq $vector
  .byte 0xE9
  .long vector_common - . - 4
  .set vector, vector + 1
.endr

# Stack: vector, [error code,] RIP, CS, RFLAGS, RSP, SS.
vector_common:
  movq %rax, saved_rax
  popq %rax
  movq %rax, last_vector
  btl %eax, error_vectors
  jnc 1f
  popq %rax
  movq %rax, last_error
  movl $1, has_error
  jmp 2f
1: movl $0, has_error
2: movq %rsp, last_frame
  popq last_rip
  popq last_cs
  popq last_flags
  popq last_rsp
  popq last_ss
  movl $DATA0, %eax
  movl %eax, %ds
  movl %eax, %es
  movl %eax, %ss
  movq resume_rsp, %rsp
  cld
  call report
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
  movq last_rip, %rax
  subq test_start, %rax
  call hex16
  cmpl $14, last_vector
  jne 3f
  movl $text_cr2, %esi
  call print
  movq %cr2, %rax
  call hex16
3: movl $text_ss, %esi
  call print
  movl last_ss, %eax
  call hex4
  # Where the frame lies in its stack: the processor aligns RSP to 16 bytes.
  movb $':', %al
  call put
  movl last_frame, %eax
  call hex8
  movl $text_flags, %esi
  call print
  movl last_flags, %eax
  andl $0x34100, %eax
  call hex8
  jmp newline

put:
  outb %al, $0xE9
  ret
newline:
  movb $10, %al
  jmp put
print:
1: movb (%rsi), %al
  incq %rsi
  testb %al, %al
  jz 2f
  call put
  jmp 1b
2: ret
hex16:
  pushq %rax
  shrq $32, %rax
  call hex8
  popq %rax
hex8:
  pushq %rax
  shrl $16, %eax
  call hex4
  popq %rax
hex4:
  pushq %rax
  shrl $8, %eax
  call hex2
  popq %rax
hex2:
  pushq %rax
  shrl $4, %eax
  call hex1
  popq %rax
hex1:
  andl $15, %eax
  movb hex_digits(%rax), %al
  jmp put

.macro begin_test name
  .pushsection .rodata
  .Lname\@: .asciz "\name "
  .popsection
  movq $.Lname\@, test_name
  movq %rsp, resume_rsp
  movq $.Lstart\@, test_start
  movq $9f, resume
.Lstart\@:
.endm
.macro end_test
  call test_passed
9:
.endm
test_passed:
  pushq %rax
  pushq %rsi
  movl test_name, %esi
  call print
  movl $text_passed, %esi
  call print
  popq %rsi
  popq %rax
  ret
.macro show name, value
  .pushsection .rodata
  .Lshow\@: .asciz "\name "
  .popsection
  pushq %rax
  pushq %rsi
  pushq \value
  movl $.Lshow\@, %esi
  call print
  popq %rax
  call hex16
  call newline
  popq %rsi
  popq %rax
.endm
# Runs `label` in ring 3.
.macro ring3 name, label, code=CODE3
  begin_test \name
  movq $\label + USER, test_start
  pushq $DATA3
  pushq $STACK3 + USER
  pushq $2
  pushq $\code
  pushq $\label + USER
  iretq
  end_test
.endm

.section .rodata
text_error: .asciz " e="
text_cs: .asciz " at "
text_cr2: .asciz " cr2="
text_ss: .asciz " s="
text_flags: .asciz " f="
text_passed: .asciz "no exception\n"
text_done: .asciz "done\n"
hex_digits: .ascii "0123456789abcdef"

.data
.balign 8
gdt:
  .quad 0
  .quad 0x00AF9A000000FFFF           # 08
  .quad 0x00CF92000000FFFF           # 10
  .quad 0x00CF9A000000FFFF           # 18
  .quad 0x00CFFA000000FFFF           # 20
  .quad 0x00CFF2000000FFFF           # 28
  .quad 0x00AFFA000000FFFF           # 30
  .quad 0x0000890000000067, 0        # 38
gdt_pointer32:
  .word gdt_pointer32 - gdt - 1
  .long gdt, 0
idt_pointer:
  .word 32 * 16 - 1
  .quad idt
error_vectors: .long 0x00027D00
.balign 8
saved_rax: .quad 0
last_vector: .quad 0
last_error: .quad 0
has_error: .quad 0
last_rip: .quad 0
last_cs: .quad 0
last_flags: .quad 0
last_rsp: .quad 0
last_ss: .quad 0
last_frame: .quad 0
resume: .quad 0
resume_rsp: .quad 0
test_start: .quad 0
test_name: .quad 0
.balign 16
idt: .fill 64, 8, 0
.balign 16
tss: .fill 104, 1, 0
.text
