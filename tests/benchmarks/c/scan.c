/* One scan as `orchestra audit` makes it, in C: list every IPC object of this place and find the holders of each.
 *
 * Lists /dev/shm and a queue file system with fstatat, reads the three tables of /proc/sysvipc whole, then makes one
 * pass over /proc: descriptors by fstatat, maps as text where a device tag or /SYSV occurs, blocked calls. Holders are
 * matched by device and inode in a hash table. Prints how many objects there are and how many of them are held.
 *
 * Usage: scan QUEUE_FOLDER
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#define SLOTS (1u << 17)

struct object { uint64_t dev, ino; int used, held; };
static struct object table[SLOTS];
static long objects, held;

static struct object *slot(uint64_t dev, uint64_t ino) {
    uint64_t hash = (ino * 0x9E3779B97F4A7C15ull) ^ (dev * 0xC2B2AE3D27D4EB4Full);
    for (uint32_t i = (uint32_t)(hash >> 40);; i++) {
        struct object *one = &table[i & (SLOTS - 1)];
        if (!one->used || (one->dev == dev && one->ino == ino)) return one;
    }
}

static void add(uint64_t dev, uint64_t ino) {
    struct object *one = slot(dev, ino);
    if (one->used) return;
    *one = (struct object){dev, ino, 1, 0};
    objects++;
}

static void found(uint64_t dev, uint64_t ino) {
    struct object *one = slot(dev, ino);
    if (one->used && !one->held) { one->held = 1; held++; }
}

static dev_t list_folder(const char *path) {
    struct stat st;
    DIR *folder = opendir(path);
    if (!folder || fstat(dirfd(folder), &st)) { perror(path); exit(1); }
    dev_t device = st.st_dev;
    for (struct dirent *entry; (entry = readdir(folder));) {
        if (entry->d_name[0] == '.' && (!entry->d_name[1] || (entry->d_name[1] == '.' && !entry->d_name[2]))) continue;
        if (!fstatat(dirfd(folder), entry->d_name, &st, AT_SYMLINK_NOFOLLOW)) add(st.st_dev, st.st_ino);
    }
    closedir(folder);
    return device;
}

static size_t capacity = 1 << 20;
static char *buffer;

static ssize_t slurp(const char *path) {
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) return -1;
    size_t length = 0;
    for (ssize_t got; (got = read(fd, buffer + length, capacity - length - 1)) > 0;) {
        length += (size_t)got;
        if (capacity - length < 65536) buffer = realloc(buffer, capacity *= 2);
    }
    close(fd);
    buffer[length] = 0;
    return (ssize_t)length;
}

/* A System V object's "device" is its table, above any st_dev. */
static long long sysv_table(const char *path, int which, int owner_columns) {
    long long attached = 0;
    if (slurp(path) < 0) return 0;
    char *line = strchr(buffer, '\n');
    while (line && line[1]) {
        char *at = line + 1;
        long long number[16] = {0};
        for (int i = 0; i < owner_columns; i++) number[i] = strtoll(at, &at, i == 2 ? 8 : 10);
        add((uint64_t)1 << (40 + which), (uint64_t)number[1]);
        if (which == 1 && number[6]) { attached++; found((uint64_t)1 << 41, (uint64_t)number[1]); }
        line = strchr(at, '\n');
    }
    return attached;
}

static void scan_process(const char *pid, dev_t shm, dev_t queues) {
    char path[512], link[512];
    struct stat st;
    snprintf(path, sizeof path, "/proc/%s/fd", pid);
    DIR *fds = opendir(path);
    if (fds) {
        for (struct dirent *entry; (entry = readdir(fds));) {
            if (entry->d_name[0] == '.') continue;
            ssize_t length = readlinkat(dirfd(fds), entry->d_name, link, sizeof link - 1);
            if (length < 1 || link[0] != '/') continue;
            link[length] = 0;
            if (!strcmp(link, "/dev/null")) continue;
            if (!fstatat(dirfd(fds), entry->d_name, &st, 0) && (st.st_dev == shm || st.st_dev == queues))
                found(st.st_dev, st.st_ino);
        }
        closedir(fds);
    }
    snprintf(path, sizeof path, "/proc/%s/maps", pid);
    if (slurp(path) > 0) {
        char tag[32];
        snprintf(tag, sizeof tag, " %02x:%02x ", major(shm), minor(shm));
        for (char *at = buffer; (at = strstr(at, tag)); at += 8) found(shm, strtoull(at + strlen(tag), NULL, 10));
    }
    snprintf(path, sizeof path, "/proc/%s/syscall", pid);
    slurp(path);
    unsigned long long argument;
    int number;
    if (sscanf(buffer, "%d 0x%llx", &number, &argument) == 2) {
        if (number == 69 || number == 70) found((uint64_t)1 << 40, argument);
        if (number == 65 || number == 220) found((uint64_t)1 << 42, argument);
    }
}

int main(int argc, char **argv) {
    if (argc != 2) { fprintf(stderr, "usage: scan QUEUE_FOLDER\n"); return 2; }
    buffer = malloc(capacity);
    dev_t shm = list_folder("/dev/shm"), queues = list_folder(argv[1]);
    sysv_table("/proc/sysvipc/msg", 0, 14);
    sysv_table("/proc/sysvipc/shm", 1, 16);
    sysv_table("/proc/sysvipc/sem", 2, 10);
    DIR *proc = opendir("/proc");
    for (struct dirent *entry; (entry = readdir(proc));)
        if (entry->d_name[0] >= '1' && entry->d_name[0] <= '9') scan_process(entry->d_name, shm, queues);
    closedir(proc);
    printf("%ld objects, %ld held\n", objects, held);
    return 0;
}
