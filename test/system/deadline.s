# The local APIC's timer in TSC-deadline mode (SDM Vol. 3A 11.5.4.1), on the whole machine. Prints one line for each test to port 0xE9:
# the name, and "at" when the interrupt came at its deadline or at most 2 microseconds later, else "not" and the delay.
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
.set APIC, 0xFEE00000
.set TSC_DEADLINE, 0x6E0

start32:
  cld
  cli
  movl $0x180000, %esp
  lgdt gdt_pointer
  ljmp $CODE0, $1f
1: movl $0x10, %eax
  movl %eax, %ds
  movl %eax, %es
  movl %eax, %ss
  movl $interrupt, %eax
  movw %ax, idt + 0x40 * 8
  shrl $16, %eax
  movw %ax, idt + 0x40 * 8 + 6
  lidt idt_pointer
  # The 8259A pair stays silent.
  movb $0xFF, %al
  outb %al, $0x21
  outb %al, $0xA1
  movl $0x1FF, APIC + 0xF0
  movl $0x40040, APIC + 0x320        # timer: TSC deadline, vector 40
  sti

# Writes now + ns; the deadline is kept in `deadline`.
.macro arm ns
  rdtsc
  addl $\ns, %eax
  adcl $0, %edx
  movl %eax, deadline
  movl $TSC_DEADLINE, %ecx
  wrmsr
.endm
.macro test name
  .pushsection .rodata
  .Lname\@: .asciz "\name "
  .popsection
  movl $.Lname\@, %esi
  call print
  movl $0, taken
.endm

  # Far away, then nearer: the last counts.
  test nearer
  arm 900000000
  arm 500000000
  arm 50000
  call wait
  # Near, then farther: nothing comes at the first.
  test farther
  arm 20000
  arm 100000
  call wait
  # Near, then none.
  test disarmed
  arm 20000
  xorl %eax, %eax
  xorl %edx, %edx
  wrmsr
  movl $100000, %ecx
1: loop 1b
  cmpl $0, taken
  je 1f
  movl $text_not, %esi
  jmp 2f
1: movl $text_none, %esi
2: call print
  # In the past: at once.
  test past
  arm 0
  call wait
  # While the processor halts.
  test halted
  cli
  arm 700000
  sti
  hlt
  call report
  # A deadline is an instant: a change of the TSC behind it does not move it.
  test moved-tsc
  cli
  arm 80000
  rdtsc
  subl $30000, %eax
  sbbl $0, %edx
  movl $0x10, %ecx
  wrmsr
  subl $30000, deadline
  sti
  call wait
  # What was written can be read, until it has passed.
  test read
  cli
  arm 60000
  rdmsr
  cmpl %eax, deadline
  jne 1f
  sti
  call wait_quietly
  movl $TSC_DEADLINE, %ecx
  rdmsr
  orl %edx, %eax
  jnz 1f
  movl $text_at, %esi
  jmp 2f
1: movl $text_not, %esi
2: call print
  # Out of the mode: writes are ignored, and the old deadline is gone.
  test mode
  arm 30000
  movl $0x40, APIC + 0x320
  arm 20000
  movl $100000, %ecx
1: loop 1b
  cmpl $0, taken
  jne 1f
  movl $text_none, %esi
  jmp 2f
1: movl $text_not, %esi
2: call print
  xorl %eax, %eax
  outb %al, $0xF4
1: cli
  hlt
  jmp 1b

wait_quietly:
1: cmpl $0, taken
  je 1b
  ret
wait:
  call wait_quietly
report:
  movl taken, %eax
  subl deadline, %eax
  cmpl $2000, %eax
  movl $text_at, %esi
  jbe print
  movl $text_not, %esi
  jmp print

# text at esi, ended by 0
print:
1: movb (%esi), %al
  incl %esi
  testb %al, %al
  jz 2f
  outb %al, $0xE9
  jmp 1b
2: ret

interrupt:
  pushl %eax
  pushl %edx
  rdtsc
  movl %eax, taken
  movl $0, APIC + 0xB0
  popl %edx
  popl %eax
  iret

.section .rodata
text_at: .asciz "at\n"
text_not: .asciz "not\n"
text_none: .asciz "none\n"
.data
.balign 8
gdt: .quad 0, 0x00CF9A000000FFFF, 0x00CF92000000FFFF
gdt_pointer:
  .word gdt_pointer - gdt - 1
  .long gdt
idt_pointer:
  .word 0x41 * 8 - 1
  .long idt
.balign 4
taken: .long 0
deadline: .long 0
.balign 8
idt:
  .fill 0x40, 8, 0
  .word 0, CODE0, 0x8E00, 0
