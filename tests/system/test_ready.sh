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

# The admin API.  Its connections died unused: the next requests do not notice.
status() { # METHOD PATH [BODY]
	curl -sS --max-time 30 --cacert keys/tls.crt -X "$1" -o answer -w '%{http_code}' ${3:+-d "$3"} \
	    -H "Authorization: Bearer $(cat keys/token)" -H 'Content-Type: application/json' \
	    "https://localhost:$admin_1$2"
}
code_of() { sed -n 's/.*"code":"\([a-z_]*\)".*/\1/p' answer; }
draft_policy
for _ in 1 2 3 4 5 6 7 8; do [ "$(status GET /v1/policies)" = 200 ] || die "a read: $(cat answer)"; done
sql "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE application_name = 'node1'" >/dev/null
for _ in 1 2 3 4 5 6 7 8; do
	[ "$(status GET /v1/policies)" = 200 ] || die "a read after the database was restarted: $(cat answer)"
done
expect_ready "the database was restarted"

# Changes behind a lock: reads go on meanwhile, and each change is told why.
rm -f hold
mkfifo hold
psql -X -q -h "$pg/socket" -U tam -d tam <hold >locked &
holder=$!
exec 7>hold
echo "BEGIN; LOCK policy IN EXCLUSIVE MODE; SELECT 'locked';" >&7
try_for 10 grep -q locked locked
for i in 1 2 3 4 5 6; do
	(cd "$work" && curl -sS --max-time 60 --cacert keys/tls.crt -X PUT -o "change$i" -w '%{http_code}' -d @policy.json \
	    -H "Authorization: Bearer $(cat keys/token)" -H 'Content-Type: application/json' \
	    "https://localhost:$admin_1/v1/policies/new$i" >"code$i") &
	changes[i]=$!
done
is_waiting() { [ "$(sql "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'")" -ge 2 ]; }
try_for 10 is_waiting || die "no change waits for the lock"
reads=0
while is_waiting; do
	[ "$(status GET /v1/policies)" = 200 ] || die "a read beside changes that wait: $(cat answer)"
	reads=$((reads + 1))
	[ $reads -lt 500 ] || break
done
[ $reads -gt 0 ] || die "no read beside changes that wait"
for i in 1 2 3 4 5 6; do
	wait "${changes[i]}"
	[ "$(cat "code$i")" = 503 ] || die "a change behind a lock: $(cat "code$i" "change$i")"
	grep -q '"code":"locked"' "change$i" || die "a change behind a lock: $(cat "change$i")"
done
echo "ROLLBACK;" >&7
exec 7>&-
wait "$holder"
[[ $(status PUT /v1/policies/new1 "$(cat policy.json)") = 20[01] ]] || die "a change after the lock: $(cat answer)"

# What the API's role lost is said, before an administrator finds out.
sql "REVOKE SELECT ON domain FROM tam_admin"
expect_refusal admin_database "the admin API may not read"
sql "GRANT SELECT ON domain TO tam_admin"
expect_ready "the admin API may read again"
stop_node 1
