/*
 * What every bare-metal benchmark has. A benchmark defines run() and includes nothing else; TURNS comes from the command line
 * of the compiler. The first serial port tells the host when it begins and ends; the guest has no clock of its own.
 */
typedef unsigned char byte;
typedef unsigned int word;

#define NOINLINE __attribute__((noinline))
/** Memory for the benchmark's data: 28 MiB, zero at the start. */
#define MEMORY ((byte *)0x400000)

static inline void out(unsigned short port, byte value) { __asm__ volatile("outb %0, %1" : : "a"(value), "d"(port)); }
static inline byte in(unsigned short port) {
  byte value;
  __asm__ volatile("inb %1, %0" : "=a"(value) : "d"(port));
  return value;
}

static void print(const char *text) {
  for (; *text; text++) {
    while (!(in(0x3FD) & 0x20)) {} /* line status: transmitter empty */
    out(0x3F8, (byte)*text);
  }
}

static word random_state = 12345;
/** Numerical Recipes' linear congruential generator. */
static inline word next_random(void) { return random_state = random_state * 1664525 + 1013904223; }

/** Does the work `turns` times; returns a checksum of the results. */
static word run(word turns);

void guest(void) {
  char digits[] = "00000000\n";
  print("@@ begin " NAME "\n");
  word sum = run(TURNS);
  for (int i = 0; i < 8; i++) digits[i] = "0123456789abcdef"[(sum >> (28 - 4 * i)) & 15];
  print("@@ end " NAME " ");
  print(digits);
  print("@@ done\n");
}
