#!/bin/bash
# A node whose clock is wrong, beside one whose clock is right: the wrong one
# serves nothing and spoils nothing, also for the time after its correction.
set -euo pipefail
work=$build/tests/work/test_clock
# shellcheck source=tests/support/node.sh
. "$top/tests/support/node.sh"
trap end_world EXIT
peer=$build/tests/support/peer

make_world
cd "$work"
start_node 1
draft_policy
enrol 1 --keys p256
ta=$draft_component=8cf71ac86af31be184ec7a05a411a8c3a14fd9b77a30d046397481469468ece8
: >empty
post() { # IN OUT
	code=$(curl -sS --max-time 20 --cacert keys/tls.crt -X POST -H 'Accept: application/teep+cbor' \
	    -H 'Content-Type: application/teep+cbor' --data-binary "@$1" -o "$2" -w '%{http_code}' \
	    "https://localhost:$port/tam" 2>/dev/null) || true
}
poll() { # a whole session of the compliant device
	post empty o
	[ "$code" = 200 ] || return 0
	"$peer" --agent 0 --tc "$ta" query-response o a
	post a x
}
keys() { sql "SELECT string_agg(key_id || ' ' || mint_from_us || ' ' || retire_us, ',' ORDER BY key_id) FROM token_key"; }
stamp() { sql "SELECT stamp_us FROM device_seen"; }
clock_off() { [ "$(get "$1" /readyz)" = 'clock is off' ]; }
dropped() { metric "$1" 'tam_messages_dropped_total{reason="stale_answer"}'; }

poll
[ "$code" = 204 ] || die "a poll: $code"
before=$(keys)
port_1=$port

# Five days ahead from its start: it makes no key and drops none.
port=$(free_port)
set_clock "$work/clock2" 432000
node_clock=$work/clock2
run_node 2
try_for 30 clock_off "$admin_2" || die "the node that is 5 days ahead is ready: $(get "$admin_2" /readyz)"
get "$admin_2" /metrics | grep -qE '^tam_clock_offset_seconds 43(1999|2000)' || die "offset: $(get "$admin_2" /metrics | grep offset)"
poll
[ "$code" = 000 ] || die "the node that is 5 days ahead serves: $code"
port_2=$port port=$port_1
poll
[ "$code" = 204 ] || die "the other node, beside it: $code"
[ "$(keys)" = "$before" ] || die "token keys: $(keys), before: $before"

# Corrected: it serves, and what it stores is not from its future.
set_clock "$work/clock2" 0
wait_ready "$admin_2" || die "not ready after the correction: $(get "$admin_2" /readyz)"
port=$port_2
poll
[ "$code" = 204 ] || die "after the correction: $code"

# Ahead while it serves, and corrected: nothing is stale afterwards.
for ahead in 60 3600 86400; do
	set_clock "$work/clock2" $ahead
	poll # it may still have its lease: its stamps are right all the same
	try_for 30 clock_off "$admin_2" || die "$ahead s ahead, and ready"
	set_clock "$work/clock2" 0
	wait_ready "$admin_2" || die "not ready after $ahead s"
	was=$(stamp)
	poll
	[ "$code" = 204 ] || die "a poll after $ahead s: $code"
	newer() { [ "$(stamp)" -gt "$was" ]; }
	try_for 30 newer || die "the answer after $ahead s was not stored: $(stamp), before $was"
done
[ "$(sql "SELECT count(*) FROM device_seen WHERE stamp_us > cluster_us()")" = 0 ] || die "a stamp from the future"
[ "$(dropped "$admin_1") $(dropped "$admin_2")" = '0 0' ] || die "stale answers: $(dropped "$admin_1") $(dropped "$admin_2")"
[ "$(keys)" = "$before" ] || die "token keys: $(keys), before: $before"
stop_node 2
stop_node 1
