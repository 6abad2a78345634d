/* Five bodies under gravity; compiled once for the x87 and once for scalar SSE2. */
#include "../bench.h"
typedef struct {
  double x, y, z, vx, vy, vz, mass;
} Body;

static word run(word turns) {
  static Body bodies[5] = {
    {0, 0, 0, 0, 0, 0, 39.47841760435743},
    {4.84143144246472, -1.16032004402743, -0.10362204447112, 0.60632639299583, 2.81198684491626, -0.02521836165988, 0.03769367487038},
    {8.34336671824458, 4.12479856412430, -0.40352341711432, -1.01077434617879, 1.82566237123041, 0.00841576137658, 0.01128632613196},
    {12.89436956213913, -15.11115140169863, -0.22330757889266, 1.08279100644154, 0.86871301816961, -0.01083263740136, 0.00172372405705},
    {15.37969711485092, -25.91931460998796, 0.17925877295037, 0.97909073224390, 0.59469899864767, -0.03475595555078, 0.00203368686992},
  };
  while (turns--) {
    for (int i = 0; i < 5; i++) {
      Body *a = &bodies[i];
      for (int j = i + 1; j < 5; j++) {
        Body *b = &bodies[j];
        double dx = a->x - b->x, dy = a->y - b->y, dz = a->z - b->z;
        double square = dx * dx + dy * dy + dz * dz;
        double strength = 0.001 / (square * __builtin_sqrt(square));
        double from_b = b->mass * strength, from_a = a->mass * strength;
        a->vx -= dx * from_b;
        a->vy -= dy * from_b;
        a->vz -= dz * from_b;
        b->vx += dx * from_a;
        b->vy += dy * from_a;
        b->vz += dz * from_a;
      }
    }
    for (int i = 0; i < 5; i++) {
      bodies[i].x += 0.001 * bodies[i].vx;
      bodies[i].y += 0.001 * bodies[i].vy;
      bodies[i].z += 0.001 * bodies[i].vz;
    }
  }
  return (word)(int)(bodies[0].x * 1e6) + 31 * (word)(int)(bodies[1].y * 1e6);
}
