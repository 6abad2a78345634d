/*
 * Hostile guests, one for each MODE: a flat multiboot 1 image (Multiboot Specification 0.6.96, "address fields") in 32-bit protected mode without
 * paging, made by hostile.ts with images/bench/loop.ld. Each prints a letter now and then, so that it is seen to be at it.
 *   RINGS   resets every virtio device, gives it rings of random words at random places, and rings every doorbell
 *   DISK    writes what can't be compressed over the whole of its disk, again and again
 *   SCREAM  prints as fast as it can
 *   DIRTY   writes into every page of its memory, again and again
 */
typedef unsigned char u8;
typedef unsigned short u16;
typedef unsigned int u32;
typedef unsigned long long u64;

enum { RINGS = 1, DISK, SCREAM, DIRTY };

__asm__(".section .start, \"ax\"\n"
        ".globl _start\n_start: jmp 1f\n"
        ".balign 4\nheader: .long 0x1BADB002, 0x00010000, -(0x1BADB002 + 0x00010000)\n"
        ".long header, _start, 0, 0, 1f\n"
        "1: cli\n cld\n movl $0x200000, %esp\n call guest\n"
        ".previous\n");

static inline void out8(u16 port, u8 value) { __asm__ volatile("outb %0, %1" : : "a"(value), "Nd"(port)); }
static inline void out32(u16 port, u32 value) { __asm__ volatile("outl %0, %1" : : "a"(value), "Nd"(port)); }
static inline u32 in32(u16 port) {
  u32 value;
  __asm__ volatile("inl %1, %0" : "=a"(value) : "Nd"(port));
  return value;
}
static inline void say(u8 letter) { out8(0x3F8, letter); }

static u32 state = 2463534242u;
static u32 word(void) { /* xorshift */
  state ^= state << 13;
  state ^= state >> 17;
  state ^= state << 5;
  return state;
}

/* Configuration mechanism 1 (PCI Local Bus Specification 3.0, 3.2.2.3.2). */
static u32 config(u32 function, u32 offset) {
  out32(0xCF8, 0x80000000u | function << 8 | (offset & ~3u));
  return in32(0xCFC);
}
static void set_config(u32 function, u32 offset, u32 value) {
  out32(0xCF8, 0x80000000u | function << 8 | (offset & ~3u));
  out32(0xCFC, value);
}

/* The structures of virtio 1.2, 4.1.4, by the type of their capability. */
struct device {
  u32 kind;
  volatile u8 *part[5];
  u32 notify_multiplier;
};
static struct device devices[32];
static u32 count;

static void find(void) {
  for (u32 function = 0; function < 256 && count < 32; function++) {
    u32 id = config(function, 0);
    if ((id & 0xFFFF) != 0x1AF4) continue;
    struct device *device = &devices[count++];
    device->kind = (id >> 16) - 0x1040;
    set_config(function, 4, config(function, 4) | 6); /* memory space, bus master */
    for (u32 at = config(function, 0x34) & 0xFC; at != 0; at = config(function, at) >> 8 & 0xFC) {
      u32 head = config(function, at), type = head >> 24;
      if ((head & 0xFF) != 9 || type > 4) continue;
      u32 bar = config(function, at + 4) & 0xFF;
      u32 base = config(function, 0x10 + 4 * bar) & ~15u;
      device->part[type] = (volatile u8 *)(base + config(function, at + 8));
      if (type == 2) device->notify_multiplier = config(function, at + 16);
    }
  }
}

#define COMMON(device, type, offset) (*(volatile type *)((device)->part[1] + (offset)))
static void doorbell(struct device *device, u16 queue, u16 value) {
  COMMON(device, u16, 0x16) = queue;
  u32 offset = COMMON(device, u16, 0x1E) * device->notify_multiplier;
  *(volatile u16 *)(device->part[2] + (offset & 0xFFF)) = value;
}

/* Mostly inside of RAM, sometimes at its end, on a device, or nowhere. */
static u32 place(void) {
  u32 where = word();
  switch (where & 7) {
    case 0: return where;
    case 1: return MEMORY_BYTES - (where >> 20);
    case 2: return 0xFEB00000u + (where >> 12);
    default: return 0x400000 + where % (MEMORY_BYTES - 0x500000);
  }
}

static void rings(void) {
  for (u32 round = 0;; round++) {
    struct device *device = &devices[word() % count];
    for (u32 n = 0; n < 64; n++) { /* descriptors and rings: a u64 address, a u32 length, u16 flags, u16 next */
      u32 at = 0x400000 + (word() % (MEMORY_BYTES - 0x500000) & ~15u);
      *(volatile u32 *)at = place();
      *(volatile u32 *)(at + 4) = word() & 3 ? 0 : word();
      *(volatile u32 *)(at + 8) = word() & 1 ? word() % 4096 : word();
      *(volatile u32 *)(at + 12) = word() % 8 | (word() & 1 ? word() % 64 : word()) << 16;
    }
    COMMON(device, u8, 0x14) = word() & 3 ? 0 : (u8)word();
    COMMON(device, u8, 0x14) = 3;
    COMMON(device, u32, 8) = 0;
    COMMON(device, u32, 12) = word() & 1 ? 0 : word();
    COMMON(device, u32, 8) = 1;
    COMMON(device, u32, 12) = 1; /* VERSION_1 */
    COMMON(device, u8, 0x14) = 11;
    for (u16 queue = 0; queue < 8; queue++) {
      COMMON(device, u16, 0x16) = word() & 7 ? queue : (u16)word();
      if (word() & 1) COMMON(device, u16, 0x18) = 1 << word() % 9;
      if (!(word() & 7)) COMMON(device, u16, 0x18) = (u16)word();
      for (u32 area = 0x20; area < 0x38; area += 8) {
        u32 at = place();
        COMMON(device, u32, area) = word() & 7 ? at & ~15u : at;
        COMMON(device, u32, area + 4) = word() & 15 ? 0 : word();
      }
      COMMON(device, u16, 0x1C) = 1;
    }
    COMMON(device, u8, 0x14) = 15;
    for (u16 queue = 0; queue < 8; queue++) doorbell(device, queue, word() & 3 ? queue : (u16)word());
    if (device->part[4]) *(volatile u32 *)(device->part[4] + (word() % 64 & ~3u)) = word();
    if (round % 1024 == 0) say('r');
  }
}

/* virtio-blk (5.2): one request at a time, of 64 KiB. */
static volatile struct { u64 address; u32 length; u16 flags, next; } *const table = (void *)0x300000;
static volatile u16 *const avail = (void *)0x301000;
static volatile u16 *const used = (void *)0x302000;
static volatile u32 *const request = (void *)0x303000;
static volatile u8 *const status = (void *)0x303800;

static void disk(void) {
  struct device *device = 0;
  for (u32 n = 0; n < count; n++)
    if (devices[n].kind == 2) device = &devices[n];
  if (!device) return;
  COMMON(device, u8, 0x14) = 0;
  COMMON(device, u8, 0x14) = 3;
  COMMON(device, u32, 8) = 1;
  COMMON(device, u32, 12) = 1;
  COMMON(device, u8, 0x14) = 11;
  COMMON(device, u16, 0x16) = 0;
  COMMON(device, u16, 0x18) = 4;
  u32 areas[] = {(u32)table, (u32)avail, (u32)used};
  for (u32 n = 0; n < 3; n++) {
    COMMON(device, u32, 0x20 + 8 * n) = areas[n];
    COMMON(device, u32, 0x24 + 8 * n) = 0;
  }
  COMMON(device, u16, 0x1C) = 1;
  COMMON(device, u8, 0x14) = 15;
  u32 sectors = *(volatile u32 *)device->part[4];
  for (u32 turn = 0, sector = 0;; turn++, sector += 128) {
    if (sector + 128 > sectors) sector = 0;
    for (u32 n = 0; n < 16384; n++) ((volatile u32 *)0x400000)[n] = word();
    request[0] = 1; /* VIRTIO_BLK_T_OUT */
    request[1] = 0;
    request[2] = sector;
    request[3] = 0;
    table[0].address = (u32)request, table[0].length = 16, table[0].flags = 1, table[0].next = 1;
    table[1].address = 0x400000, table[1].length = 65536, table[1].flags = 1, table[1].next = 2;
    table[2].address = (u32)status, table[2].length = 1, table[2].flags = 2;
    avail[2 + turn % 4] = 0;
    avail[1] = (u16)(turn + 1);
    doorbell(device, 0, 0);
    while (used[1] != (u16)(turn + 1)) {}
    if (turn % 16 == 15) say('d');
  }
}

static void scream(void) {
  for (u32 n = 0;; n++) say(n % 80 == 79 ? '\n' : 'A' + n % 26);
}

static void dirty(void) {
  for (;;) {
    for (u32 at = 0x400000; at < MEMORY_BYTES - 4096; at += 4096)
      for (u32 n = 0; n < 4096; n += 256) *(volatile u32 *)(at + n) = word();
    say('m');
  }
}

void guest(void) {
  find();
  if (MODE == RINGS && count > 0) rings();
  if (MODE == DISK) disk();
  if (MODE == SCREAM) scream();
  if (MODE == DIRTY) dirty();
  say('?');
  for (;;) __asm__ volatile("hlt");
}
