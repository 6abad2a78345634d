# From a multiboot loader to C, for 32-bit protected mode and for 64-bit mode; with 4 KiB pages in both, as under any kernel.
#
# A flat multiboot 1 image (Multiboot Specification 0.6.96, "address fields"), so that our machine, v86 and QEMU (-kernel)
# load the same file. test/bench/image.ts builds it from this file and one of the benchmarks in C.

mapped_pages = 0x2000               # 32 MiB, mapped to themselves

.section .start, "ax"
.globl _start
_start:
.code32
  jmp start32

.balign 4
header:
  .long 0x1BADB002, 0x00010000, -(0x1BADB002 + 0x00010000)
  .long header, _start, 0, 0, start32   # header, load, load end (whole file), bss end, entry

start32:
  cld
  movl $stack_top, %esp
  movl %cr0, %eax
  andl $~0x4, %eax                  # EM
  orl $0x22, %eax                   # MP, NE
  movl %eax, %cr0
  movl %cr4, %eax
  orl $0x600, %eax                  # OSFXSR, OSXMMEXCPT
  movl %eax, %cr4
  fninit
  # Page tables from page_tables + 0x4000 on: one entry of BITS/8 bytes for each page.
  movl $page_tables + 0x4000, %edi
  movl $3, %eax                     # present, writable
  movl $mapped_pages, %ecx
1: movl %eax, (%edi)
.if BITS == 64
  movl $0, 4(%edi)
.endif
  addl $BITS / 8, %edi
  addl $0x1000, %eax
  loop 1b
.if BITS == 64
  movl $page_tables + 0x1003, page_tables            # PML4 entry
  movl $page_tables + 0x2003, page_tables + 0x1000   # page-directory-pointer entry
  tables = mapped_pages / 512
  directory = page_tables + 0x2000
.else
  tables = mapped_pages / 1024
  directory = page_tables
.endif
  movl $directory, %edi
  movl $page_tables + 0x4003, %eax
  movl $tables, %ecx
1: movl %eax, (%edi)
  addl $BITS / 8, %edi
  addl $0x1000, %eax
  loop 1b
  movl $page_tables, %eax
  movl %eax, %cr3
.if BITS == 64
  movl %cr4, %eax
  orl $0x20, %eax                   # PAE
  movl %eax, %cr4
  movl $0xC0000080, %ecx
  rdmsr
  orl $0x100, %eax                  # EFER.LME
  wrmsr
.endif
  movl %cr0, %eax
  orl $0x80000000, %eax             # PG
  movl %eax, %cr0
  lgdtl gdt_pointer
.if BITS == 64
  ljmpl $24, $start64
.code64
start64:
.else
  ljmpl $8, $1f
1:
.endif
  movl $16, %eax
  movl %eax, %ds
  movl %eax, %es
  movl %eax, %ss
  movl $stack_top, %esp
  call guest
1: cli
  hlt
  jmp 1b

.balign 8
gdt:
  .quad 0, 0x00CF9A000000FFFF, 0x00CF92000000FFFF, 0x00AF9A000000FFFF
gdt_pointer:
  .word 31
  .long gdt

# Never initialised: zero in a fresh machine. bench.h gives the benchmarks the memory from 4 MiB on.
page_tables = 0x300000
stack_top = 0x300000
