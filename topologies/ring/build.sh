# Compiles both programs into the folder given.
set -e
for program in producer consumer; do
    cc -std=c11 -O2 -Wall -Wextra -I"$ORCHESTRA_PATH" -pthread -o "$1/$program" "$program.c"
done
