# Virtual-8086 mode extensions and protected-mode virtual interrupts (SDM Vol. 3A 21.3, 21.4). Not run in QEMU, whose TCG
# leaves out most of them.
.include "lib32.s"

.set VME_TSS, 0x30
.set SP0, 0x2100                     # linear address of SS:SP at the start of a test

# Copies `length` bytes at `code` to 0100:0000 and runs them with `flags` beside VM.
.macro v86 name, code, length, flags
  movl $\code, %esi
  movl $0x1000, %edi
  movl $\length, %ecx
  rep movsb
  movl $0, SP0 - 4
  movl $0, SP0 - 8
  begin_test \name
  movl $0, test_start
  pushl $0                           # GS FS DS ES
  pushl $0
  pushl $0
  pushl $0
  pushl $0x200                       # SS:ESP
  pushl $0x100
  pushl $0x20002 + \flags
  pushl $0x100                       # CS:EIP = 0x1000
  pushl $0
  iret
  end_test
.endm

.macro ring3 name, label, flags
  begin_test \name
  movl $\label, test_start
  pushl $DATA3
  pushl $STACK3
  pushl $2 + \flags
  pushl $CODE3
  pushl $\label
  iret
  end_test
.endm

# IF, IOPL, NT, VM, VIF, VIP of the flags that the exception pushed.
.macro show_flags name
  movl last_flags, %eax
  andl $0x1A7200, %eax
  show \name %eax
.endm

main:
  # A TSS with a redirection bitmap: 40 goes to the program's own handler, 41 does not.
  movl $vme_tss, %eax
  movw $136, gdt_own
  movw %ax, gdt_own + 2
  shrl $16, %eax
  movb %al, gdt_own + 4
  movb $0x89, gdt_own + 5
  movb %ah, gdt_own + 7
  movl $STACKE, vme_tss + 4
  movl $DATA0, vme_tss + 8
  movw $136, vme_tss + 102
  movb $0x02, vme_tss + 104 + 8
  movw $VME_TSS, %ax
  ltr %ax
  movl $0x01000020, 0x40 * 4         # 0100:0020
  movl %cr4, %eax
  orl $3, %eax
  movl %eax, %cr4

  v86 redirect, int40, 0x30, 0
  show redirect-return "SP0 - 6"
  movzwl SP0 - 2, %eax
  show redirect-flags %eax
  show_flags redirect-eflags
  v86 redirect-vif, int40, 0x30, 0x80000
  movzwl SP0 - 2, %eax
  show redirect-vif-flags %eax
  show_flags redirect-vif-eflags
  v86 redirect-iopl3, int40, 0x30, 0x3200
  movzwl SP0 - 2, %eax
  show redirect-iopl3-flags %eax
  show_flags redirect-iopl3-eflags
  v86 no-redirect-iopl0, int41, 8, 0

  v86 sti, v_sti, 8, 0
  show_flags sti-eflags
  v86 cli, v_cli, 8, 0x80000
  show_flags cli-eflags
  v86 sti-vip, v_sti, 8, 0x100000
  v86 sti-iopl3, v_sti, 8, 0x3000
  show_flags sti-iopl3-eflags

  v86 pushf, v_pushf, 8, 0x80000
  movzwl SP0 - 2, %eax
  show pushf-image %eax
  v86 pushf-vif-off, v_pushf, 8, 0
  movzwl SP0 - 2, %eax
  show pushf-vif-off-image %eax
  v86 pushfd, v_pushfd, 8, 0
  v86 popf, v_popf, 8, 0
  show_flags popf-eflags
  v86 popf-off, v_popf_off, 8, 0x80000
  show_flags popf-off-eflags
  v86 popf-vip, v_popf, 8, 0x100000
  v86 popf-tf, v_popf_tf, 8, 0
  v86 popfd, v_popfd, 8, 0
  v86 iret, v_iret, 0x20, 0
  show_flags iret-eflags
  v86 iret-vip, v_iret, 0x20, 0x100000
  v86 iretd, v_iretd, 8, 0

  ring3 pvi-sti, 1f, 0
  show_flags pvi-sti-eflags
  ring3 pvi-cli, 2f, 0x80000
  show_flags pvi-cli-eflags
  ring3 pvi-sti-vip, 1f, 0x100000
  ring3 pvi-popf, 3f, 0
  show_flags pvi-popf-eflags
  ring3 pvi-sti-iopl3, 1f, 0x3000
  show_flags pvi-sti-iopl3-eflags
  movl %cr4, %eax
  andl $~3, %eax
  movl %eax, %cr4
  ring3 no-pvi-sti, 1f, 0
  ret
1: sti
  ud2
2: cli
  ud2
3: pushl $0x202
  popfl
  ud2

.code16
int40: int $0x40
  .org int40 + 0x20
  ud2
  .org int40 + 0x30
int41: int $0x41
  .org int41 + 8
v_sti: sti
  ud2
  .org v_sti + 8
v_cli: cli
  ud2
  .org v_cli + 8
v_pushf: pushfw
  ud2
  .org v_pushf + 8
v_pushfd: pushfl
  ud2
  .org v_pushfd + 8
v_popf: pushw $0x202
  popfw
  ud2
  .org v_popf + 8
v_popf_off: pushw $0x002
  popfw
  ud2
  .org v_popf_off + 8
v_popf_tf: pushw $0x102
  popfw
  ud2
  .org v_popf_tf + 8
v_popfd: popfl
  ud2
  .org v_popfd + 8
v_iret: pushw $0x202
  pushw $0x100
  pushw $0x10
  iretw
  .org v_iret + 0x10
  ud2
  .org v_iret + 0x20
v_iretd: iretl
  ud2
  .org v_iretd + 8
.code32

.data
.balign 16
vme_tss: .fill 136, 1, 0
  .byte 0xFF
