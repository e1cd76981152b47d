#!/bin/bash
# Floods of strangers beside a load of devices: nothing that was acknowledged
# is lost, no device is refused for the flood's sake, memory stays within its
# bound, and the node is as before when it is over.
set -euo pipefail
work=$build/tests/work/test_flood
# shellcheck source=tests/support/node.sh
. "$top/tests/support/node.sh"
trap end_world EXIT

memory_mb=64
cache_mb=32
seconds=${TAM_TEST_FLOOD_SECONDS:-4}
make_world
start_node 1 memory_mb=$memory_mb payload_cache_mb=$cache_mb source_rate=2000 trusted_sources=127.0.0.0/16 \
    request_time_ms=2000 send_progress_ms=1500
draft_policy
enrol 100 --keys mix
cd "$work"
head -c 16000000 /dev/urandom >large
large=$("$tamctl" -o name payload upload large)
settle
: >journal

memory() { # VmRSS or VmHWM of the node, in KiB
	awk -v name="$1:" '$1 == name { print $2 }' "/proc/$pid_1/status"
}
# load NAME SECONDS: devices that poll all the time, each round with new work
# for some of them.
load() {
	fleet --agents 100 --keys mix --rounds 100000 --duration "$2" --http mix --concurrency 8 \
	    --journal journal -o json >"$1.json" 2>"$1.err"
}
outcome() { grep -o "\"$2\": *[0-9]*" "$1.json" | head -n 1 | grep -o '[0-9]*$'; }

# What the node takes when it serves devices and the payload.
curl -sS --cacert keys/tls.crt -o /dev/null "https://localhost:$port/payload/default/$large"
load quiet 3 || die "the load alone: $(cat quiet.err quiet.json)"
base=$(memory VmRSS)
slack=$((16 * 1024))
# The sanitizers keep what was freed, and shadow all.
! grep -q -a -e libasan -e libtsan "/proc/$pid_1/maps" || slack=$((700 * 1024))
bound=$((base + (memory_mb + cache_mb) * 1024 + slack))
refused() { metric "$admin_1" tam_responses_5xx_total; }
[ "$(refused)" = 0 ] || die "refused before any flood"

flood() { # KIND CONNECTIONS PATH
	local status=0
	"$build/tests/support/flood" "$1" "$port" "$2" "$seconds" "$3" >"flood-$1" &
	local pid=$!
	put_policy base "$(make_component vendor/flood-"$1" 1 "text $1")"
	load "$1" "$seconds" || status=$?
	wait $pid || die "$1: the flooder failed"
	[ $status = 0 ] || die "$1: a session ended wrongly: $(cat "$1.err" "$1.json")"
	[ "$(outcome "$1" http_error)" = 0 ] && [ "$(outcome "$1" no_answer)" = 0 ] ||
		die "$1: devices were refused: $(cat "$1.json")"
	[ "$(outcome "$1" retries)" = 0 ] || die "$1: devices had to try again: $(cat "$1.json")"
	[ "$(outcome "$1" sessions)" -gt 20 ] || die "$1: few sessions: $(cat "$1.json")"
	[ "$(memory VmHWM)" -le $bound ] || die "$1: $(memory VmHWM) KiB, more than $bound"
	is_ready "$admin_1" || die "$1: the node is not ready"
	echo "$(cat "flood-$1"); p99 $(grep -o '"p99": *[0-9.]*' "$1.json" | head -n 1 | cut -d: -f2) ms, alone" \
	    "$(grep -o '"p99": *[0-9.]*' quiet.json | head -n 1 | cut -d: -f2) ms; at most $(memory VmHWM) KiB"
}
flood window 16 "/payload/default/$large"
flood unread 64 "/payload/default/$large"
flood body 28 /tam
flood bomb 8 /tam
flood frames 8 /tam
[ "$(refused)" = 0 ] || die "somebody was refused with 5xx: $(refused)"
[ "$(metric "$admin_1" tam_send_timeouts_total)" -gt 0 ] || die "nobody lost an answer that was not taken"
[ "$(metric "$admin_1" tam_http_timeouts_total)" -gt 0 ] || die "no body was given up"
[ "$(metric "$admin_1" tam_http2_abuse_total)" -gt 0 ] || die "no connection was ended for abuse"

# It is over: what was held is given back, and the node serves as before.
given_back() { [ "$(metric "$admin_1" tam_held_bytes)" -lt 1000000 ] && [ "$(memory VmRSS)" -le $((base + cache_mb * 1024 + slack)) ]; }
try_for 30 given_back || die "$(metric "$admin_1" tam_held_bytes) bytes are held, $(memory VmRSS) KiB, was $base"
load after 2 || die "afterwards: $(cat after.err after.json)"

# The journal against the rows, as in test_crash.sh.
sql "CREATE TABLE journal (line text)" >/dev/null
psql -X -q -h "$pg/socket" -U tam -d tam -c "\\copy journal FROM '$work/journal'"
lost=$(sql "WITH j AS (SELECT split_part(line, ' ', 1) AS kind, decode(split_part(line, ' ', 2), 'hex') AS key,
	('x' || substr(split_part(line, ' ', 3), 41, 16))::bit(64)::bigint AS id FROM journal)
	SELECT count(*) FROM j LEFT JOIN device_key k ON k.thumbprint = j.key
	LEFT JOIN outstanding_update u ON u.update_id = j.id AND u.device_id = k.device_id
	WHERE u.update_id IS NULL OR (kind = 'S' AND u.success IS NOT TRUE)")
lines=$(sql "SELECT count(*) FROM journal")
[ "$lines" -gt 0 ] || die "the journal is empty"
[ "$lost" = 0 ] || die "$lost of $lines acknowledged things are lost"
stop_node 1
