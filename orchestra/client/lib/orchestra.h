/* orchestra.h: what a C or C++ program inside a run knows about its objects. Header only, C11 and C++17, Linux.
 *
 *     cc $(orchestra cflags) -o worker worker.c        or, in a run:  cc -I"$ORCHESTRA_PATH" ...
 *
 *     mqd_t jobs = mq_open(orchestra_name("jobs"), O_RDONLY);       // POSIX: by name
 *     int results = orchestra_id("results");                        // System V: by id, or by orchestra_key()
 *     int board = orchestra_fd("board");                            // inherited: POSIX queue, segment, memfd, pipe
 *     orchestra_ready();
 *
 * Keys are those of the topology file. Outside a run, and for what an object does not have, every function that
 * returns a pointer returns NULL and every other one -1.
 */
#ifndef ORCHESTRA_H
#define ORCHESTRA_H

#include <errno.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ipc.h>
#include <sys/socket.h>
#include <sys/types.h>
#include <sys/un.h>
#include <unistd.h>

/* The value of ORCHESTRA_<KEY><ending>, or NULL: "free-slots" is in ORCHESTRA_FREE_SLOTS. */
static inline const char *orchestra_variable_(const char *key, const char *ending) {
    char name[64] = "ORCHESTRA_";
    size_t n = strlen(name);
    if (getenv("ORCHESTRA_VERSION") == NULL || strlen(key) + strlen(ending) + n >= sizeof name)
        return NULL;
    for (; *key != '\0'; key++)
        name[n++] = (char)(*key == '-' ? '_' : *key >= 'a' && *key <= 'z' ? *key - 'a' + 'A' : *key);
    strcpy(name + n, ending);
    return getenv(name);
}

static inline long long orchestra_number_(const char *text) {
    char *end = NULL;
    long long number = text == NULL || *text == '\0' ? -1 : strtoll(text, &end, 0);
    return end == NULL || *end != '\0' ? -1 : number;
}

/* Name of a POSIX object, path of a file or FIFO. */
static inline const char *orchestra_name(const char *key) {
    const char *value = orchestra_variable_(key, "");
    return value != NULL && *value == '/' ? value : NULL;
}

/* Identifier of a System V object. */
static inline int orchestra_id(const char *key) {
    return (int)orchestra_number_(orchestra_variable_(key, ""));
}

/* Key of a System V object; IPC_PRIVATE (0) cannot be looked up, use the id. */
static inline key_t orchestra_key(const char *key) {
    return (key_t)orchestra_number_(orchestra_variable_(key, "_KEY"));
}

/* Inherited descriptor of a POSIX queue or segment, a memfd, or the used end of a pipe. */
static inline int orchestra_fd(const char *key) {
    return (int)orchestra_number_(orchestra_variable_(key, "_FD"));
}

/* Skip one JSON string that starts at `p` with its quote; returns what follows. */
static inline const char *orchestra_string_end_(const char *p) {
    for (p++; *p != '\0' && *p != '"'; p++)
        if (*p == '\\' && p[1] != '\0')
            p++;
    return *p == '"' ? p + 1 : p;
}

/* The value of member `key` of the JSON object that starts at `p`, or NULL. Looks at no deeper level. */
static inline const char *orchestra_member_(const char *p, const char *key) {
    size_t length = strlen(key);
    int depth = 0;
    while (p != NULL && *p != '\0') {
        if (*p == '"') {
            const char *start = p + 1;
            p = orchestra_string_end_(p);
            if (depth == 1 && *p == ':' && (size_t)(p - start) == length + 1 && memcmp(start, key, length) == 0)
                return p + 1;
            continue;
        }
        if (*p == '{' || *p == '[')
            depth++;
        if ((*p == '}' || *p == ']') && --depth <= 0)
            return NULL;
        p++;
    }
    return NULL;
}

/* Declared size in bytes: of a segment, and of a queue what it can hold. */
static inline long long orchestra_size(const char *key) {
    const char *object = orchestra_member_(getenv("ORCHESTRA_BINDINGS"), key);
    const char *size = object != NULL && *object == '{' ? orchestra_member_(object, "size") : NULL;
    return size != NULL && *size >= '0' && *size <= '9' ? strtoll(size, NULL, 10) : -1;
}

/* Send an sd_notify(3) datagram such as "STATUS=warming up"; 0, or -1 where nobody listens. */
static inline int orchestra_notify(const char *text) {
    const char *path = getenv("NOTIFY_SOCKET");
    struct sockaddr_un address;
    size_t length = path == NULL ? 0 : strlen(path);
    int fd, sent;
    if (length == 0 || length >= sizeof address.sun_path)
        return -1;
    memset(&address, 0, sizeof address);
    address.sun_family = AF_UNIX;
    memcpy(address.sun_path, path, length);
    if (*path == '@') /* the abstract name space */
        address.sun_path[0] = '\0';
    fd = socket(AF_UNIX, SOCK_DGRAM, 0);
    if (fd < 0)
        return -1;
    length += offsetof(struct sockaddr_un, sun_path);
    sent = sendto(fd, text, strlen(text), MSG_NOSIGNAL, (struct sockaddr *)&address, (socklen_t)length) < 0 ? -1 : 0;
    close(fd);
    return sent;
}

/* Say that this process is ready: on NOTIFY_SOCKET, or with a newline on ORCHESTRA_READY_FD. */
static inline int orchestra_ready(void) {
    static int done = 0; /* once closed, the number may be another file's */
    int told = orchestra_notify("READY=1");
    long long fd = done ? -1 : orchestra_number_(getenv("ORCHESTRA_READY_FD"));
    if (fd >= 0 && write((int)fd, "\n", 1) == 1) {
        close((int)fd);
        done = 1;
        told = 0;
    }
    return told;
}

struct orchestra_line_ {
    char bytes[4096];
    size_t size;
    int failed;
};

static inline void orchestra_put_(struct orchestra_line_ *line, const char *bytes, size_t size) {
    if (line->size + size > sizeof line->bytes || size == 0) { /* a line that fits leaves in one write */
        for (size_t done = 0; done < line->size && !line->failed;) {
            ssize_t n = write(STDERR_FILENO, line->bytes + done, line->size - done);
            if (n >= 0)
                done += (size_t)n;
            else if (errno != EINTR)
                line->failed = 1;
        }
        line->size = 0;
    }
    memcpy(line->bytes + line->size, bytes, size);
    line->size += size;
}

/* Length of the UTF-8 sequence at `p` (RFC 3629), 0 if it is none. */
static inline size_t orchestra_utf8_(const unsigned char *p) {
    size_t length = *p < 0x80 ? 1 : *p < 0xc2 ? 0 : *p < 0xe0 ? 2 : *p < 0xf0 ? 3 : *p < 0xf5 ? 4 : 0;
    for (size_t i = 1; i < length; i++)
        if ((p[i] & 0xc0) != 0x80)
            return 0;
    if ((*p == 0xe0 && p[1] < 0xa0) || (*p == 0xed && p[1] > 0x9f) || (*p == 0xf0 && p[1] < 0x90) ||
        (*p == 0xf4 && p[1] > 0x8f))
        return 0;
    return length;
}

static inline void orchestra_quote_(struct orchestra_line_ *line, const char *text) {
    char escape[8];
    orchestra_put_(line, "\"", 1);
    while (*text != '\0') {
        size_t length = orchestra_utf8_((const unsigned char *)text);
        if (length == 0) {
            orchestra_put_(line, "\\ufffd", 6);
            length = 1;
        } else if (*text == '"' || *text == '\\' || (length == 1 && ((unsigned char)*text < 0x20 || *text == 0x7f))) {
            snprintf(escape, sizeof escape, "\\u%04x", (unsigned char)*text);
            orchestra_put_(line, escape, 6);
        } else {
            orchestra_put_(line, text, length);
        }
        text += length;
    }
    orchestra_put_(line, "\"", 1);
}

/* Write {"level": level, "message": message, "data": data} as one JSON line to stderr. `data` is JSON text, such as
 * {"job": 17}, or NULL. Levels: debug info warning error critical. */
static inline int orchestra_log_data(const char *level, const char *message, const char *data) {
    struct orchestra_line_ line;
    int kept = errno;
    line.size = 0;
    line.failed = 0;
    orchestra_put_(&line, "{\"level\":", 9);
    orchestra_quote_(&line, level);
    orchestra_put_(&line, ",\"message\":", 11);
    orchestra_quote_(&line, message);
    if (data != NULL && *data != '\0') {
        orchestra_put_(&line, ",\"data\":", 8);
        for (; *data != '\0'; data++) /* a line break in JSON is a blank */
            orchestra_put_(&line, *data == '\n' || *data == '\r' ? " " : data, 1);
    }
    orchestra_put_(&line, "}\n", 2);
    orchestra_put_(&line, "", 0);
    errno = kept;
    return line.failed ? -1 : 0;
}

/* Write {"level": level, "message": message} as one JSON line to stderr. */
static inline int orchestra_log(const char *level, const char *message) {
    return orchestra_log_data(level, message, NULL);
}

#endif
