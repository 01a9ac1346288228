/* Fills frames with noise and hands them over through the ring. */
#include "ring.h"

static uint64_t noise(void) { /* xorshift64: the same every time */
    static uint64_t state = 88172645463325252;
    state ^= state << 13;
    state ^= state >> 7;
    return state ^= state << 17;
}

int main(int argc, char **argv) {
    uint64_t frames = argc > 1 ? strtoull(argv[1], NULL, 10) : 1000, bytes = 0, total = checksum_start;
    struct ring ring = attach(PROT_READ | PROT_WRITE);

    for (uint64_t number = 0; number <= frames; number++) {
        take(ring.free);
        struct frame *frame = &ring.frames[number % ring.slots];
        frame->number = number;
        frame->length = number == frames ? 0 : 1 + noise() % sizeof frame->data;
        for (uint64_t i = 0; i < frame->length; i++)
            frame->data[i] = (unsigned char)(noise() >> 32);
        frame->checksum = checksum(checksum_start, frame->data, frame->length);
        bytes += frame->length;
        total = checksum(total, frame->data, frame->length);
        sem_post(ring.used);
    }
    printf("sent     %" PRIu64 " frames, %" PRIu64 " bytes, checksum %016" PRIx64 "\n", frames, bytes, total);
    return 0;
}
