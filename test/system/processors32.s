# Four processors: started by INIT and start-up messages, interrupted by each kind of message, under locks, with code that one changes and another runs.
.include "lib32.s"

.set APIC, 0xFEE00000
.set APIC_ID, APIC + 0x20
.set APIC_EOI, APIC + 0xB0
.set APIC_LDR, APIC + 0xD0
.set APIC_DFR, APIC + 0xE0
.set APIC_SVR, APIC + 0xF0
.set APIC_ICR_LOW, APIC + 0x300
.set APIC_ICR_HIGH, APIC + 0x310
.set APIC_TIMER, APIC + 0x320
.set APIC_TIMER_COUNT, APIC + 0x380
.set APIC_TIMER_DIVIDE, APIC + 0x3E0
.set IOAPIC, 0xFEC00000
.set CALL, 0x30                      # vectors
.set TIMER, 0x32
.set SPURIOUS, 0x3F
.set TRAMPOLINE, 0x8000
.set STACKS, 0x1B0000                # 4 KiB below each for one processor

# Waits until a variable has a value.
.macro await variable, value
1: pause
  cmpl \value, \variable
  jne 1b
.endm
# Sends a message: destination in bits 24-31 of the first value.
.macro send high, low
  movl $\high, APIC_ICR_HIGH
  movl $\low, APIC_ICR_LOW
.endm
.macro gate vector, handler
  movl $\handler, %eax
  movw %ax, idt + \vector * 8
  movw $CODE0, idt + \vector * 8 + 2
  movw $0x8E00, idt + \vector * 8 + 4
  shrl $16, %eax
  movw %ax, idt + \vector * 8 + 6
.endm
# eax: this processor's number
.macro number
  movl APIC_ID, %eax
  shrl $24, %eax
.endm
# Time for messages that nobody answers: a few thousand turns of a loop.
.macro linger
  movl $20000, %ecx
1: pause
  loop 1b
.endm

main:
  gate 2, on_nmi
  gate CALL, on_call
  gate TIMER, on_timer
  gate SPURIOUS, on_spurious
  lidt wide_idt
  # The 8259As masked.
  movb $0xFF, %al
  outb %al, $0x21
  outb %al, $0xA1
  call own_apic
  movl $trampoline, %esi
  movl $TRAMPOLINE, %edi
  movl $trampoline_end - trampoline, %ecx
  rep movsb
  sti
  call start_tests
  call message_tests
  call work_tests
  call device_tests
  call restart_tests
  cli
  ret

# The local APIC: software enable; logical identifier 1 << number, flat.
own_apic:
  movl $0x100 + SPURIOUS, APIC_SVR
  movl $0xFFFFFFFF, APIC_DFR
  number
  movl %eax, %ecx
  movl $0x01000000, %eax
  shll %cl, %eax
  movl %eax, APIC_LDR
  ret

start_tests:
  send 0, 0x000C4500                 # INIT, all but self
  linger
  send 0, 0x000C4600 + (TRAMPOLINE >> 12)
  await started, $3
  # A second start-up message finds all of them running.
  send 0, 0x000C4600 + (TRAMPOLINE >> 12)
  linger
  show "started", started
  show "numbers", numbers
  show "boot-processors", boot_processors
  ret

message_tests:
  send 0x01000000, 0x4000 + CALL
  await calls+4, $1
  send 0x02000000, 0x4000 + CALL
  await calls+8, $1
  send 0x03000000, 0x4000 + CALL
  await calls+12, $1
  call show_calls
  # Logical, flat: 1 and 3.
  send 0x0A000000, 0x4800 + CALL
  await calls+4, $2
  await calls+12, $2
  linger
  call show_calls
  # Shorthands: self, all, all but self.
  send 0, 0x00044000 + CALL
  await calls, $1
  send 0, 0x00084000 + CALL
  await calls, $2
  await calls+4, $3
  await calls+8, $2
  await calls+12, $3
  send 0, 0x000C4000 + CALL
  await calls+4, $4
  await calls+8, $3
  await calls+12, $4
  linger
  call show_calls
  # Physical broadcast.
  send 0xFF000000, 0x4000 + CALL
  await calls, $3
  await calls+4, $5
  await calls+8, $4
  await calls+12, $5
  # Lowest priority, to 1, 2 and 3: one of them takes it.
  send 0x0E000000, 0x4900 + CALL
  linger
  movl calls+4, %eax
  addl calls+8, %eax
  addl calls+12, %eax
  show "lowest-priority", %eax
  # NMI to 2.
  send 0x02000000, 0x4400
  await nmis+8, $1
  linger
  show "nmi-0", nmis
  show "nmi-1", nmis+4
  show "nmi-2", nmis+8
  # To nobody.
  send 0x09000000, 0x4000 + CALL
  linger
  ret

show_calls:
  show "calls-0", calls
  show "calls-1", calls+4
  show "calls-2", calls+8
  show "calls-3", calls+12
  ret

# All processors call what eax points to; comes back when all have.
together:
  movl %eax, work
  movl $0, finished
  incl work_number
  send 0, 0x000C4000 + CALL
  call *work
  await finished, $3
  ret

work_tests:
  movl $ticket_work, %eax
  call together
  show "ticket-lock", guarded
  show "lock-xadd", added
  show "cmpxchg8b", exchanged
  show "time-backwards", backwards
  movl $identity_work, %eax
  call together
  show "wrong-identities", wrong
  movl $timer_work, %eax
  call together
  show "timer-0", timers
  show "timer-1", timers+4
  show "timer-2", timers+8
  show "timer-3", timers+12
  movl $code_work, %eax
  call together
  show "code-changes-seen", code_seen
  movl $table_work, %eax
  call together
  show "shot-down", shot_down
  ret

# 1000 times under a ticket lock: a counter, and the time stamp never less than whoever came before saw.
ticket_work:
  movl $1000, %edi
1: movl $1, %eax
  lock xaddl %eax, next_ticket
2: cmpl %eax, now_serving
  je 3f
  pause
  jmp 2b
3: movl guarded, %ebx
  rdtsc
  cmpl last_time+4, %edx
  jb 4f
  ja 5f
  cmpl last_time, %eax
  jae 5f
4: incl backwards
5: movl %eax, last_time
  movl %edx, last_time+4
  incl %ebx
  movl %ebx, guarded
  incl now_serving
  movl $3, %eax
  lock xaddl %eax, added
  movl exchanged, %eax
  movl exchanged+4, %edx
6: movl %eax, %ebx
  movl %edx, %ecx
  addl $1, %ebx
  adcl $0, %ecx
  lock cmpxchg8b exchanged
  jne 6b
  decl %edi
  jnz 1b
  ret

# CPUID leaf 1 and leaf 0Bh name the processor as its APIC does.
identity_work:
  movl $1, %eax
  cpuid
  shrl $24, %ebx
  number
  cmpl %eax, %ebx
  je 1f
  lock incl wrong
1: ret

# Each by its own timer.
timer_work:
  number
  movl %eax, %esi
  movl $0xB, APIC_TIMER_DIVIDE
  movl $TIMER, APIC_TIMER
  movl $10000, APIC_TIMER_COUNT
1: cli
  cmpl $1, timers(,%esi,4)
  je 2f
  sti
  hlt
  jmp 1b
2: sti
  ret

# Processor 0 changes a function's immediate operand 100 times; the others call it until each value has come.
code_work:
  number
  testl %eax, %eax
  jz 3f
  movl $1, %edi
1: call changing
  cmpl %edi, %eax
  je 2f
  pause
  jmp 1b
2: lock incl code_seen
  incl %edi
  cmpl $101, %edi
  jne 1b
  ret
3: movl $1, %edi
4: movl %edi, changing+1
  # All three have seen the value before the next.
  leal (%edi,%edi,2), %eax
5: cmpl %eax, code_seen
  je 6f
  pause
  jmp 5b
6: incl %edi
  cmpl $101, %edi
  jne 4b
  ret
.balign 64
changing:
  movl $0, %eax
  ret
.balign 64

# Paging on for all. Processor 0 points a page elsewhere and calls the others, whose handler forgets the translation: none may read by it afterwards.
table_work:
  number
  testl %eax, %eax
  jz 2f
  call paging_on
  movl 0x400000, %eax                # the translation is known
  lock incl readers
1: pause
  cmpl $0, remapped
  je 1b
  movl %cr3, %eax                    # the call came: this processor forgets
  movl %eax, %cr3
  movl 0x400000, %eax
  cmpl $0x22222222, %eax
  jne 4f
  lock incl shot_down
4: call paging_off
  ret
2: movl $0x11111111, 0x1E0000
  movl $0x22222222, 0x1E1000
  call make_tables
  call paging_on
3: pause
  cmpl $3, readers
  jne 3b
  movl $0x1E1003, 0x1D2000
  movl $1, remapped
5: pause
  cmpl $3, shot_down
  jne 5b
  call paging_off
  ret

# Directory at 1D0000: 4 MiB identical, then 4 KiB pages from 1D2000; the devices' 4 MiB pages as they are.
make_tables:
  movl $0x83, 0x1D0000
  movl $0x1D2003, 0x1D0004
  movl $0x1E0003, 0x1D2000
  movl $0xFEC00083, 0x1D0000 + (0xFEC00000 >> 22) * 4
  ret
paging_on:
  movl %cr4, %eax
  orl $0x10, %eax
  movl %eax, %cr4
  movl $0x1D0000, %eax
  movl %eax, %cr3
  movl %cr0, %eax
  orl $0x80000000, %eax
  movl %eax, %cr0
  ret
paging_off:
  movl %cr0, %eax
  andl $0x7FFFFFFF, %eax
  movl %eax, %cr0
  ret

# Counter 0 of the 8254 by input 2 of the I/O APIC: to processor 2, and by logical destination to 3.
device_tests:
  movl $0x02000000, %ebx
  movl $CALL, %ecx
  movl calls+8, %edx
  call tick
  movl calls+8, %eax
  subl %edx, %eax
  show "device-physical", %eax
  movl $0x08000000, %ebx
  movl $0x800 + CALL, %ecx
  movl calls+12, %edx
  call tick
  movl calls+12, %eax
  subl %edx, %eax
  show "device-logical", %eax
  movl $0x12, IOAPIC
  movl $0, IOAPIC+0x10
  ret
# Redirects to ebx with ecx, and lets the counter end once.
tick:
  movl $0x15, IOAPIC
  movl %ebx, IOAPIC+0x10
  movl $0x14, IOAPIC
  movl %ecx, IOAPIC+0x10
  movl total_calls, %edi
  movb $0x30, %al
  outb %al, $0x43
  movb $0xE8, %al
  outb %al, $0x40
  movb $0x03, %al
  outb %al, $0x40
1: pause
  cmpl %edi, total_calls
  je 1b
  movl $0x14, IOAPIC
  movl $0x10000, IOAPIC+0x10
  ret

# INIT takes a processor from what it does; a start-up message begins it anew, with all that it counted.
restart_tests:
  send 0x03000000, 0x4500
  linger
  # An interrupt does not wake it.
  movl calls+12, %edx
  send 0x03000000, 0x4000 + CALL
  linger
  movl calls+12, %eax
  subl %edx, %eax
  show "calls-while-stopped", %eax
  send 0x03000000, 0x4600 + (TRAMPOLINE >> 12)
  await started, $4
  send 0x03000000, 0x4000 + CALL
2: pause
  movl calls+12, %eax
  subl %edx, %eax
  jz 2b
  show "calls-after-restart", %eax
  ret

# --- the other processors ---

.code16
trampoline:
  cli
  cld
  xorw %ax, %ax
  movw %ax, %ds
  lgdtl TRAMPOLINE + (trampoline_gdt - trampoline)
  movl %cr0, %eax
  orl $0x23, %eax
  andl $~0x6000000C, %eax
  movl %eax, %cr0
  ljmpl $CODE0, $ap_start
trampoline_gdt:
  .word gdt_pointer - gdt - 1
  .long gdt
trampoline_end:
.code32

ap_start:
  movl $DATA0, %eax
  movl %eax, %ds
  movl %eax, %es
  movl %eax, %ss
  number
  movl %eax, %ebx
  movl %ebx, %esp
  shll $12, %esp
  addl $STACKS, %esp
  lidt wide_idt
  call own_apic
  movl $0x1B, %ecx
  rdmsr
  testl $0x100, %eax
  jz 1f
  lock incl boot_processors
1: movl $1, %eax
  movl %ebx, %ecx
  shll %cl, %eax
  lock orl %eax, numbers
  movl work_number, %eax
  movl %eax, work_done(,%ebx,4)
  lock incl started
ap_loop:
  cli
  number
  movl %eax, %ebx
  movl work_number, %eax
  cmpl %eax, work_done(,%ebx,4)
  jne 1f
  sti
  hlt
  jmp ap_loop
1: movl %eax, work_done(,%ebx,4)
  sti
  call *work
  lock incl finished
  jmp ap_loop

# --- handlers ---

on_call:
  pushl %eax
  number
  incl calls(,%eax,4)
  lock incl total_calls
  movl $0, APIC_EOI
  popl %eax
  iret
on_timer:
  pushl %eax
  number
  incl timers(,%eax,4)
  movl $0, APIC_EOI
  popl %eax
  iret
on_nmi:
  pushl %eax
  number
  incl nmis(,%eax,4)
  popl %eax
on_spurious:
  iret

.data
.balign 8
exchanged: .quad 0
last_time: .quad 0
wide_idt:
  .word 64 * 8 - 1
  .long idt
.balign 4
started: .long 0
numbers: .long 0
boot_processors: .long 0
calls: .fill 4, 4, 0
total_calls: .long 0
nmis: .fill 4, 4, 0
timers: .fill 4, 4, 0
work: .long 0
work_number: .long 0
work_done: .fill 4, 4, 0
finished: .long 0
next_ticket: .long 0
now_serving: .long 0
guarded: .long 0
added: .long 0
backwards: .long 0
wrong: .long 0
code_seen: .long 0
readers: .long 0
remapped: .long 0
shot_down: .long 0
.text
