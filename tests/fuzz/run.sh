#!/bin/sh
# Replays every input that was ever found interesting through its target.
set -eu
for dir in "$top"/tests/fuzz/corpus/fuzz_*; do
	name=$(basename "$dir")
	"$build/tests/fuzz/$name" "$dir"/* </dev/null
	echo "$name: $(find "$dir" -type f | wc -l) inputs"
done
