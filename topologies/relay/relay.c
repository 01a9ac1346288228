/* relay NAME ID: takes messages out of the POSIX queue NAME, puts them in capitals into the System V queue ID. */
#define _XOPEN_SOURCE 700
#include <ctype.h>
#include <fcntl.h>
#include <mqueue.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ipc.h>
#include <sys/msg.h>

struct message {
    long type;
    char text[256];
};

int main(int argc, char **argv) {
    struct message message;
    ssize_t length;
    int relayed = 0;
    if (argc != 3) {
        fprintf(stderr, "usage: relay NAME ID\n");
        return 2;
    }
    mqd_t from = mq_open(argv[1], O_RDONLY);
    int to = atoi(argv[2]);
    if (from == (mqd_t)-1) {
        perror(argv[1]);
        return 1;
    }
    while ((length = mq_receive(from, message.text, sizeof message.text, NULL)) > 0) {
        for (ssize_t i = 0; i < length; i++)
            message.text[i] = (char)toupper((unsigned char)message.text[i]);
        message.type = ++relayed;
        if (msgsnd(to, &message, (size_t)length, 0) != 0) {
            perror("msgsnd");
            return 1;
        }
    }
    if (length < 0) {
        perror("mq_receive");
        return 1;
    }
    printf("relayed %d messages\n", relayed);
    return 0;
}
