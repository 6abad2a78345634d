#include "../bench.h"
/* Fibonacci's numbers by recursion through three functions, each on a page of its own. */
#define OWN_PAGE __attribute__((noinline, noclone, aligned(4096)))

static word second(word n);
static word third(word n);
OWN_PAGE static word first(word n) { return n < 2 ? n : second(n - 1) + third(n - 2); }
OWN_PAGE static word second(word n) { return n < 2 ? n : third(n - 1) + first(n - 2); }
OWN_PAGE static word third(word n) { return n < 2 ? n : first(n - 1) + second(n - 2); }

static word run(word turns) {
  word sum = 0;
  while (turns--) sum = sum * 31 + first(24 + turns % 3);
  return sum;
}
