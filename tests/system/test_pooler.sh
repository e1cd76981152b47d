#!/bin/bash
# A real pgbouncer before the database: session mode serves, transaction mode is refused in words.
set -euo pipefail
work=$build/tests/work/test_pooler
# shellcheck source=tests/support/node.sh
. "$top/tests/support/node.sh"
trap 'kill "$pooler" 2>/dev/null || true; end_world' EXIT
pooler=

make_world
pooled=$(free_port)
pooled_db="host=127.0.0.1 port=$pooled user=tam dbname=tam"
# start_pooler MODE: the pooler's user must be able to read and write its files.
start_pooler() {
	cat >"$pg/pgbouncer.ini" <<END
[databases]
tam = host=$pg/socket dbname=tam user=tam
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = $pooled
unix_socket_dir =
auth_type = any
pool_mode = $1
default_pool_size = 40
END
	(cd / && setpriv_to pgbouncer -q "$pg/pgbouncer.ini") >"$work/pgbouncer.log" 2>&1 &
	pooler=$!
	try_for 10 psql -X -q -c 'SELECT 1' "$pooled_db" || die "no pgbouncer: $(cat "$work/pgbouncer.log")"
}
setpriv_to() { # so that $! is the pooler itself
	if [ "$(id -u)" = 0 ]; then
		exec setpriv --reuid=postgres --regid=postgres --clear-groups "$@"
	else
		exec "$@"
	fi
}
stop_pooler() {
	kill "$pooler"
	wait "$pooler" || true
	pooler=
}
answer() { get "$admin_1" /readyz; }
is_refused() { [[ $(answer) == *"pooler in transaction mode"*"pool_mode = session"* ]]; }

start_pooler session
start_node 1 "database=$pooled_db"
draft_policy
enrol 20
fleet --agents 20 --rounds 2 >"$work/fleet.out" 2>&1 || { cat "$work/fleet.out"; die "devices behind a pooler in session mode"; }
stop_node 1
stop_pooler

start_pooler transaction
run_node 1 "database=$pooled_db"
try_for 30 is_refused || die "a pooler in transaction mode: $(answer)"
[ "$(metric "$admin_1" 'tam_not_ready{reason="pooler"}')" = 1 ] || die "no metric"
grep -q 'event=not_ready reason=pooler' "$work/node1/log" || die "no log line"
# It stays refused, also while other clients use the pool.
for _ in 1 2 3 4 5; do
	psql -X -q -c 'SELECT 1' "$pooled_db" >/dev/null
	sleep 0.3
	[ "$(answer)" != ok ] || die "accepted"
done
TAMCTL_DATABASE=$pooled_db "$tamctl" db status >"$work/status.out" 2>&1 && die "tamctl uses the pooler"
stop_node 1
stop_pooler
