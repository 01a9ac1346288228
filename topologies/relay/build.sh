# Compiles the relay into the folder given, as soon as the sweeper has made it.
until test -d "$1"; do sleep 0.01; done
exec cc -Wall -Wextra -o "$1/relay" relay.c
