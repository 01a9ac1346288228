/* The floor of a queue: one producer and one consumer on the processor the caller has bound us to.
 * usage: queue posix|sysv NAME|ID SIZE COUNT; prints the seconds of processor time that COUNT messages took. */
#include <mqueue.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ipc.h>
#include <sys/msg.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

static double spent(int who)
{
	struct rusage usage;

	getrusage(who, &usage);
	return usage.ru_utime.tv_sec + usage.ru_stime.tv_sec + (usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6;
}

int main(int argc, char **argv)
{
	int posix = argc == 5 && !strcmp(argv[1], "posix");
	size_t size = argc == 5 ? strtoul(argv[3], NULL, 10) : 0;
	long count = argc == 5 ? atol(argv[4]) : 0;
	struct message { long type; char text[]; } *message = calloc(1, sizeof *message + size + 8192);
	mqd_t queue = posix ? mq_open(argv[2], O_RDWR) : -1;
	int id = posix || argc != 5 ? -1 : atoi(argv[2]);
	struct mq_attr shape = {0};
	int status = 0;

	if (argc != 5 || (posix && (queue == (mqd_t)-1 || mq_getattr(queue, &shape)))) {
		perror("queue");
		return 2;
	}
	message->type = 1;
	double start = spent(RUSAGE_SELF);
	pid_t consumer = fork();
	for (long i = 0; i < count; i++) {
		ssize_t done;
		if (consumer)
			done = posix ? mq_send(queue, message->text, size, 0) : msgsnd(id, message, size, 0);
		else
			done = posix ? mq_receive(queue, message->text, shape.mq_msgsize, NULL) : msgrcv(id, message, size, 0, 0);
		if (done < 0) {
			perror("message");
			return 1;
		}
	}
	if (!consumer)
		return 0;
	waitpid(consumer, &status, 0);
	printf("%.9f\n", spent(RUSAGE_SELF) - start + spent(RUSAGE_CHILDREN));
	return status ? 1 : 0;
}
