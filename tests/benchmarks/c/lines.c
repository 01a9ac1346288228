/* A writer of numbered lines of 80 bytes: `w03 000000017 aaaa…`, each in one write(2) unless BLOCK gathers them.
 * It says READY (its pid, one line appended) and waits until nobody holds GATE locked any more.
 * usage: lines COUNT RATE BLOCK GATE READY ID [COUNTER]
 * RATE: lines a second, 0 as fast as it goes; BLOCK: bytes a write, 0 a line;
 * COUNTER: a file of two longs: how many lines the kernel has taken so far, whatever ends this program, and its pid */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#define LINE 80
#define DIGITS 13 /* where the number in a line ends */

static void put(const char *text, size_t size)
{
	while (size) {
		ssize_t done = write(1, text, size);
		if (done < 0) {
			perror("write");
			exit(1);
		}
		text += done;
		size -= done;
	}
}

int main(int argc, char **argv)
{
	if (argc != 7 && argc != 8) {
		fprintf(stderr, "usage: lines COUNT RATE BLOCK GATE READY ID [COUNTER]\n");
		return 2;
	}
	long count = atol(argv[1]), rate = atol(argv[2]);
	size_t block = atol(argv[3]) / LINE * LINE;
	int gate = open(argv[4], O_RDONLY), ready = open(argv[5], O_WRONLY | O_APPEND);
	char line[LINE + 1], pid[32], *buffer = malloc(block + LINE);
	size_t held = 0;
	struct timespec next;
	long unseen[2], *counter = unseen;

	if (argc == 8) {
		int file = open(argv[7], O_RDWR | O_CREAT, 0600);
		if (file < 0 || ftruncate(file, sizeof unseen)) {
			perror("lines");
			return 1;
		}
		counter = mmap(NULL, sizeof unseen, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
		if (counter == MAP_FAILED) {
			perror("lines");
			return 1;
		}
		counter[1] = getpid();
	}
	if (gate < 0 || ready < 0 || !buffer) {
		perror("lines");
		return 1;
	}
	snprintf(pid, sizeof pid, "%d\n", getpid());
	if (write(ready, pid, strlen(pid)) < 0 || flock(gate, LOCK_SH)) {
		perror("lines");
		return 1;
	}
	memset(line, 'a', LINE);
	line[LINE - 1] = '\n';
	snprintf(pid, sizeof pid, "w%02d %09d ", atoi(argv[6]) % 100, 0);
	memcpy(line, pid, strlen(pid));
	clock_gettime(CLOCK_MONOTONIC, &next);
	for (long number = 0; number < count; number++) {
		if (number) /* counts in the text itself: what a writer does beside its write(2) is not what is measured */
			for (char *digit = line + DIGITS - 1; ++*digit > '9'; digit--)
				*digit = '0';
		if (rate) {
			next.tv_nsec += 1000000000 / rate;
			if (next.tv_nsec >= 1000000000) {
				next.tv_nsec -= 1000000000;
				next.tv_sec++;
			}
			clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &next, NULL);
		}
		if (!block) {
			put(line, LINE);
			*(volatile long *)counter = number + 1;
			continue;
		}
		memcpy(buffer + held, line, LINE);
		held += LINE;
		if (held >= block) {
			put(buffer, held);
			held = 0;
		}
	}
	put(buffer, held);
	return 0;
}
