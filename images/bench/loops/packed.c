#include "../bench.h"
/* Packed SSE2: Mandelbrot's set four points at a time, then sums of differences and shuffles of integers. */
typedef float Floats __attribute__((vector_size(16)));
typedef int Ints __attribute__((vector_size(16)));

static word points(void) {
  Ints total = {0, 0, 0, 0};
  for (int row = 0; row < 64; row++) {
    Floats y0 = (Floats){1, 1, 1, 1} * ((float)row / 32 - 1);
    for (int column = 0; column < 64; column += 4) {
      Floats x0 = {(float)column / 24 - 2, (float)(column + 1) / 24 - 2, (float)(column + 2) / 24 - 2, (float)(column + 3) / 24 - 2};
      Floats x = x0, y = y0;
      for (int i = 0; i < 48; i++) {
        Floats xx = x * x, yy = y * y, xy = x * y;
        Ints inside = (xx + yy) < (Floats){4, 4, 4, 4};
        total -= inside;
        x = (Floats)((Ints)(xx - yy + x0) & inside) + (Floats)((Ints)x & ~inside);
        y = (Floats)((Ints)(xy + xy + y0) & inside) + (Floats)((Ints)y & ~inside);
      }
    }
  }
  return (word)(total[0] + total[1] * 3 + total[2] * 5 + total[3] * 7);
}

static word integers(word seed) {
  Ints *data = (Ints *)MEMORY;
  Ints sum = {(int)seed, 1, 2, 3};
  for (int i = 0; i < 4096; i++) {
    Ints value = data[i];
    Ints turned = __builtin_shuffle(value, (Ints){1, 2, 3, 0});
    sum += (value ^ turned) + (value << 3) - (turned >> 5);
    Ints larger = sum > value;
    sum = ((sum - value) & larger) | ((sum ^ turned) & ~larger);
    data[i] = sum;
  }
  return (word)(sum[0] ^ sum[1] ^ sum[2] ^ sum[3]);
}

static word run(word turns) {
  word sum = 0;
  for (int i = 0; i < 16384; i++) ((word *)MEMORY)[i] = next_random();
  while (turns--) sum = sum * 31 + points() + integers(turns);
  return sum;
}
