#!/bin/bash
# A primary that hangs: nothing acknowledged is lost, and nodes go on with the promoted standby by themselves.
set -euo pipefail
work=$build/tests/work/test_failover
# shellcheck source=tests/support/node.sh
. "$top/tests/support/node.sh"
frozen=
trap 'end_failover' EXIT
end_failover() {
	# shellcheck disable=SC2086
	[ -z "$frozen" ] || kill -KILL $frozen 2>/dev/null || true
	end_world
	[ -z "${standby:-}" ] || cluster_stop "$standby"
}

rm -rf "$(cluster_place "$work" pg)" # with its ports of the run before
make_world
primary=$pg
standby=$(cluster_place "$work" standby)
bin=$(cluster_bin)
first=$(free_port)
second=$(free_port)
as() { (cd / && cluster_as "$@"); }

# The primary over TCP too, then a synchronous standby of it.
cat >>"$primary/data/postgresql.auto.conf" <<END
port = $first
listen_addresses = '127.0.0.1'
END
as "$bin/pg_ctl" -D "$primary/data" -m fast -w stop >/dev/null
as "$bin/pg_ctl" -D "$primary/data" -w -t 60 -l "$primary/data/server.log" \
    -o "-k $primary/socket -c fsync=off -c max_connections=200" start >/dev/null || die "no primary"
psql_at() { # PORT STATEMENT
	psql -X -q -A -t -h 127.0.0.1 -p "$1" -U tam -d tam -v ON_ERROR_STOP=1 -c "$2"
}
rm -rf "$standby"
mkdir -p "$standby"
[ "$(id -u)" != 0 ] || chown postgres "$standby"
as "$bin/pg_basebackup" -h 127.0.0.1 -p "$first" -U tam -D "$standby/data" -R -X stream -c fast --no-sync \
    -d "application_name=standby" || die "no base backup"
as mkdir -p "$standby/socket"
sed -i "/^port = /d" "$standby/data/postgresql.auto.conf"
echo "port = $second" >>"$standby/data/postgresql.auto.conf"
as "$bin/pg_ctl" -D "$standby/data" -w -t 60 -l "$standby/data/server.log" \
    -o "-k $standby/socket -c fsync=off -c max_connections=200" start >/dev/null || die "no standby"
psql_at "$first" "ALTER SYSTEM SET synchronous_standby_names = 'standby'"
psql_at "$first" "SELECT pg_reload_conf()" >/dev/null
is_synchronous() { [ "$(psql_at "$first" "SELECT sync_state FROM pg_stat_replication")" = sync ]; }
try_for 30 is_synchronous || die "the standby is not synchronous"

# The primary is listed first: it hangs, and a node must not wait for it.
db="host=127.0.0.1,127.0.0.1 port=$first,$second user=tam dbname=tam target_session_attrs=read-write"
sql() { psql_at "${writable:-$first}" "$1"; }
start_node 1
draft_policy
enrol 400 --keys p256
: >"$work/journal"
fleet_exec --agents 400 --keys p256 --rate 20 --duration 120 --rounds 0 \
    --journal "$work/journal" >"$work/fleet.out" 2>&1 &
fleet_pid=$!
has_lines() { [ "$(wc -l <"$work/journal")" -ge "$1" ]; }
try_for 60 has_lines 40 || die "no session before the fault"

# Every process of the primary stops; it still takes connections and is silent.
postmaster=$(head -n 1 "$primary/data/postmaster.pid")
frozen="$postmaster $(pgrep -P "$postmaster" | tr '\n' ' ')"
# shellcheck disable=SC2086
kill -STOP $frozen
is_cut_off() { [ "$(get "$admin_1" /readyz)" != ok ]; }
try_for 60 is_cut_off || die "ready without a primary"
is_not_leased() { get "$admin_1" '/readyz?verbose' | grep -q '^lease: no lease'; }
try_for 60 is_not_leased || die "a lease without a primary"
before=$(wc -l <"$work/journal")
[ "$(curl -sS --max-time 20 --cacert "$work/keys/tls.crt" -o /dev/null -w '%{http_code}' \
    -H "Authorization: Bearer $(cat "$work/keys/token")" "https://localhost:$admin_1/v1/policies")" = 503 ] ||
	die "the admin API without a primary"

as "$bin/pg_ctl" -D "$standby/data" -w -t 60 promote >/dev/null || die "no promotion"
promoted_ms=$(date +%s%3N)
wait_ready "$admin_1" || die "not ready after the promotion: $(get "$admin_1" '/readyz?verbose')"
ready_ms=$(($(date +%s%3N) - promoted_ms))
writable=$second
has_more() { [ "$(wc -l <"$work/journal")" -gt "$((before + 20))" ]; }
try_for 60 has_more || die "no session after the promotion"
served_ms=$(($(date +%s%3N) - promoted_ms))
echo "ready $ready_ms ms, sessions acknowledged $served_ms ms after the promotion"
kill -TERM "$fleet_pid"
wait "$fleet_pid" || true
stop_node 1

# What an agent received, and what it was told is kept, is in the database that
# is served now.  A token's bytes 20 to 27 are the id.
sql "CREATE TABLE journal (line text)" >/dev/null
psql -X -q -h 127.0.0.1 -p "$second" -U tam -d tam -c "\\copy journal FROM '$work/journal'"
lost=$(sql "WITH j AS (SELECT split_part(line, ' ', 1) AS kind, decode(split_part(line, ' ', 2), 'hex') AS key,
	('x' || substr(split_part(line, ' ', 3), 41, 16))::bit(64)::bigint AS id FROM journal)
	SELECT count(*) FROM j LEFT JOIN device_key k ON k.thumbprint = j.key
	LEFT JOIN outstanding_update u ON u.update_id = j.id AND u.device_id = k.device_id
	WHERE u.update_id IS NULL OR (kind = 'S' AND u.success IS NOT TRUE)")
lines=$(sql "SELECT count(*) FROM journal")
[ "$lines" -gt 0 ] || die "the journal is empty"
[ "$lost" = 0 ] || die "$lost of $lines acknowledged things are lost"
echo "$lines journal lines, nothing lost"
