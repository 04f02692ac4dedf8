/* An agent that asks a service on 127.0.0.1 again and again, each time over a new connection, and
   writes the nanoseconds that each answer took into its home.
   usage: ask SERVICE-PORT PROXY-PORT ROUNDS    without a proxy if that port is 0 */
#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

static int ask(int service, int proxy) {
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_port = htons(proxy ? proxy : service)};
    at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int s = socket(AF_INET, SOCK_STREAM, 0);
    if (s < 0 || connect(s, (struct sockaddr *)&at, sizeof at) != 0) return 0;
    char words[300], answer[4096];
    char host[60] = "";
    if (proxy) snprintf(host, sizeof host, "http://127.0.0.1:%d", service);
    int len = snprintf(words, sizeof words,
                       "GET %s/ HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nConnection: close\r\n\r\n", host,
                       service);
    if (write(s, words, len) != len) return 0;
    long total = 0, n;
    int good = 0;
    while ((n = read(s, answer, sizeof answer)) > 0) {
        if (total == 0) good = n > 12 && answer[9] == '2';
        total += n;
    }
    close(s);
    return good;
}

int main(int argc, char **argv) {
    const char *home = getenv("HOME");
    if (argc < 4 || !home || chdir(home) != 0) return 1;
    FILE *file = fopen("took", "w");
    if (!file) return 1;
    for (int i = 0; i < atoi(argv[3]); i++) {
        struct timespec a, b;
        clock_gettime(CLOCK_MONOTONIC, &a);
        if (!ask(atoi(argv[1]), atoi(argv[2]))) return 2;
        clock_gettime(CLOCK_MONOTONIC, &b);
        fprintf(file, "%lld\n", (b.tv_sec - a.tv_sec) * 1000000000LL + (b.tv_nsec - a.tv_nsec));
    }
    return fclose(file) != 0;
}
