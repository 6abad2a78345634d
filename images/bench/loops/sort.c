#include "../bench.h"
/* Quicksort and heapsort of random numbers. */
enum { count = 100000 };

static NOINLINE void quicksort(word *values, int low, int high) {
  while (low < high) {
    word pivot = values[(low + high) / 2];
    int i = low, j = high;
    while (i <= j) {
      while (values[i] < pivot) i++;
      while (values[j] > pivot) j--;
      if (i > j) break;
      word swapped = values[i];
      values[i++] = values[j];
      values[j--] = swapped;
    }
    if (j - low < high - i) {
      quicksort(values, low, j);
      low = i;
    } else {
      quicksort(values, i, high);
      high = j;
    }
  }
}

static NOINLINE void sift(word *heap, int root, int length) {
  word value = heap[root];
  for (;;) {
    int child = 2 * root + 1;
    if (child >= length) break;
    if (child + 1 < length && heap[child + 1] > heap[child]) child++;
    if (heap[child] <= value) break;
    heap[root] = heap[child];
    root = child;
  }
  heap[root] = value;
}

static void heapsort(word *heap, int length) {
  for (int i = length / 2; i-- > 0;) sift(heap, i, length);
  for (int end = length - 1; end > 0; end--) {
    word top = heap[0];
    heap[0] = heap[end];
    heap[end] = top;
    sift(heap, 0, end);
  }
}

static word run(word turns) {
  word *first = (word *)MEMORY, *second = first + count, sum = 0;
  while (turns--) {
    for (int i = 0; i < count; i++) first[i] = second[i] = next_random();
    quicksort(first, 0, count - 1);
    heapsort(second, count);
    for (int i = 0; i < count; i++) sum = sum * 31 + (first[i] ^ (second[i] >> 1));
  }
  return sum;
}
