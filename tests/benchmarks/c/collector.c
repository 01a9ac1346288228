/* The floor of collecting logs: N writers, two pipes each, one epoll; each line becomes a JSON object with the keys that
 * a captured line has, appended to one file. PIPE is what each pipe holds; it is read in pieces of 64 KiB, up to 16 of
 * one stream in a row, and what was made of them is written as soon as it is 128 KiB.
 * usage: collector OUT GATHER PIPE N PROGRAM ARGUMENT...   each program gets its number as a last argument;
 * GATHER: milliseconds between two looks at the pipes, 0 to look whenever there is something */
#define _GNU_SOURCE
#include <fcntl.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <time.h>
#include <unistd.h>

#define PIECE 65536
#define TURN 16
#define FULL 131072
#define RECORD 512 /* what a record has beside its message, generously */

struct stream {
	int fd;
	char foot[256]; /* what follows the message in a record */
	size_t foot_size, held;
	char *tail; /* an unfinished line */
};

extern char **environ;
static unsigned char escaped[256];
static char *out;
static size_t size, room;

static void flush_to(int file)
{
	for (size_t done = 0; done < size;) {
		ssize_t written = write(file, out + done, size - done);
		if (written < 0) {
			perror("write");
			exit(1);
		}
		done += written;
	}
	size = 0;
}

static void reserve(size_t more)
{
	if (size + more > room) {
		room = (size + more) * 2;
		out = realloc(out, room);
		if (!out)
			exit(1);
	}
}

static void add(const char *text, size_t length)
{
	memcpy(out + size, text, length);
	size += length;
}

static void record(const struct stream *stream, const char *head, size_t head_size, const char *line, size_t length)
{
	unsigned char special = 0;

	reserve(6 * length + RECORD);
	add(head, head_size);
	for (size_t i = 0; i < length; i++)
		special |= escaped[(unsigned char)line[i]];
	if (!special) {
		add(line, length);
	} else {
		for (size_t i = 0; i < length; i++) {
			if (escaped[(unsigned char)line[i]])
				size += sprintf(out + size, "\\u%04x", line[i]);
			else
				out[size++] = line[i];
		}
	}
	add(stream->foot, stream->foot_size);
}

static void take(struct stream *stream, size_t got, const char *head, size_t head_size)
{
	char *line = stream->tail, *end = stream->tail + stream->held + got, *newline;

	while ((newline = memchr(line, '\n', end - line))) {
		record(stream, head, head_size, line, newline - line);
		line = newline + 1;
	}
	stream->held = end - line;
	if (stream->held > PIECE) { /* too long for this floor: not measured */
		fprintf(stderr, "a line is too long\n");
		exit(1);
	}
	memmove(stream->tail, line, stream->held);
}

static size_t stamp(char *head)
{
	static time_t second = -1;
	static char date[32];
	struct timespec now;

	clock_gettime(CLOCK_REALTIME, &now);
	if (now.tv_sec != second) {
		struct tm broken;
		second = now.tv_sec;
		gmtime_r(&second, &broken);
		strftime(date, sizeof date, "%Y-%m-%dT%H:%M:%S", &broken);
	}
	return sprintf(head, "{\"timestamp\":\"%s.%06ldZ\",\"message\":\"", date, now.tv_nsec / 1000);
}

static void start(struct stream *streams, int index, char **argv, int count, int pipe_size)
{
	posix_spawn_file_actions_t actions;
	static const char *names[] = {"stdout", "stderr"};
	int ends[2][2];
	char number[16], *words[32];
	pid_t pid;

	posix_spawn_file_actions_init(&actions);
	for (int i = 0; i < 2; i++) {
		if (pipe2(ends[i], O_CLOEXEC))
			exit(1);
		fcntl(ends[i][0], F_SETPIPE_SZ, pipe_size);
		fcntl(ends[i][0], F_SETFL, O_NONBLOCK);
		posix_spawn_file_actions_adddup2(&actions, ends[i][1], i + 1);
	}
	for (int i = 0; i < count; i++)
		words[i] = argv[i];
	snprintf(number, sizeof number, "%d", index);
	words[count] = number;
	words[count + 1] = NULL;
	if (posix_spawn(&pid, words[0], &actions, NULL, words, environ))
		exit(1);
	posix_spawn_file_actions_destroy(&actions);
	for (int i = 0; i < 2; i++) {
		struct stream *stream = streams + 2 * index + i;
		close(ends[i][1]);
		stream->fd = ends[i][0];
		stream->tail = malloc(3 * PIECE);
		stream->foot_size = snprintf(stream->foot, sizeof stream->foot,
			"\",\"run\":\"abcdefgh\",\"process\":\"w%02d\",\"replica\":1,\"pid\":%d,\"stream\":\"%s\"}\n",
			index, pid, names[i]);
	}
}

int main(int argc, char **argv)
{
	if (argc < 6 || argc > 30) {
		fprintf(stderr, "usage: collector OUT GATHER PIPE N PROGRAM ARGUMENT...\n");
		return 2;
	}
	int file = open(argv[1], O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
	int gather = atoi(argv[2]), pipe_size = atoi(argv[3]), count = atoi(argv[4]), open_streams = 2 * count;
	int poll = epoll_create1(EPOLL_CLOEXEC);
	struct stream *streams = calloc(2 * count, sizeof *streams);
	struct epoll_event *events = calloc(2 * count, sizeof *events);
	struct timespec pause = {gather / 1000, gather % 1000 * 1000000L};

	for (int i = 0; i < 32; i++)
		escaped[i] = 1;
	escaped['"'] = escaped['\\'] = 1;
	for (int i = 0; i < count; i++)
		start(streams, i, argv + 5, argc - 5, pipe_size);
	for (int i = 0; i < 2 * count; i++) {
		struct epoll_event event = {.events = EPOLLIN, .data.ptr = streams + i};
		epoll_ctl(poll, EPOLL_CTL_ADD, streams[i].fd, &event);
	}
	while (open_streams) {
		int ready = epoll_wait(poll, events, 2 * count, -1);
		char head[128];
		size_t head_size = stamp(head);

		for (int i = 0; i < ready; i++) {
			struct stream *stream = events[i].data.ptr;
			ssize_t got = PIECE;

			for (int turn = 0; turn < TURN && got == PIECE; turn++) {
				got = read(stream->fd, stream->tail + stream->held, PIECE);
				if (got > 0)
					take(stream, got, head, head_size);
				if (size >= FULL)
					flush_to(file);
			}
			if (got == 0) {
				epoll_ctl(poll, EPOLL_CTL_DEL, stream->fd, NULL);
				close(stream->fd);
				open_streams--;
			}
		}
		if (size)
			flush_to(file);
		if (gather)
			nanosleep(&pause, NULL);
	}
	return 0; /* without wait(): the writers' processor time is not to be counted as ours */
}
