#!/bin/bash
# Every vector through tamctl inspect; see verdicts.tsv.
set -uo pipefail
dir=$top/tests/vectors
bad=0 n=0
while IFS=$'\t' read -r file keys options status reason; do
	case $file in \#* | '') continue ;; esac
	args=()
	if [ "$keys" != - ]; then
		IFS=, read -ra list <<<"$keys"
		for key in "${list[@]}"; do args+=(--key "$dir/keys/$key"); done
	fi
	if [ "$options" != - ]; then
		read -ra list <<<"${options//%/$dir}"
		args+=("${list[@]}")
	fi
	out=$("$build/admin/ctl/tamctl" inspect ${args[@]+"${args[@]}"} "$dir/$file" 2>&1)
	got=$?
	n=$((n + 1))
	if [ $got != "$status" ] || [[ $out != *"\"reason\": \"$reason\""* ]]; then
		echo "$file ($keys, $options): exit $got, not $status $reason: $(grep -e reason -e tamctl <<<"$out")" >&2
		bad=$((bad + 1))
	fi
done <"$dir/verdicts.tsv"
# Every file that is a message, token, envelope or report has a verdict.
for file in "$dir"/*/*.{cbor,jwt}; do
	grep -q "^${file#"$dir/"}	" "$dir/verdicts.tsv" || { echo "${file#"$dir/"}: no verdict" >&2; bad=$((bad + 1)); }
done
echo "$n verdicts, $bad wrong"
[ $bad = 0 ] && [ $n -gt 100 ]
