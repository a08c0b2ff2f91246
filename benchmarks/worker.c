/* The measured worker: does one thing and tells when, on the monotonic clock, by one write to a FIFO.
 *   worker stamp FIFO               tells "<pid> <ns>" and exits
 *   worker hold  FIFO               tells the same and waits to be killed
 *   worker write FIFO SIZE TOTAL    writes TOTAL bytes to standard output, SIZE at a time, lines of 100 bytes;
 *                                   tells "<ns before> <ns after>"
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static long long now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1000000000LL + t.tv_nsec;
}

static void tell(const char *fifo, long long a, long long b) {
    char text[64];
    int length = snprintf(text, sizeof text, "%lld %lld\n", a, b);
    int fd = open(fifo, O_WRONLY);
    if (fd < 0 || write(fd, text, length) != length)
        exit(1);
    close(fd);
}

static void fill(long long size, long long total) {
    char *block = malloc(size);
    for (long long i = 0; i < size; i++)
        block[i] = i % 100 == 99 ? '\n' : 'x';
    for (long long done = 0, n; done < total; done += n)
        if ((n = write(1, block, size)) <= 0)
            exit(1);
}

int main(int argc, char **argv) {
    long long begin = now();
    if (argc < 3)
        return 2;
    if (strcmp(argv[1], "write") != 0) {
        tell(argv[2], getpid(), begin);
        while (strcmp(argv[1], "hold") == 0)
            pause();
        return 0;
    }
    fill(atoll(argv[3]), atoll(argv[4]));
    tell(argv[2], begin, now());
    return 0;
}
