#include "../bench.h"
/* Eratosthenes over a million bytes. */
enum { limit = 1000000 };

static word run(word turns) {
  byte *composite = MEMORY;
  word primes = 0;
  while (turns--) {
    for (word i = 0; i <= limit; i++) composite[i] = 0;
    primes = 0;
    for (word i = 2; i <= limit; i++) {
      if (composite[i]) continue;
      primes++;
      for (word multiple = 2 * i; multiple <= limit; multiple += i) composite[multiple] = 1;
    }
  }
  return primes;
}
