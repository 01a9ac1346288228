# Compiles both programs into the folder given, as soon as the sweeper has made it.
set -e
until test -d "$1"; do sleep 0.01; done
for program in producer consumer; do
    cc -std=c11 -O2 -Wall -Wextra -I"$ORCHESTRA_PATH" -pthread -o "$1/$program" "$program.c"
done
