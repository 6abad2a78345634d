#include "system.h"
/* fork, exec of BusyBox's true, wait. */
static int program(int count) {
  const char *arguments[] = {"true", 0}, *environment[] = {0};
  long failures = 0;
  while (count--) {
    int status = -1;
    long child = system_call(sys_fork, 0, 0, 0, 0);
    if (child == 0) {
      system_call(sys_execve, (long)"/bin/true", (long)arguments, (long)environment, 0);
      system_call(sys_exit, 127, 0, 0, 0);
    }
    failures += system_call(sys_wait4, child, (long)&status, 0, 0) != child || status != 0;
  }
  return failures != 0;
}
