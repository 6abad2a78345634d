# Faults while an event is delivered (SDM Vol. 3A table 6-5): double faults, faults handled one after the other, the EXT bit of
# error codes.
.include "lib32.s"

.set DIRECTORY, 0x200000

# The gate of `vector` is not present from here on; `present` undoes it.
.macro absent vector
  andb $0x7F, idt + \vector * 8 + 5
.endm
.macro present vector
  orb $0x80, idt + \vector * 8 + 5
.endm

main:
  # Contributory and contributory: #DF(0), at the first instruction.
  absent 13
  begin_test gp-np
  movw $0xFFF8, %ax
  movw %ax, %ds
  end_test
  # INT is benign: its #NP is handled, without EXT.
  begin_test int-np
  int $13
  end_test
  present 13
  # Benign and contributory: handled one after the other, with EXT.
  absent 6
  begin_test ud-np
  ud2
  end_test
  present 6
  absent 3
  begin_test int3-np
  int3
  end_test
  present 3
  absent 1
  begin_test icebp-np
  .byte 0xF1
  end_test
  present 1
  # A handler's selector that is null, beyond the table, no code.
  movw $0, idt + 6 * 8 + 2
  begin_test ud-null-selector
  ud2
  end_test
  movw $0xFFF8, idt + 6 * 8 + 2
  begin_test ud-far-selector
  ud2
  end_test
  movw $DATA0, idt + 6 * 8 + 2
  begin_test ud-data-selector
  ud2
  end_test
  begin_test int6-data-selector
  int $6
  end_test
  movw $CODE0, idt + 6 * 8 + 2
  # #DE is contributory too.
  movw $0, idt + 2
  begin_test de-gp
  xorl %ecx, %ecx
  divl %ecx
  end_test
  movw $CODE0, idt + 2
  # A gate of a wrong type.
  movb $0x8C, idt + 6 * 8 + 5
  begin_test ud-wrong-gate
  ud2
  end_test
  movb $0x8E, idt + 6 * 8 + 5

  # #PF and contributory: #DF.
  movl $0x83, DIRECTORY
  movl $DIRECTORY, %eax
  movl %eax, %cr3
  movl %cr4, %eax
  orl $0x10, %eax
  movl %eax, %cr4
  movl %cr0, %eax
  orl $0x80000000, %eax
  movl %eax, %cr0
  begin_test pf
  movl 0x800000, %eax
  end_test
  absent 14
  begin_test pf-np
  movl 0x800004, %eax
  end_test
  present 14
  movl $0, idt + 14 * 8 + 2
  begin_test pf-gp
  movl 0x800008, %eax
  end_test
  ret
