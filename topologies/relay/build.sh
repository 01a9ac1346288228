# Compiles the relay into the folder given.
exec cc -Wall -Wextra -o "$1/relay" relay.c
