#!/bin/bash
# Readiness: each thing without which devices are not served has a name in /readyz?verbose and in a metric.
set -euo pipefail
work=$build/tests/work/test_ready
# shellcheck source=tests/support/node.sh
. "$top/tests/support/node.sh"
trap end_world EXIT

make_world
start_node 1 "database=$db application_name=node1"
cd "$work"

reason() { # NAME: its line in the verbose form
	get "$admin_1" '/readyz?verbose' | sed -n "s/^$1: //p"
}
# refuses NAME: the node is not ready, by this reason, in each of the three forms
refuses() {
	[ "$(reason "$1")" != ok ] &&
		[ "$(curl -sS --cacert keys/tls.crt -o answer -w '%{http_code}' "https://localhost:$admin_1/readyz")" = 503 ] &&
		[ "$(metric "$admin_1" "tam_not_ready{reason=\"$1\"}")" = 1 ]
}
expect_refusal() { # NAME WHEN
	try_for 30 refuses "$1" || die "$2: $(get "$admin_1" '/readyz?verbose')"
}
expect_ready() { # WHEN
	wait_ready "$admin_1" || die "$1: $(get "$admin_1" '/readyz?verbose')"
	[ "$(get "$admin_1" /metrics | grep -c '^tam_not_ready{.*} 1')" = 0 ] || die "$1: a metric says no"
}
new_epoch() { sql "SELECT epoch_raise(1)" >/dev/null; }

expect_ready "at the start"
[ "$(get "$admin_1" '/readyz?verbose' | grep -c ': ok$')" -ge 10 ] || die "the verbose form has no list"

# A signing key that others can read, or that is gone, does not sign.
chmod 644 keys/default-p256.pem
new_epoch
expect_refusal signing_key "an exposed signing key"
chmod 600 keys/default-p256.pem
expect_ready "the signing key is no longer exposed"
mv keys/default-ed25519.pem keys/away.pem
new_epoch
expect_refusal signing_key "a missing signing key"
mv keys/away.pem keys/default-ed25519.pem
expect_ready "the signing key is back"

# Token keys that mint only later.
sql "UPDATE token_key SET mint_from_us = mint_from_us + 3600000000"
expect_refusal token_key "no token key mints now"
sql "UPDATE token_key SET mint_from_us = mint_from_us - 3600000000"
expect_ready "a token key mints again"

# The worker's connection and no other.
worker_pid() { grep -o 'event=database_ready pid=[0-9]*' node1/log | tail -n 1 | cut -d= -f3; }
kill -STOP "$(worker_pid)"
stopped=$(worker_pid)
expect_refusal worker_link "a worker's backend that does not answer"
kill -CONT "$stopped"
expect_ready "the backend answers again"
stop_node 1
