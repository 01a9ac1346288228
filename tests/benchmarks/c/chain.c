/* The floor of readiness: COUNT pacers, each started by posix_spawn when a newline of the one before has come.
 * usage: chain COUNT PACER FILE LEAST MOST; then sleeps until a signal. Its group is there to be ended with it. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

extern char **environ;

int main(int argc, char **argv)
{
	int count = argc == 6 ? atoi(argv[1]) : 0;
	char number[16], byte;
	pid_t pid;

	for (int i = 0; i < count; i++) {
		char *words[] = { argv[2], "fd", "9", argv[3], number, argv[4], argv[5], NULL };
		posix_spawn_file_actions_t actions;
		int ready[2];

		if (pipe2(ready, O_CLOEXEC)) {
			perror("pipe2");
			return 1;
		}
		snprintf(number, sizeof number, "%d", i);
		posix_spawn_file_actions_init(&actions);
		posix_spawn_file_actions_adddup2(&actions, ready[1], 9);
		if (posix_spawn(&pid, argv[2], &actions, NULL, words, environ)) {
			perror("posix_spawn");
			return 1;
		}
		posix_spawn_file_actions_destroy(&actions);
		close(ready[1]);
		if (read(ready[0], &byte, 1) != 1) {
			fprintf(stderr, "pacer %d ended\n", i);
			return 1;
		}
		close(ready[0]);
	}
	pause();
	return 0;
}
