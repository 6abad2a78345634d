#include "../bench.h"
/* In the manner of Dhrystone: records behind pointers, strings, small functions, a switch, multiplications and divisions. */
typedef struct Record {
  struct Record *next;
  int kind, choice, number;
  char text[32];
} Record;

static int global_number;
static char global_letter;

static NOINLINE void copy_text(char *to, const char *from) {
  while ((*to++ = *from++)) {}
}
static NOINLINE int compare_text(const char *a, const char *b) {
  while (*a && *a == *b) a++, b++;
  return (byte)*a - (byte)*b;
}
static NOINLINE int classify(int value) {
  switch (value) {
    case 0: return 3;
    case 1: return global_number > 100 ? 0 : 3;
    case 2: return 1;
    case 3: return 4;
    case 4: return 2;
    default: return value & 3;
  }
}
static NOINLINE void add_seven(int a, int b, int *result) { *result = a + 2 + b; }
static NOINLINE void fill(int *row, int (*matrix)[50], int index, int value) {
  int at = index + 5;
  row[at] = value;
  row[at + 1] = row[at];
  row[at + 30] = at;
  for (int i = at; i <= at + 1; i++) matrix[at][i] = at;
  matrix[at][at - 1]++;
  matrix[at + 20 < 50 ? at + 20 : 0][at] = row[at];
  global_number = 5;
}
static NOINLINE void follow(Record *record) {
  Record *next = record->next;
  *next = *record;
  record->number = 5;
  next->number = record->number;
  next->next = record->next;
  if (next->kind == 0) {
    next->number = 6;
    next->choice = classify(record->choice);
    add_seven(next->number, 10, &next->number);
  } else {
    *record = *next;
  }
}
static NOINLINE int letters(char a, char b) {
  char copy = a;
  if (copy != b) return 0;
  global_letter = a;
  return 1;
}

static word run(word turns) {
  Record *first = (Record *)MEMORY, *second = first + 1;
  int *row = (int *)(MEMORY + 4096);
  int(*matrix)[50] = (int(*)[50])(MEMORY + 8192);
  word sum = 0;
  char text[32];
  first->next = second;
  first->choice = 2;
  first->number = 40;
  copy_text(first->text, "a program that does its work");
  for (word i = 1; i <= turns; i++) {
    int a = 2, b = 3, c = 0;
    copy_text(text, "a program that does its best");
    if (compare_text(first->text, text) > 0) c = 1;
    while (a < b) {
      c += 5 * a - b;
      add_seven(a, b, &c);
      a++;
    }
    fill(row, matrix, (int)(i & 7), c);
    first->kind = (int)(i & 1);
    follow(first);
    for (char letter = 'A'; letter <= 'C'; letter++)
      if (letters(letter, 'B')) b = classify((int)(i & 7));
    b = b * a;
    a = b / ((c & 15) | 1);
    b = 7 * (b - c) - a;
    sum = sum * 17 + (word)(a ^ b) + (word)second->number + (byte)global_letter;
  }
  return sum;
}
