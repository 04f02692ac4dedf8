/* An agent that writes down when it came to life, as nanoseconds since 1970, into its home.
   With a second argument it then waits to be ended (five minutes at most). */
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

int main(int argc, char **argv) {
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    (void)argv;
    const char *home = getenv("HOME");
    if (!home || chdir(home) != 0) return 1;
    FILE *file = fopen("first-instruction", "w");
    if (!file) return 1;
    fprintf(file, "%lld%09ld\n", (long long)now.tv_sec, now.tv_nsec);
    if (fclose(file) != 0) return 1;
    if (argc > 2) sleep(300);
    return 0;
}
