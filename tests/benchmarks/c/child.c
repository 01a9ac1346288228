/* A child that says that it runs: writes its pid to a FIFO, then sleeps until a signal. usage: child FIFO */
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

int main(int argc, char **argv)
{
	char line[32];
	int fd = argc > 1 ? open(argv[1], O_WRONLY) : -1;
	int length = snprintf(line, sizeof line, "%d\n", (int)getpid());

	if (fd < 0 || write(fd, line, length) != length) {
		perror("child");
		return 1;
	}
	close(fd);
	pause();
	return 0;
}
