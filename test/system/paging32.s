# Paging of 32-bit protected mode: 32-bit tables, 4 MiB pages, PAE; error codes, accessed and dirty bits, WP, user and
# supervisor pages, invalidation (SDM Vol. 3A chapter 4).
.include "lib32.s"

.set DIRECTORY, 0x200000
.set TABLE, 0x201000                 # maps 0x400000-0x7FFFFF
.set PDPT, 0x202000
.set PAE_DIRECTORY, 0x203000         # maps 0-1 GiB
.set PAE_TABLE, 0x204000             # maps 0x400000-0x5FFFFF
.set FRAME, 0x300000                 # what the tested pages map to

.set P, 1
.set W, 2
.set U, 4
.set PS, 0x80
.set G, 0x100

main:
  # Identity: 4 MiB pages for all but 0x400000-0x7FFFFF; user may execute the code there.
  movl $DIRECTORY, %edi
  movl $P|W|U|PS, %eax
  xorl %ecx, %ecx
1: movl %eax, (%edi,%ecx,4)
  addl $0x400000, %eax
  incl %ecx
  cmpl $1024, %ecx
  jne 1b
  movl $TABLE+P+W+U, DIRECTORY + 4
  movl $FRAME + P + W, TABLE               # 400000 supervisor, writable
  movl $FRAME + P, TABLE + 4               # 401000 supervisor, read-only
  movl $0, TABLE + 8                       # 402000 not present
  movl $FRAME + P + W + U, TABLE + 12      # 403000 user, writable
  movl $FRAME + P + U, TABLE + 16          # 404000 user, read-only
  movl $FRAME + 0x1000 + P + W, TABLE + 20 # 405000 for the crossing
  movl $0, TABLE + 24                      # 406000 not present
  movl $FRAME + P + W, TABLE + 28          # 407000 remapped below
  movl $0x11111111, FRAME
  movl $0x22222222, FRAME + 0x1000
  movl %cr4, %eax
  orl $0x10, %eax                          # PSE
  movl %eax, %cr4
  movl $DIRECTORY, %eax
  movl %eax, %cr3
  movl %cr0, %eax
  orl $0x80000000, %eax
  movl %eax, %cr0
  jmp 1f
1:
  call kernel_tests
  call user_tests
  call pae_tests
  ret

kernel_tests:
  begin_test read
  movl 0x400000, %ebx
  end_test
  show value %ebx
  show accessed TABLE
  begin_test write
  movl %ebx, 0x400004
  end_test
  show dirty TABLE
  show directory-accessed DIRECTORY+4
  begin_test not-present-read
  movl 0x402123, %ebx
  end_test
  begin_test not-present-write
  movl %ebx, 0x402FFF
  end_test
  begin_test not-present-modify
  addl %ebx, 0x402010
  end_test
  begin_test not-present-execute
  movl $0x402000, test_start
  movl $0x402000, %eax
  jmp *%eax
  end_test
  begin_test crossing-read
  movl 0x405FFE, %ebx
  end_test
  begin_test crossing-write
  movl %ebx, 0x405FFF
  end_test
  # Nothing of a faulting crossing write may have been written.
  show crossing-value FRAME+0x1FFC
  begin_test write-read-only-without-wp
  movl $0x33333333, 0x401008
  end_test
  show dirty-read-only TABLE+4
  movl %cr0, %eax
  orl $0x10000, %eax
  movl %eax, %cr0
  begin_test write-read-only-with-wp
  movl $0x44444444, 0x401008
  end_test
  show unchanged FRAME+8
  begin_test read-modify-read-only
  incl 0x401008
  end_test
  begin_test cmpxchg-read-only
  movl $5, %eax
  cmpxchgl %eax, 0x401008
  end_test

  # A changed entry counts after INVLPG.
  begin_test remap
  movl 0x407000, %ebx
  movl $FRAME + 0x1000 + P + W, TABLE + 28
  invlpg 0x407000
  movl 0x407000, %ebx
  end_test
  show remapped %ebx
  begin_test unmap
  movl $0, TABLE + 28
  movl %cr3, %eax
  movl %eax, %cr3
  movl 0x407000, %ebx
  end_test
  # A global page outlives a load of CR3, not a change of CR4.PGE.
  movl %cr4, %eax
  orl $0x80, %eax
  movl %eax, %cr4
  movl $FRAME + 0x1000 + P + W + G, TABLE + 28
  begin_test global
  movl 0x407000, %ebx
  end_test
  movl %cr4, %eax
  andl $~0x80, %eax
  movl %eax, %cr4
  movl $0, TABLE + 28
  begin_test global-flushed
  movl 0x407000, %ebx
  end_test
  # A string that runs into a missing page stops there.
  begin_test string
  movl $0x405FF8, %edi
  movl $8, %ecx
  movl $0x55555555, %eax
  rep stosl
  end_test
  show string-edi %edi
  show string-ecx %ecx
  begin_test large-page
  movl 0x800000, %eax
  movl $1, 0xC00000
  end_test
  show large-accessed DIRECTORY+8
  show large-dirty DIRECTORY+12
  begin_test large-reserved-bits
  movl $0x00C00000 + 0x200000 + P + W + PS, DIRECTORY + 12
  invlpg 0xC00000
  movl 0xC00000, %eax
  end_test
  ret

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

user_tests:
  movb $0xEE, idt + 3 * 8 + 5
  ring3 user-reads-supervisor, 1f
  ring3 user-writes-supervisor, 2f
  ring3 user-writes, 3f
  ring3 user-reads-read-only, 4f
  ring3 user-writes-read-only, 5f
  ring3 user-not-present, 6f
  ring3 user-executes-supervisor, 7f
  ring3 user-push, 8f
  ret
.macro user_segments
  movw $DATA3, %ax
  movw %ax, %ds
.endm
1: user_segments
  movl 0x400000, %eax
2: user_segments
  movl %eax, 0x400000
3: user_segments
  movl %eax, 0x403000
  int3
4: user_segments
  movl 0x404000, %eax
  int3
5: user_segments
  movl %eax, 0x404000
6: user_segments
  movl %eax, 0x402ABC
7: movl $0x400000, %eax
  movl %eax, %ss:test_start
  jmp *%eax
8: movl $0x407000, %esp
  pushl %eax

pae_tests:
  movl %cr0, %eax
  andl $0x7FFFFFFF, %eax
  movl %eax, %cr0
  jmp 1f
1: movl $PAE_DIRECTORY, %edi
  movl $P|W|U|PS, %eax
  xorl %ecx, %ecx
1: movl %eax, (%edi,%ecx,8)
  movl $0, 4(%edi,%ecx,8)
  addl $0x200000, %eax
  incl %ecx
  cmpl $512, %ecx
  jne 1b
  movl $PAE_TABLE+P+W+U, PAE_DIRECTORY + 16
  movl $FRAME + P + W, PAE_TABLE
  movl $FRAME + P, PAE_TABLE + 8
  movl $FRAME + P + W, PAE_TABLE + 16
  movl $0x80000000, PAE_TABLE + 20         # 402000: no execution
  movl $FRAME + P + W, PAE_TABLE + 24
  movl $0x00100000, PAE_TABLE + 28         # 403000: a reserved bit (52)
  movb $0xF4, FRAME + 0x10
  movl $PDPT, %edi
  movl $PAE_DIRECTORY + P, (%edi)
  movl $0, 4(%edi)
  movl $0, 8(%edi)
  movl $0, 16(%edi)
  movl $0, 24(%edi)
  movl %cr4, %eax
  orl $0x20, %eax
  movl %eax, %cr4
  movl $0xC0000080, %ecx
  rdmsr
  orl $0x800, %eax                         # EFER.NXE
  wrmsr
  movl $PDPT, %eax
  movl %eax, %cr3
  movl %cr0, %eax
  orl $0x80000000, %eax
  movl %eax, %cr0
  jmp 1f
1:
  begin_test pae-read
  movl 0x400000, %ebx
  end_test
  show pae-value %ebx
  show pae-accessed PAE_TABLE
  begin_test pae-write-read-only
  movl %ebx, 0x401000
  end_test
  begin_test pae-reserved-bit
  movl 0x403000, %ebx
  end_test
  begin_test pae-no-execute
  movl $0x402010, test_start
  movl $0x402010, %eax
  jmp *%eax
  end_test
  begin_test pae-no-pointer
  movl 0x40000000, %eax
  end_test
  begin_test pae-large-write
  movl %eax, 0x600000
  end_test
  show pae-large-dirty PAE_DIRECTORY+24
  # A reserved bit in a pointer makes the load of CR3 fault.
  movl $0x1E6 + P, PDPT + 8
  begin_test pae-pointer-reserved
  movl %cr3, %eax
  movl %eax, %cr3
  end_test
  # Without NXE the bit is reserved.
  movl $0xC0000080, %ecx
  rdmsr
  andl $~0x800, %eax
  wrmsr
  invlpg 0x402000
  begin_test pae-nx-reserved
  movl 0x402000, %eax
  end_test
  movl %cr0, %eax
  andl $0x7FFFFFFF, %eax
  movl %eax, %cr0
  jmp 1f
1: ret
