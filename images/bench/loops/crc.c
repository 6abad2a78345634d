#include "../bench.h"
/* CRC-32 by table, a byte at a time. */
enum { length = 1 << 16 };

static word run(word turns) {
  word *table = (word *)MEMORY, crc = 0;
  byte *data = MEMORY + 4096;
  for (word i = 0; i < 256; i++) {
    word value = i;
    for (int bit = 0; bit < 8; bit++) value = (value >> 1) ^ (value & 1 ? 0xEDB88320u : 0);
    table[i] = value;
  }
  for (int i = 0; i < length; i++) data[i] = (byte)(next_random() >> 24);
  while (turns--) {
    crc = ~crc;
    for (int i = 0; i < length; i++) crc = table[(crc ^ data[i]) & 255] ^ (crc >> 8);
    crc = ~crc;
  }
  return crc;
}
