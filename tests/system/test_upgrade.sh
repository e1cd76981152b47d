#!/bin/bash
# A database of an earlier release, with what nodes and people wrote in it, is
# what it was after the migrations since; and is served.
set -euo pipefail
work=$build/tests/work/test_upgrade
# shellcheck source=tests/support/node.sh
. "$top/tests/support/node.sh"
trap end_world EXIT

make_world
cd "$work"
export TAMCTL_DATABASE=$db
start_node 1
draft_policy
enrol 4 --keys p256
fleet --agents 4 --keys p256 --expect $draft_component >fleet.out 2>&1 || die "fleet: $(cat fleet.out)"
stop_node 1
state() { psql -X -q -A -t -h "$pg/socket" -U tam -d "$1" -c "SELECT d.name, k.thumbprint, c.component, c.digest, s.stamp_us, s.inventory_hash
	FROM device d JOIN device_key k USING (domain_id, device_id) JOIN device_seen s USING (domain_id, device_id)
	LEFT JOIN device_component c USING (domain_id, device_id) ORDER BY 1, 2, 3"; }

# As the release that had 28 migrations left it: the same rows in its tables.
mkdir -p before
for f in "$top"/migrations/00[01]*.sql "$top"/migrations/002[0-8]*.sql; do cp "$f" before/; done
sql_admin 'DROP DATABASE IF EXISTS before' 2>/dev/null
sql_admin 'CREATE DATABASE before'
old="${db/dbname=tam/dbname=before}"
then_sql() { psql -X -q -A -t -h "$pg/socket" -U tam -d before -v ON_ERROR_STOP=1 -c "$1"; }
"$tamctl" db migrate --database "$old" --migrations "$work/before" >migrate.out || die "the migrations of then: $(cat migrate.out)"
for t in domain wire_profile tam_key principal trust_anchor manifest manifest_component policy policy_revision device device_key device_seen \
    device_component; do
	columns=$(then_sql "SELECT string_agg(quote_ident(column_name), ', ' ORDER BY ordinal_position) FROM information_schema.columns
		WHERE table_schema = 'public' AND table_name = '$t' AND is_generated = 'NEVER'")
	psql -X -q -h "$pg/socket" -U tam -d tam -c "COPY (SELECT $columns FROM $t) TO STDOUT" |
		psql -X -q -h "$pg/socket" -U tam -d before -v ON_ERROR_STOP=1 -c "COPY $t ($columns) FROM STDIN" || die "$t"
done
state tam >was.txt
[ "$(wc -l <was.txt)" -ge 4 ] || die "nothing there: $(cat was.txt)"
# Events, some of them by a clock that is ahead, sealed; a revocation on its way.
then_sql "UPDATE domain SET audit_seq = 0, audit_hash = '';
	SELECT setval('device_id_seq', (SELECT max(device_id) FROM device));
	SELECT audit_append(1, 'a', 'one', '', '', '', NULL, NULL);
	INSERT INTO device_event (domain_id, device_id, at_us, kind) SELECT 1, device_id, (extract(epoch FROM now() + i * interval '20 days') * 1e6)::int8, 'x'
	FROM device, generate_series(0, 9) i;
	INSERT INTO revocation (domain_id, target, components, label, reason, author, epoch, created_us)
	VALUES (1, 'component', '{}', 'x', 'x', 'x', 1, 1);
	INSERT INTO revocation_device (domain_id, revocation_id, device_id, affected_us, offered_us, verified_us)
	SELECT 1, 1, device_id, 1, 2, CASE WHEN device_id % 2 = 0 THEN 3 END FROM device" >/dev/null
for _ in 1 2 3; do then_sql 'SELECT device_event_seal_step(1)' >/dev/null; done
[ "$(then_sql 'SELECT sum(count) FROM device_event_seal')" = 40 ] || die "not sealed"
then_sql "INSERT INTO device_event (domain_id, device_id, at_us, kind) SELECT 1, device_id, 1, 'y' FROM device" >/dev/null
events() { psql -X -q -A -t -h "$pg/socket" -U tam -d before -c "SELECT event_id, device_id, at_us, kind FROM device_event ORDER BY 1"; }
events >events.txt

"$tamctl" db migrate --database "$old" --migrations "$top/migrations" >migrate.out || die "the migrations since: $(cat migrate.out)"
[ "$(state before)" = "$(cat was.txt)" ] || die "devices are not what they were"
[ "$(events)" = "$(cat events.txt)" ] || die "events are not what they were"
"$tamctl" audit verify --database "$old" >/dev/null || die "the chain is not what it was"
[ "$(then_sql "SELECT sum(n) FILTER (WHERE mask = 1) || ' ' || sum(n) FILTER (WHERE mask = 5) FROM revocation_count")" = '2 2' ] ||
	die "the funnel: $(then_sql 'SELECT * FROM revocation_count')"
db=$old
export TAMCTL_DATABASE=$db
unset TAMCTL_SERVER # of the node before
"$tamctl" db accept-restore >/dev/null || die "accept-restore" # no node remembers this database
start_node 2
fleet --agents 4 --keys p256 --expect $draft_component >fleet.out 2>&1 || die "the same fleet: $(cat fleet.out)"
sealed() { [ "$(then_sql "SELECT count(*) FROM device_event WHERE event_id > (SELECT coalesce(max(last_event), 0) FROM device_event_seal)")" = 0 ]; }
try_for 60 sealed || die "device events are never sealed"
stop_node 2
"$tamctl" audit verify >/dev/null || die "the chain at the end"
sql_admin 'DROP DATABASE before'
