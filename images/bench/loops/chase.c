#include "../bench.h"
/* One cycle of pointers in random order over 4 MiB: a new page at nearly every step. */
typedef struct Node {
  struct Node *next;
  word value;
} Node;
enum { stride = 64, count = (4 << 20) / stride };

static word run(word turns) {
  word *order = (word *)(MEMORY + (8 << 20)), sum = 0;
  for (word i = 0; i < count; i++) order[i] = i;
  for (word i = count - 1; i > 0; i--) {
    word other = (next_random() >> 8) % (i + 1), swapped = order[i];
    order[i] = order[other];
    order[other] = swapped;
  }
  for (word i = 0; i < count; i++) {
    Node *node = (Node *)(MEMORY + order[i] * stride);
    node->next = (Node *)(MEMORY + order[(i + 1) % count] * stride);
    node->value = i;
  }
  Node *node = (Node *)MEMORY;
  while (turns--) {
    for (word i = 0; i < count; i++) {
      sum = (sum << 1 | sum >> 31) + (node->value ^ turns);
      node = node->next;
    }
  }
  return sum;
}
