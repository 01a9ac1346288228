/* Hold objects until standard input ends. Arguments: m:PATH maps a file of /dev/shm and closes it, o:PATH opens it,
 * q:NAME opens a POSIX queue. Writes one byte when all is held.
 */
#include <fcntl.h>
#include <mqueue.h>
#include <stdio.h>
#include <sys/mman.h>
#include <unistd.h>

int main(int argc, char **argv) {
    for (int i = 1; i < argc; i++) {
        const char *name = argv[i] + 2;
        if (argv[i][0] == 'q') {
            if (mq_open(name, O_RDONLY) < 0) { perror(name); return 1; }
            continue;
        }
        int fd = open(name, O_RDWR | O_CLOEXEC);
        if (fd < 0) { perror(name); return 1; }
        if (argv[i][0] == 'm') {
            if (mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0) == MAP_FAILED) { perror(name); return 1; }
            close(fd);
        }
    }
    char byte = '.';
    if (write(1, &byte, 1) != 1) return 1;
    return read(0, &byte, 1) < 0;
}
