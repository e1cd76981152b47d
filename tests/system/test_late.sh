#!/bin/bash
# A node that is stopped in the middle of a commit: what it had decided does not leave
# once a revocation is in force.
set -euo pipefail
work=$build/tests/work/test_late
# shellcheck source=tests/support/node.sh
. "$top/tests/support/node.sh"
trap end_world EXIT
peer=$build/tests/support/peer

make_world
start_node 1
draft_policy
enrol 3 --keys p256
cd "$work"
: >empty
port_1=$port
post() { # IN OUT
	code=$(curl -sS --max-time 120 --cacert keys/tls.crt -X POST -H 'Accept: application/teep+cbor' \
	    -H 'Content-Type: application/teep+cbor' --data-binary "@$1" -o "$2" -D head -w '%{http_code}' \
	    "https://localhost:$port/tam")
}
stopped() { [ "$(ps -o stat= -p "$pid_2" | cut -c 1)" = T ]; }
in_force() { [ "$(sql "SELECT count(*) FROM revocation WHERE in_force_us IS NULL")" = 0 ]; }

# The session may wait far longer than the lease.
port=$(free_port)
TAM_FAULT=after_commit:1:stop start_node 2 session_deadline_ms=60000
export TAMCTL_SERVER=localhost:$admin_1
post empty o
[ "$code" = 200 ] || die "opener: $code"
"$peer" --agent 0 query-response o a
(post a u && echo "$code" >code) &
asking=$!
try_for 30 stopped || die "node 2 does not stop after its commit"
[ "$(sql "SELECT count(*) FROM outstanding_update")" = 1 ] || die "no Update was committed"
"$tamctl" revocation create "component=$draft_component" reason=test >/dev/null
try_for 60 in_force || die "the revocation is not in force without the node that was stopped"
kill -CONT "$pid_2"
wait $asking || die "no answer"
[ "$(cat code)" = 503 ] || die "a revoked Update left after the revocation was in force: $(cat code)"
grep -qi '^retry-after: [1-9]' head || die "a late answer without Retry-After"
[ "$(metric "$admin_2" tam_answers_late_total)" = 1 ] || die "the late answer is not counted"

# The node goes on with the new epoch: the device is told nothing of the component.
wait_ready "$admin_2" || die "node 2 does not come back"
post empty o
[ "$code" = 200 ] || die "opener: $code"
"$peer" --agent 0 query-response o a
post a u
[ "$code" = 204 ] || [ "$code" = 200 ] || die "after the revocation: $code"
! grep -qF 8d82573a u || die "the revoked manifest is sent"
port=$port_1
stop_node 1
stop_node 2
