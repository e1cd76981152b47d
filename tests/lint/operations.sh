#!/bin/bash
# docs/OPERATIONS.md: every row of the fault matrix has six cells, its test
# exists and has the quoted words, and its metrics are made by the server.
set -euo pipefail
cd "${1:-${srcdir:-.}}"
bad=0
rows=0
complain() {
	echo "docs/OPERATIONS.md: $*" >&2
	bad=1
}
# test_source NAME: the file of a test, by the name that the matrix gives it.
test_source() {
	find tests -path '*/corpus' -prune -o \( -name "$1" -o -name "$1.c" \) -type f -print | head -n 1
}
check_row() { # FAULT METRICS TEST CELLS
	local metric name source
	rows=$((rows + 1))
	[ "$4" = 8 ] || complain "$1: $(($4 - 2)) cells, not 6"
	for metric in $(grep -oE "tam_[a-z0-9_]+" <<<"$2" || true); do
		name=${metric#tam_}
		name=${name%_total}
		grep -rqF --include="*.[ch]" -- "$name" server storage lib admin ||
			complain "$1: nobody makes the metric $metric"
	done
	if ! [[ $3 =~ \`([a-z0-9_.]+):\ (.*)\` ]]; then
		complain "$1: no test"
		return
	fi
	source=$(test_source "${BASH_REMATCH[1]}")
	if [ -z "$source" ]; then
		complain "$1: no test ${BASH_REMATCH[1]}"
	elif ! grep -qF -- "${BASH_REMATCH[2]}" "$source"; then
		complain "$1: $source has no '${BASH_REMATCH[2]}'"
	fi
}
while IFS= read -r line; do
	[[ $line == '| '* && $line != '| fault '* ]] || continue
	IFS='|' read -r _ fault _ _ metrics _ test _ <<<"$line"
	check_row "${fault## }" "$metrics" "$test" "$(awk -F'|' '{ print NF }' <<<"$line")"
done <docs/OPERATIONS.md
[ $rows -gt 0 ] || complain "no rows"
[ $bad = 0 ] && echo "operations: $rows faults"
exit $bad
