#!/bin/bash
# docs/CONFORMANCE.md: every item is there, every source and test it names
# exists, and every test it names has passed in this build directory.
set -euo pipefail
cd "${1:-${srcdir:-.}}"
build=${2:-${build:-.}}
bad=0
complain() {
	echo "docs/CONFORMANCE.md: $*" >&2
	bad=1
}
passed() { # TEST
	[ "$build" = - ] || grep -q '^:test-result: PASS' "$build/$1.trs" 2>/dev/null || complain "$1 has not passed"
}
check_test() { # ITEM PROGRAM WORDS
	local source
	case $2 in
	verdicts.sh)
		grep -q "^$3	" tests/vectors/verdicts.tsv || complain "$1: no verdict for $3"
		passed tests/vectors/verdicts.sh
		;;
	*.sh)
		grep -qF -- "$3" "tests/system/$2" || complain "$1: $2 has no '$3'"
		passed "tests/system/$2"
		;;
	test_store)
		source=tests/integration/test_device_store.c
		grep -q "START_TEST($3)" $source || complain "$1: $source has no $3"
		passed tests/integration/run.sh
		;;
	*)
		source=tests/unit/$2.c
		grep -q "START_TEST($3)" "$source" || complain "$1: $source has no $3"
		tr -d '\n\t' <"$source" | grep -qE "(tcase_add(_loop)?_test|LOOP)\(tc, *$3[,)]" || complain "$1: $3 is not run"
		passed "tests/unit/$2"
		;;
	esac
}
items=
while IFS='|' read -r _ item _ source test _; do
	item=${item// /}
	[[ $item =~ ^[TAHUEP][0-9]+$ ]] || continue
	items="$items $item"
	source=${source// /}
	[ -f "$source" ] || complain "$item: no file $source"
	if [[ $test =~ \`([a-z0-9_.]+):\ (.*)\` ]]; then
		check_test "$item" "${BASH_REMATCH[1]}" "${BASH_REMATCH[2]}"
	elif [[ $test != *"not done: "* && $test != *"not ours: "* ]]; then
		complain "$item: neither a test nor a reason"
	fi
done <docs/CONFORMANCE.md
want() { # LETTER LAST
	for i in $(seq "$2"); do
		case $1$i in T62 | T63 | T64 | T65 | T66) continue ;; esac
		[[ " $items " == *" $1$i "* ]] || complain "$1$i is missing"
	done
}
want T 69
want A 22
want H 22
want U 13
want E 26
want P 14
[ $bad = 0 ] && echo "conformance: $(wc -w <<<"$items") items"
exit $bad
