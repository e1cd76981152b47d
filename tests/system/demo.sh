#!/bin/bash
# demo.sh demo|up|down BUILD - what ./dev demo, up and down do.
set -euo pipefail
what=$1
top=$(cd "$(dirname "$0")/../.." && pwd)
build=$(cd "$2" && pwd)
work=$top/var/$([ "$what" = demo ] && echo demo || echo dev)
# shellcheck source=tests/support/node.sh
. "$top/tests/support/node.sh"

agents=${TAM_DEMO_AGENTS:-1000}

now_ms() {
	date +%s%3N
}

say() {
	printf '\n== %s\n' "$*"
}

seconds() { # MS
	awk -v ms="$1" 'BEGIN { printf "%.1f s", ms / 1000 }'
}


cpu_ticks() { # PID
	awk '{ print $14 + $15 }' "/proc/$1/stat"
}

compliant() {
	[ "$("$tamctl" -o json fleet status | json_number up_to_date)" = "$agents" ]
}

verified() {
	"$tamctl" -o json revocation status "$revocation" >"$work/revocation.json"
	[ "$(json_number verified <"$work/revocation.json")" = "$agents" ] &&
		[ "$(json_number unconfirmed <"$work/revocation.json")" = 0 ]
}

watch_for() { # SECONDS WHAT CONDITION
	local until=$((SECONDS + $1))
	while ! "$3"; do
		[ $SECONDS -lt $until ] || die "$2: not within $1 s"
		kill -0 "$fleet_pid" 2>/dev/null || { cat "$work/fleet.err" >&2; die "the fleet ended early"; }
		sleep 0.2
	done
}

demo() {
	trap end_world EXIT
	local begun t0 t1 ticks0 ticks1

	begun=$(now_ms)
	say "a private PostgreSQL, a domain with its keys, two nodes on one port"
	make_world
	start_node 1
	start_node 2
	echo "https://localhost:$port/tam  (nodes: $pid_1, $pid_2)"

	say "manifests: the draft's example, and two made and signed here"
	draft_policy
	echo "suit_uri accepted"
	if "$tamctl" manifest upload "$top/tests/vectors/teep-suit/suit_integrated.cbor" 2>"$work/refused.out"; then
		die "suit_integrated was accepted"
	fi
	grep -q suit_sequence "$work/refused.out" || die "suit_integrated was refused for another reason"
	echo "suit_integrated refused: $(cat "$work/refused.out")"
	codec=$(make_component vendor/codec 1 'codec, version 1')
	filter=$(make_component vendor/filter 7 'filter, version 7' --uri https://example.com/filter.ta)
	put_policy base "$draft_digest" "$codec" "$filter"
	"$tamctl" -o table manifest list | cut -f 2-4

	say "$agents simulated devices: HTTP/1.1 and HTTP/2, P-256 and Ed25519, both numberings"
	enrol "$agents"
	ticks0=$(($(cpu_ticks "$pid_1") + $(cpu_ticks "$pid_2")))
	t0=$(now_ms)
	fleet_exec --agents "$agents" --rounds 0 --interval 2 --http mix --concurrency 64 -o json \
	    --payload "https://example.com/filter.ta=$work/vendor-filter.payload" \
	    --expect $draft_component --expect vendor/filter --absent vendor/codec \
	    >"$work/fleet.json" 2>"$work/fleet.err" &
	fleet_pid=$!
	watch_for 240 compliance compliant
	t1=$(now_ms)
	compliance=$((t1 - t0))
	echo "$agents of $agents devices compliant after $(seconds $compliance)"

	say "revoking vendor/codec"
	revocation=$("$tamctl" -o json revocation create component=vendor/codec reason=CVE-2026-0001 |
		json_number id)
	watch_for 240 remediation verified
	"$tamctl" revocation status "$revocation" |
		grep -E '^(affected|offered|acknowledged|verified|unconfirmed|in_force_ms|ttr_ms)'

	say "the end: what the devices say themselves"
	kill -TERM $fleet_pid
	# An answer that was decided under the epoch before is 503: come again.
	wait $fleet_pid || grep -q '"causes": {"http_error": "status 503"}' "$work/fleet.json" ||
		{ tail -n 5 "$work/fleet.err" >&2; cat "$work/fleet.json"; die "the fleet"; }
	grep 'agents hold' "$work/fleet.err"
	ticks1=$(($(cpu_ticks "$pid_1") + $(cpu_ticks "$pid_2")))
	stop_node 1
	stop_node 2

	sessions=$(json_number sessions <"$work/fleet.json")
	say "figures"
	printf 'agents compliant        %s of %s\n' "$agents" "$agents"
	printf 'time to compliance      %s\n' "$(seconds $compliance)"
	printf 'sessions                %s, %s/s\n' "$sessions" \
	    "$(json_number sessions_per_second <"$work/fleet.json")"
	printf 'time to remediation     p50 %s ms, p99 %s ms, max %s ms (each device asks every 2 s)\n' \
	    "$(json_number p50 <"$work/revocation.json")" "$(json_number p99 <"$work/revocation.json")" \
	    "$(json_number max <"$work/revocation.json")"
	printf 'server CPU per session  %s\n' \
	    "$(awk -v t=$((ticks1 - ticks0)) -v n="$sessions" -v hz="$(getconf CLK_TCK)" \
	        'BEGIN { printf "%.2f ms", 1000 * t / hz / n }')"
	printf 'the whole demo          %s\n' "$(seconds $(($(now_ms) - begun)))"
}

serve() {
	make_world
	start_node 1
	echo "$pid_1" >"$work/pid"
	echo "https://localhost:$port/tam  admin https://localhost:$admin_1" >"$work/address"
	wait "$pid_1" || true
	cluster_stop "$pg"
}

case $what in
demo) demo ;;
serve) serve ;;
up)
	[ ! -f "$work/pid" ] || ! kill -0 "$(cat "$work/pid")" 2>/dev/null || { echo "already up"; exit 0; }
	rm -f "$work/pid" "$work/address"
	mkdir -p "$work"
	setsid "$0" serve "$build" </dev/null >"$work/serve.out" 2>&1 &
	try_for 60 test -f "$work/address" || { cat "$work/serve.out" >&2; die "not up"; }
	cat "$work/address"
	echo "token file $work/keys/token, CA $work/keys/tls.crt"
	;;
down)
	[ -f "$work/pid" ] || { echo "not up"; exit 0; }
	kill -TERM "$(cat "$work/pid")" 2>/dev/null || true
	try_for 30 sh -c "! kill -0 $(cat "$work/pid")" || true
	rm -f "$work/pid" "$work/address"
	;;
esac
