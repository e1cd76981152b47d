#!/bin/bash
# Leases: what a node may still say without the database, and a revocation is never late.
# shellcheck disable=SC2086  # lists of pids
set -euo pipefail
work=$build/tests/work/test_lease
# shellcheck source=tests/support/node.sh
. "$top/tests/support/node.sh"
trap end_world EXIT
peer=$build/tests/support/peer

make_world
start_node 1 "database=$db application_name=node1"
draft_policy
enrol 1 --keys p256
cd "$work"
ta=$draft_component=8cf71ac86af31be184ec7a05a411a8c3a14fd9b77a30d046397481469468ece8
: >empty
post() { # IN OUT
	code=$(curl -sS --max-time 20 --cacert keys/tls.crt -X POST -H 'Accept: application/teep+cbor' \
	    -H 'Content-Type: application/teep+cbor' --data-binary "@$1" -o "$2" -w '%{http_code}' \
	    "https://localhost:$port/tam")
}
poll() { # a whole session of the compliant device
	post empty o
	[ "$code" = 200 ] || return 0
	"$peer" --agent 0 --tc "$ta" query-response o a
	post a x
}
backends() {
	sql "SELECT pid FROM pg_stat_activity WHERE application_name = '$1'"
}

poll
poll
poll
[ "$code" = 204 ] || die "a warm poll: $code"
[ "$(metric "$admin_1" tam_polls_cached_total)" -ge 1 ] || die "the poll is not warm"

# Every backend stopped: a warm poll still gets its 204, until the lease ends.
postmaster=$(head -n 1 "$pg/data/postmaster.pid")
stopped="$(backends node1) $postmaster" # no new ones either

kill -STOP $stopped
stop_at=$SECONDS
poll
[ "$code" = 204 ] || { kill -CONT $stopped; die "a warm poll without the database: $code"; }
ended() { poll; [ "$code" = 503 ]; }
try_for 15 ended || { kill -CONT $stopped; die "still serving without a lease"; }
[ $((SECONDS - stop_at)) -le 12 ] || { kill -CONT $stopped; die "the lease ran too long"; }

kill -CONT $stopped
wait_ready "$admin_1" || die "not ready again"
poll
[ "$code" = 204 ] || die "a poll after the database came back: $code"
# What was answered without the database was written afterwards, or is newer.
stop_node 1
[ "$(sql "SELECT count(*) FROM device_seen WHERE seen_us > 0")" = 1 ] || die "the observation was lost"

# One node cut off, the other not: the revocation is in force only when the
# other's lease is over, and from then on it does not serve.
start_node 1 "database=$db application_name=node1"
export TAMCTL_SERVER=localhost:$admin_1
port_1=$port
port=$(free_port)
sql "DROP ROLE IF EXISTS tam2; CREATE ROLE tam2 SUPERUSER LOGIN" >/dev/null 2>&1
start_node 2 "database=${db/user=tam/user=tam2} application_name=node2"
export TAMCTL_SERVER=localhost:$admin_1
poll
poll
[ "$code" = 204 ] || die "node 2, warm: $code"
stopped=$(backends node2)
sql "ALTER ROLE tam2 NOLOGIN" >/dev/null # nor may it come back

kill -STOP $stopped
stop_at=$SECONDS
revocation=$("$tamctl" -o json revocation create "component=$draft_component" reason=test | json_number id)
in_force() { [ -n "$(sql "SELECT in_force_us FROM revocation WHERE revocation_id = $revocation AND in_force_us > 0")" ]; }
saw_204=no
until in_force; do
	poll
	[ "$code" != 204 ] || saw_204=yes
	[ $SECONDS -lt $((stop_at + 90)) ] || { kill -CONT $stopped; die "never in force"; }
done
poll
[ "$code" = 503 ] || { kill -CONT $stopped; die "a cut-off node serves after the revocation is in force: $code"; }
in_force_ms=$("$tamctl" -o json revocation status "$revocation" | json_number in_force_ms)
[ "$in_force_ms" -le 7000 ] || { kill -CONT $stopped; die "in force only after $in_force_ms ms"; }
sql "ALTER ROLE tam2 LOGIN" >/dev/null
echo "in force after $in_force_ms ms; the cut-off node answered 204 meanwhile: $saw_204"

kill -CONT $stopped
wait_ready "$admin_2"
poll
[ "$code" = 200 ] || die "node 2 does not revoke after it came back: $code"
port=$port_1
stop_node 1
stop_node 2
