/* What producer and consumer share: the frame, its checksum, and how to get at the ring. */
#define _POSIX_C_SOURCE 200809L
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <orchestra.h>
#include <semaphore.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

struct frame {
    uint64_t number;
    uint64_t checksum;
    uint64_t length; /* of the data; 0 says that no frame follows */
    unsigned char data[4096 - 3 * sizeof(uint64_t)];
};

struct ring {
    struct frame *frames;
    uint64_t slots;
    sem_t *free, *used;
};

static void fail(const char *what) {
    char text[200];
    snprintf(text, sizeof text, "%s: %s", what, strerror(errno));
    orchestra_log("error", text);
    exit(1);
}

static sem_t *semaphore(const char *key) {
    const char *name = orchestra_name(key);
    sem_t *found = name == NULL ? SEM_FAILED : sem_open(name, 0);
    if (found == SEM_FAILED)
        fail(key);
    return found;
}

/* The segment arrives as an open descriptor, with just the access that `uses` declares. */
static struct ring attach(int protection) {
    struct ring ring;
    size_t size = (size_t)orchestra_size("frames");
    void *memory = mmap(NULL, size, protection, MAP_SHARED, orchestra_fd("frames"), 0);
    if (memory == MAP_FAILED)
        fail("frames");
    ring.frames = memory;
    ring.slots = size / sizeof(struct frame);
    ring.free = semaphore("free");
    ring.used = semaphore("used");
    return ring;
}

static void take(sem_t *semaphore) {
    while (sem_wait(semaphore) != 0)
        if (errno != EINTR)
            fail("sem_wait");
}

/* FNV-1a, 64 bits. */
static uint64_t checksum(uint64_t sum, const void *bytes, size_t length) {
    for (const unsigned char *p = bytes; length > 0; p++, length--)
        sum = (sum ^ *p) * UINT64_C(1099511628211);
    return sum;
}

static const uint64_t checksum_start = UINT64_C(14695981039346656037);
