/* The floor of a launch: N children by posix_spawn, two pipes each, then wait for SIGTERM and end them.
 * usage: spawner COUNT PROGRAM ARGUMENT... */
#define _GNU_SOURCE
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;

int main(int argc, char **argv)
{
	int count = argc > 2 ? atoi(argv[1]) : 0;
	pid_t *pids = calloc(count + 1, sizeof *pids);
	struct rlimit files;
	sigset_t wanted;
	int got;

	getrlimit(RLIMIT_NOFILE, &files);
	files.rlim_cur = files.rlim_max;
	setrlimit(RLIMIT_NOFILE, &files);
	sigemptyset(&wanted);
	sigaddset(&wanted, SIGTERM);
	sigprocmask(SIG_BLOCK, &wanted, NULL);

	for (int i = 0; i < count; i++) {
		posix_spawn_file_actions_t actions;
		posix_spawnattr_t attributes;
		sigset_t none;
		int out[2], err[2];

		if (pipe2(out, O_CLOEXEC) || pipe2(err, O_CLOEXEC)) {
			perror("pipe2");
			return 1;
		}
		posix_spawn_file_actions_init(&actions);
		posix_spawn_file_actions_adddup2(&actions, out[1], 1);
		posix_spawn_file_actions_adddup2(&actions, err[1], 2);
		sigemptyset(&none);
		posix_spawnattr_init(&attributes);
		posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGMASK);
		posix_spawnattr_setsigmask(&attributes, &none);
		if (posix_spawn(&pids[i], argv[2], &actions, &attributes, argv + 2, environ)) {
			perror("posix_spawn");
			return 1;
		}
		posix_spawnattr_destroy(&attributes);
		posix_spawn_file_actions_destroy(&actions);
		close(out[1]);
		close(err[1]);
	}
	sigwait(&wanted, &got);
	for (int i = 0; i < count; i++)
		kill(pids[i], SIGTERM);
	while (wait(NULL) > 0)
		;
	return 0;
}
