/* Says that it is ready, after a while, and writes when that was and when it began; then sleeps until a signal.
 * usage: pacer HOW WHERE FILE NUMBER LEAST MOST
 * HOW and WHERE: fd NUMBER | notify - | log - | file PATH | segment NAME | tcp PORT | unix PATH | stopped - | none -
 * LEAST and MOST: milliseconds that it waits before.
 * One line to FILE: NUMBER, nanoseconds of CLOCK_MONOTONIC at the first instruction of main, and right before it says
 * that it is ready. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <fcntl.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

static long long now(void)
{
	struct timespec time;

	clock_gettime(CLOCK_MONOTONIC, &time);
	return time.tv_sec * 1000000000LL + time.tv_nsec;
}

static int local(const char *path, struct sockaddr_un *address)
{
	memset(address, 0, sizeof *address);
	address->sun_family = AF_UNIX;
	strncpy(address->sun_path, path, sizeof address->sun_path - 1);
	if (address->sun_path[0] == '@')
		address->sun_path[0] = 0;
	return offsetof(struct sockaddr_un, sun_path) + strlen(path);
}

static int notify(void)
{
	const char *path = getenv("NOTIFY_SOCKET");
	int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	struct sockaddr_un address;
	socklen_t length;

	if (!path || fd < 0)
		return -1;
	length = local(path, &address);
	return sendto(fd, "READY=1", 7, 0, (struct sockaddr *)&address, length) == 7 ? 0 : -1;
}

static int listening(const char *how, const char *where)
{
	struct sockaddr_in port = { .sin_family = AF_INET, .sin_port = htons(atoi(where)),
				    .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	struct sockaddr_un path;
	int tcp = !strcmp(how, "tcp"), on = 1;
	int fd = socket(tcp ? AF_INET : AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (tcp)
		setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
	if (tcp ? bind(fd, (struct sockaddr *)&port, sizeof port)
		: bind(fd, (struct sockaddr *)&path, local(where, &path)))
		return -1;
	return listen(fd, 10);
}

static int say(const char *how, const char *where)
{
	int fd;

	if (!strcmp(how, "fd"))
		return write(atoi(where), "\n", 1) == 1 ? 0 : -1;
	if (!strcmp(how, "notify"))
		return notify();
	if (!strcmp(how, "log"))
		return write(1, "ready\n", 6) == 6 ? 0 : -1;
	if (!strcmp(how, "file"))
		return open(where, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
	if (!strcmp(how, "segment"))
		return (fd = shm_open(where, O_RDWR | O_CREAT | O_EXCL, 0600)) < 0 ? -1 : ftruncate(fd, 4096);
	if (!strcmp(how, "stopped"))
		return raise(SIGSTOP);
	return strcmp(how, "none") ? listening(how, where) : 0;
}

int main(int argc, char **argv)
{
	long long began = now(), ready;
	double least, most;
	struct timespec pause_for;
	char line[80];
	int fd, length;

	if (argc != 7) {
		fprintf(stderr, "usage: pacer HOW WHERE FILE NUMBER LEAST MOST\n");
		return 2;
	}
	least = atof(argv[5]), most = atof(argv[6]);
	srandom(began ^ getpid());
	least = (least + (most - least) * random() / RAND_MAX) * 1e6;
	pause_for.tv_sec = least / 1e9;
	pause_for.tv_nsec = least - pause_for.tv_sec * 1e9;
	nanosleep(&pause_for, NULL);

	ready = now();
	if (say(argv[1], argv[2]) < 0) {
		perror(argv[1]);
		return 1;
	}
	length = snprintf(line, sizeof line, "%s %lld %lld\n", argv[4], began, ready);
	fd = open(argv[3], O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600);
	if (fd < 0 || write(fd, line, length) != length) {
		perror(argv[3]);
		return 1;
	}
	close(fd);
	pause();
	return 0;
}
