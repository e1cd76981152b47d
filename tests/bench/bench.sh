#!/bin/bash
# bench.sh BUILD - CPU time of tamd per steady poll and per full session, over
# HTTP/1.1 and multiplexed HTTP/2, against the cryptography alone, measured in
# the same run; then instructions per session by part, under callgrind.
# tamd on CPU 0, PostgreSQL and the simulator on CPU 1.
set -euo pipefail
top=$(cd "$(dirname "$0")/../.." && pwd)
build=$(cd "$1" && pwd)
work=$top/var/bench
# shellcheck source=tests/support/node.sh
. "$top/tests/support/node.sh"
trap end_world EXIT
agents=${TAM_BENCH_AGENTS:-1000}
rounds=${TAM_BENCH_ROUNDS:-5}

make -C "$build" -s tests/bench/ceiling
make_world
taskset -apc 1 "$(head -n 1 "$pg/data/postmaster.pid")" >/dev/null

# CPU microseconds of tamd so far: user and system, from the scheduler.
cpu_us() {
	awk '{ s += $1 } END { printf "%d", s / 1000 }' /proc/"$pid_1"/task/*/schedstat
}

measure() { # LABEL HTTP ROUNDS: prints CPU us per session
	local before after sessions
	before=$(cpu_us)
	taskset -c 1 "$tamfleet" run --server "localhost:$port" --ca "$work/keys/tls.crt" \
	    --tam-key "$work/keys/tam-p256.pub" --signer "$work/keys/signer.pub" --signer \
	    "$top/tests/vectors/keys/suit_examples_p256_public.pem" \
	    --vendor-id "$vendor" --class-id "$class_id" --agents "$agents" --keys p256 --http "$2" \
	    --concurrency 64 --streams 32 --rounds "$3" \
	    --payload "$draft_uri=$top/tests/vectors/teep-suit/8d82573a-926d-4754-9353-32dc29997f74.ta" \
	    -o json >"$work/$1.json" 2>/dev/null || { cat "$work/$1.json" >&2; die "$1"; }
	after=$(cpu_us)
	sessions=$(json_number sessions <"$work/$1.json")
	awk -v t=$((after - before)) -v n="$sessions" 'BEGIN { printf "%.1f", t / n }'
}

one_run() { # HTTP: prints "full poll"
	local full both
	start_node 1
	taskset -apc 0 "$pid_1" >/dev/null
	put_policy base "$(make_component "vendor/bench$run-$1" 1 "payload $run")"
	full=$(measure "full-$1" "$1" 1)
	# In the next run of the simulator its devices are fresh: the first round
	# is again a full session, the others are polls.
	put_policy base "$(make_component "vendor/bench$run-$1b" 1 "payload b $run")"
	both=$(measure "both-$1" "$1" $((rounds + 2)))
	awk -v f="$full" -v b="$both" -v r=$((rounds + 2)) 'BEGIN { printf "%s %.1f\n", f, (b * r - f) / (r - 1) }'
	stop_node 1
	export TAMCTL_SERVER=
}

start_node 1
draft_policy
enrol "$agents" --keys p256
stop_node 1
export TAMCTL_SERVER=
median() {
	sort -n | awk '{ v[NR] = $1 } END { print v[int((NR + 1) / 2)] }'
}

for http in 1 2; do
	: >"$work/full.$http"
	: >"$work/poll.$http"
	: >"$work/ceiling.$http"
done
for run in ${TAM_BENCH_RUNS:-1 2 3}; do
	for http in 1 2; do
		taskset -c 0 "$build/tests/bench/ceiling" >>"$work/ceiling.$http"
		read -r full poll < <(one_run $http | tail -n 1)
		echo "$full" >>"$work/full.$http"
		echo "$poll" >>"$work/poll.$http"
	done
done
sign=$(cat "$work"/ceiling.[12] | cut -d' ' -f1 | median)
verify=$(cat "$work"/ceiling.[12] | cut -d' ' -f2 | median)
printf 'V (bare P-256 verify) %s us CPU, sign %s us; medians of runs\n' "$verify" "$sign"
for http in 1 2; do
	awk -v h=$http -v s="$sign" -v v="$verify" -v p="$(median <"$work/poll.$http")" -v f="$(median <"$work/full.$http")" 'BEGIN {
		printf "HTTP/%d  poll  %.0f us = %.2f V, ceiling/poll %.2f\n", h, p, p / v, (s + v) / p
		printf "HTTP/%d  full  %.0f us = %.2f V, ceiling/full %.2f\n", h, f, f / v, (2 * s + 2 * v) / f
	}'
done

# Instructions per session by part, from a run under callgrind: valgrind hides
# the processor's SHA instructions, so this is for comparing, not for rates.
callgrind() {
	local small=100 out=$work/callgrind.out
	rm -f "$out"
	tamd="valgrind --tool=callgrind --callgrind-out-file=$out --dump-instr=no $tamd"
	start_valgrind
	agents=$small
	put_policy base "$(make_component vendor/callgrind 1 payload)"
	measure callgrind 2 6 >/dev/null
	stop_node 1
	callgrind_annotate --auto=no --threshold=100 "$out" 2>/dev/null | awk -v n=$((small * 6)) '
		function part(s) {
			if (s ~ /libcrypto|libsodium/) return "crypto libraries"
			if (s ~ /libssl/) return "TLS"
			if (s ~ /libnghttp2|server\/http\//) return "HTTP"
			if (s ~ /codec\/cose/) return "COSE"
			if (s ~ /codec\//) return "CBOR, TEEP, SUIT"
			if (s ~ /policy\//) return "policy"
			if (s ~ /libpq|storage\//) return "storage client"
			if (s ~ /server\/teep\//) return "session"
			return "other"
		}
		/PROGRAM TOTALS/ { next }
		/^ *[0-9,]+ \(/ { v = $1; gsub(/,/, "", v); sum[part($0)] += v }
		END { for (p in sum) printf "%-18s %9d instructions per session\n", p, sum[p] / n }' | sort
}
start_valgrind() {
	admin_1=$(free_port)
	sed "s/^admin_listen.*/admin_listen = \"127.0.0.1:$admin_1\"/" "$work/node1/tamd.conf" >"$work/callgrind.conf"
	$tamd -c "$work/callgrind.conf" >"$work/node1/log" 2>&1 &
	pid_1=$!
	export TAMCTL_SERVER=localhost:$admin_1
	wait_ready "$admin_1" || die "no tamd under callgrind"
}
[ "${TAM_BENCH_CALLGRIND:-yes}" = no ] || callgrind
