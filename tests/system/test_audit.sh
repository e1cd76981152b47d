#!/bin/bash
# The record of what was done: whoever changes, removes, reorders or cuts it is
# found out, and a reader misses nothing.
set -euo pipefail
work=$build/tests/work/test_audit
# shellcheck source=tests/support/node.sh
. "$top/tests/support/node.sh"
trap end_world EXIT

make_world
start_node 1
cd "$work"
export TAMCTL_DATABASE=$db
mkdir keys/other
TAMCTL_DATABASE=$db "$tamctl" bootstrap --domain other --key-dir "$work/keys/other" --master-key "$work/keys/master.key" \
    --token-file keys/other.token 2>bootstrap2.out || die "a second domain: $(cat bootstrap2.out)"
draft_policy
enrol 4 --keys p256
fleet --agents 4 --keys p256 --expect $draft_component >fleet.out 2>&1 || die "fleet: $(cat fleet.out)"
sealed() { [ "$(sql "SELECT count(*) FROM device_event WHERE event_id > (SELECT coalesce(max(last_event), 0) FROM device_event_seal)")" = 0 ]; }
try_for 60 sealed || die "device events are never sealed"
stop_node 1

"$tamctl" audit verify >heads.txt || die "verify: $(cat heads.txt)"
[ "$(wc -l <heads.txt)" = 2 ] || die "heads: $(cat heads.txt)"
head=$(awk '$1 == "default" { print $2 }' heads.txt)
"$tamctl" audit verify --domain default --head "$head" >/dev/null || die "the head it just said"
for bad in 'verify --head @head.cose' 'verify --key keys/tam-p256.pub' 'verify --head 1:00' 'verify --domain default --head 1' "verify --head $head" 'verify more' '' 'sign'; do
	status=0
	# shellcheck disable=SC2086  # fields
	"$tamctl" audit $bad >/dev/null 2>&1 || status=$?
	[ $status = 2 ] || die "audit $bad: $status"
done
if "$tamctl" audit verify --domain nobody 2>/dev/null; then die "a domain there is not"; fi

# As the owner of the database, who can do anything but hide it.
n=$(sql "SELECT audit_seq FROM domain WHERE domain_id = 1")
seal=$(sql "SELECT min(audit_seq) FROM device_event_seal WHERE domain_id = 1")
event=$(sql "SELECT min(event_id) FROM device_event WHERE domain_id = 1")
tamper() { # TEXT SQL: is found, and says this
	sql_admin 'DROP DATABASE IF EXISTS tampered' 2>/dev/null
	psql -X -q -h "$pg/socket" -U tam -d postgres -c 'CREATE DATABASE tampered TEMPLATE tam' >/dev/null
	psql -X -q -h "$pg/socket" -U tam -d tampered -v ON_ERROR_STOP=1 -c "$2" >/dev/null || die "tamper: $2"
	if "$tamctl" audit verify --database "${db/dbname=tam/dbname=tampered}" ${3:+--domain default --head "$3"} >/dev/null 2>found.txt; then
		die "not found: $2"
	fi
	grep -qF -- "default: event $1" found.txt || die "$2: $(cat found.txt)"
	if grep -q '^other' found.txt; then die "the other domain: $(cat found.txt)"; fi
	psql -X -q -h "$pg/socket" -U tam -d postgres -c 'DROP DATABASE tampered' >/dev/null
}
tamper '2: changed' "UPDATE audit_event SET actor = 'nobody' WHERE domain_id = 1 AND seq = 2"
tamper '2: changed' "UPDATE audit_event SET at = at + interval '1 us' WHERE domain_id = 1 AND seq = 2"
tamper '2: changed' "UPDATE audit_event SET reason = 'a better one' WHERE domain_id = 1 AND seq = 2"
tamper '3: the events after 1 are missing' "DELETE FROM audit_event WHERE domain_id = 1 AND seq = 2"
tamper '3: the events before it are missing' "DELETE FROM audit_event WHERE domain_id = 1 AND seq < 3"
tamper '3: it does not follow' "UPDATE audit_event SET seq = -seq WHERE domain_id = 1 AND seq IN (3, 4);
	UPDATE audit_event SET seq = 7 + seq WHERE domain_id = 1 AND seq IN (-3, -4)"
tamper "$n: the end of the chain" "DELETE FROM audit_event WHERE domain_id = 1 AND seq = $n"
# Who cuts it and moves the end along is found by who kept the head.
tamper "$n: this event is not the one" "DELETE FROM audit_event WHERE domain_id = 1 AND seq = $n; DELETE FROM device_event_seal WHERE audit_seq = $n AND domain_id = 1;
	UPDATE domain d SET audit_seq = e.seq, audit_hash = e.hash FROM audit_event e WHERE d.domain_id = 1 AND e.domain_id = 1 AND e.seq = $n - 1" "$head"
# Who writes all of it again, too.
tamper "$n: this event is not the one" "UPDATE audit_event SET actor = 'nobody' WHERE domain_id = 1 AND seq = 2;
	DO \$\$ DECLARE e audit_event%ROWTYPE; h bytea := ''; BEGIN FOR e IN SELECT * FROM audit_event WHERE domain_id = 1 ORDER BY seq LOOP
	UPDATE audit_event SET prev_hash = h, hash = audit_hash(h, e.seq, e.at, e.actor, e.action, e.object, e.reason, e.request_id, e.before, e.after)
	WHERE domain_id = 1 AND seq = e.seq RETURNING hash INTO h; END LOOP; UPDATE domain SET audit_hash = h WHERE domain_id = 1; END \$\$" "$head"
tamper "$seal: device events" "UPDATE device_event SET detail = 'x' WHERE event_id = $event"
tamper "$seal: device events" "DELETE FROM device_event WHERE event_id = $event"
tamper "$seal: its seal is missing" "DELETE FROM device_event_seal WHERE audit_seq = $seal AND domain_id = 1"
tamper "$seal: device events" "UPDATE device_event_seal SET count = count + 1 WHERE audit_seq = $seal AND domain_id = 1"

# Two changes that end in the other order than they began: a reader who asks
# for what is after the newest it has seen misses none.
start_node 1
export TAMCTL_SERVER=localhost:$admin_1
rm -f first.in
mkfifo first.in
psql -X -q -A -t -h "$pg/socket" -U tam -d tam <first.in >first.out 2>&1 &
exec 7>first.in
echo "BEGIN; INSERT INTO device_event (domain_id, device_id, at_us, kind) SELECT 1, device_id, 1, 'first' FROM device WHERE name = 'agent-000000';" >&7
first() { [ "$(sql "SELECT count(*) FROM pg_stat_activity WHERE state = 'idle in transaction'")" = 1 ]; }
try_for 10 first || die "the first did not begin: $(cat first.out)"
sql "INSERT INTO device_event (domain_id, device_id, at_us, kind) SELECT 1, device_id, 1, 'second' FROM device WHERE name = 'agent-000000'" >/dev/null
kinds() { "$tamctl" device events agent-000000 limit=all | awk '{ print $2 }' | grep -e first -e second | tr '\n' ' '; }
[ -z "$(kinds)" ] || die "the second is shown before the first can be: $(kinds)"
(
	echo "BEGIN; SELECT audit_append(1, 'a', 'first', '', '', '', NULL, NULL);"
	sleep 1
	echo "COMMIT;"
) | psql -X -q -A -t -h "$pg/socket" -U tam -d tam >/dev/null &
sleep 0.3
sql "SELECT audit_append(1, 'b', 'second', '', '', '', NULL, NULL)" >/dev/null # waits for it
[ "$(sql "SELECT string_agg(action, ' ' ORDER BY seq) FROM audit_event WHERE action IN ('first', 'second')")" = 'first second' ] || die "out of order"
echo 'COMMIT;' >&7
exec 7>&-
both() { [ "$(kinds)" = 'first second ' ]; }
try_for 10 both || die "not both, or not in their order: $(kinds)"

# An event whose transaction began later but got its number first: what is
# sealed does not end behind it.
rm -f early.in late.in
mkfifo early.in late.in
psql -X -q -A -t -h "$pg/socket" -U tam -d tam <early.in >early.out 2>&1 &
exec 7>early.in
psql -X -q -A -t -h "$pg/socket" -U tam -d tam <late.in >late.out 2>&1 &
exec 8>late.in
add="INSERT INTO device_event (domain_id, device_id, at_us, kind) SELECT 1, device_id, 1, 'x' FROM device WHERE name = 'agent-000000' RETURNING event_id;"
said() { [ -s "$1" ]; }
echo 'BEGIN; SELECT pg_current_xact_id();' >&7
try_for 10 said early.out || die "the early one did not begin"
echo "BEGIN; $add" >&8
try_for 10 said late.out || die "the late one did not begin"
echo "$add COMMIT;" >&7
sleep 25 # two turns of the chores
echo 'COMMIT;' >&8
exec 7>&- 8>&-
try_for 60 sealed || die "device events are never sealed"
"$tamctl" audit verify >/dev/null || die "at the end"
stop_node 1

# Heads, signed by the node for whoever keeps them.
start_node 1
published() { # NAME: in NAME.cose
	curl -sS --cacert keys/tls.crt -o "$1.cose" -w '%{http_code} %{content_type}' "https://localhost:$port/published/${2:-default}/$1"
}
has_head() { [[ $(published audit-head) == 200* ]]; }
try_for 30 has_head || die "no head"
[ "$(published audit-head)" = '200 application/cose; cose-type="cose-sign1"' ] || die "head: $(published audit-head)"
[ "$(published audit-tail)" = '404 ' ] || die "a tail: $(published audit-tail)"
[ "$(published audit-head nobody)" = '404 ' ] || die "a head of nobody"
# A payload is signed once, however many ask: ECDSA never makes the same bytes twice.
same_bytes() { published audit-head && cp audit-head.cose first.cose && published audit-head && cmp audit-head.cose first.cose; }
try_for 10 same_bytes || die "each request was signed anew"
published audit-head >/dev/null
stop_node 1
start_node 1 publish_every_s=0
[ "$(curl -sS --cacert keys/tls.crt -o none.cose -w '%{http_code}' "https://localhost:$port/published/default/audit-head")" = 404 ] || die "published, though nothing is to be"
stop_node 1
"$tamctl" audit verify --head @audit-head.cose --key keys/tam-p256.pub >heads.txt || die "the signed head"
[ "$(wc -l <heads.txt)" = 1 ] || die "heads: $(cat heads.txt)"
if "$tamctl" audit verify --head @audit-head.cose --key keys/tam-ed25519.pub >/dev/null 2>&1; then die "signed by another"; fi
if "$tamctl" audit verify --head @heads.txt --key keys/tam-p256.pub >/dev/null 2>&1; then die "not signed"; fi
# Whoever cuts the chain and moves its end is found by it.
n=$(sql "SELECT audit_seq FROM domain WHERE domain_id = 1")
sql_admin 'DROP DATABASE IF EXISTS tampered' 2>/dev/null
sql_admin 'CREATE DATABASE tampered TEMPLATE tam'
psql -X -q -h "$pg/socket" -U tam -d tampered -c "UPDATE domain d SET audit_seq = e.seq, audit_hash = e.hash FROM audit_event e
	WHERE d.domain_id = 1 AND e.domain_id = 1 AND e.seq = 2; DELETE FROM device_event_seal; DELETE FROM device_event; DELETE FROM audit_event WHERE seq > 2" >/dev/null
TAMCTL_DATABASE="${db/dbname=tam/dbname=tampered}" "$tamctl" audit verify --domain default >/dev/null || die "it was cut badly"
if TAMCTL_DATABASE="${db/dbname=tam/dbname=tampered}" "$tamctl" audit verify --head @audit-head.cose --key keys/tam-p256.pub >/dev/null 2>found.txt; then die "cut, and not found"; fi
grep -q "is not the one that was kept elsewhere" found.txt || die "cut: $(cat found.txt)"
sql_admin 'DROP DATABASE tampered'

# Months: two are there before they begin, and what comes too early by some
# clock is moved to where it belongs.
at() { sql "SELECT (extract(epoch FROM date_trunc('month', now() AT TIME ZONE 'UTC') + interval '$1') * 1e6)::bigint"; }
place() { sql "SELECT DISTINCT tableoid::regclass FROM $1 WHERE $2"; }
[ "$(sql "SELECT count(*) FROM event_partition")" = 6 ] || die "partitions: $(sql 'SELECT * FROM event_partition')"
sql "INSERT INTO device_event (domain_id, device_id, at_us, kind) VALUES (1, 1, $(at '35 days'), 'next month'), (1, 1, $(at '130 days'), 'far')" >/dev/null
[ "$(place device_event "kind = 'next month'")" = "device_event_$(date -u -d "$(date -u +%Y-%m-15) +1 month" +%Y_%m)" ] || die "in $(place device_event "kind = 'next month'")"
[ "$(place device_event "kind = 'far'")" = device_event_other ] || die "in $(place device_event "kind = 'far'")"
# More than is sealed at once is sealed in parts.
sql "INSERT INTO device_event (domain_id, device_id, at_us, kind) SELECT 1, 1, 1, 'many' FROM generate_series(1, 200005)" >/dev/null
start_node 1
try_for 120 sealed || die "what came early is never sealed"
[ "$(sql 'SELECT count(*) FROM device_event_seal WHERE count >= 49000')" = 4 ] || die "seals: $(sql 'SELECT last_event, count FROM device_event_seal')"
stop_node 1
sql "SELECT event_tend($(at '130 days'))" >/dev/null
[ "$(place device_event "kind = 'far'")" = "device_event_$(date -u -d "$(date -u +%Y-%m-15) +4 month" +%Y_%m)" ] || die "in $(place device_event "kind = 'far'")"
"$tamctl" audit verify >heads.txt || die "moved, and not what it was"
old=$(awk '$1 == "default" { print $2 }' heads.txt)

# They are kept until somebody says how many; then whole ones go, when all that
# is in them is sealed, and the chain begins where they ended.
[ "$("$tamctl" audit retain)" = 'all months are kept' ] || die "$("$tamctl" audit retain)"
for bad in 'retain --months 0' 'retain --months -1' 'retain --months x' 'retain --months 2 more' 'retain --domain default'; do
	status=0
	# shellcheck disable=SC2086  # fields
	"$tamctl" audit $bad >/dev/null 2>&1 || status=$?
	[ $status = 2 ] || die "audit $bad: $status"
done
[ "$("$tamctl" audit retain --months 2)" = '2 months are kept' ] || die "retain"
sql "SELECT event_tend($(at '70 days'))" >/dev/null
[ "$(place audit_event 'seq = 1')" = audit_event_first ] || die "a month went that was to be kept"
sql "INSERT INTO device_event (domain_id, device_id, at_us, kind) VALUES (1, 1, 1, 'not sealed')" >/dev/null
sql "SELECT event_tend($(at '100 days'))" >/dev/null
[ "$(place audit_event 'seq = 1')" = audit_event_first ] || die "an event went that nobody had sealed"
start_node 1
try_for 60 sealed || die "device events are never sealed"
stop_node 1
n=$(sql "SELECT audit_seq FROM domain WHERE domain_id = 1")
sql "UPDATE domain SET audit_at = to_timestamp($(at '100 days') / 1e6); SELECT event_tend($(at '100 days'))" >/dev/null
[ "$(sql 'SELECT count(*) FROM audit_event WHERE domain_id = 1 AND seq <= '"$n")" = 0 ] || die "the month is still there"
[ "$(sql "SELECT after->>'seq' FROM audit_event WHERE domain_id = 1 AND seq = $n + 1 AND action = 'drop'")" = "$n" ] || die "not said: $(sql 'TABLE audit_event')"
[ "$(sql "SELECT string_agg(kind, ' ' ORDER BY event_id) FROM device_event")" = 'next month far' ] || die "left: $(sql 'SELECT kind FROM device_event')"
start_node 1
sql "INSERT INTO device_event (domain_id, device_id, at_us, kind) VALUES (1, 1, $(at '100 days'), 'x'), (1, 1, $(at '131 days'), 'y')" >/dev/null
try_for 60 sealed || die "device events are never sealed"
stop_node 1
"$tamctl" audit verify >heads.txt || die "after a month was dropped"
head=$(awk '$1 == "default" { print $2 }' heads.txt)
"$tamctl" audit verify --domain default --head "$head" >/dev/null || die "the head it just said"
if "$tamctl" audit verify --domain default --head "$old" >/dev/null 2>found.txt; then die "a head of what is gone"; fi
grep -q 'dropped with its month: give a newer head' found.txt || die "$(cat found.txt)"
n=$(sql "SELECT min(seq) FROM audit_event WHERE domain_id = 1")
seal=$(sql "SELECT max(audit_seq) FROM device_event_seal WHERE domain_id = 1")
tamper "$n: changed" "UPDATE audit_event SET after = jsonb_set(after, '{seq}', '0') WHERE domain_id = 1 AND seq = $n"
tamper "$((n + 1)): the events before it are missing" "DELETE FROM audit_event WHERE domain_id = 1 AND seq = $n"
tamper "$n: the events after 1 are missing" "INSERT INTO audit_event SELECT 1, 1, at - interval '2 months', actor, action, object, reason, request_id, before, after, prev_hash, hash
	FROM audit_event WHERE domain_id = 1 AND seq = $n"
tamper "$seal: device events" "DELETE FROM device_event WHERE kind = 'y'"
tamper "$seal: there are more" "INSERT INTO device_event (event_id, domain_id, device_id, at_us, kind) SELECT last_event, 1, 1, 1, 'z' FROM device_event_seal
	WHERE audit_seq = $seal AND domain_id = 1"
for bad in "SELECT event_tend(1)" "SELECT event_drop(9000000000000000)" "UPDATE event_retention SET months = 1" 'TRUNCATE device_event' \
    'SELECT * FROM device_event_other' 'DROP TABLE device_event_other'; do
	for role in tam_wire tam_admin; do
		if sql "SET ROLE $role; $bad" 2>/dev/null; then die "$role may: $bad"; fi
	done
done
sql "SET ROLE tam_wire; SELECT event_tend()" >/dev/null || die "nodes cannot make partitions"
"$tamctl" audit retain --months all >/dev/null
[ "$("$tamctl" audit retain)" = 'all months are kept' ] || die "$("$tamctl" audit retain)"
[ "$(sql "SELECT string_agg(after->>'months', ' ' ORDER BY seq) FROM audit_event WHERE domain_id = 2 AND action = 'audit_retain'")" = all ] ||
	die "who said so is not told: $(sql "SELECT action, after FROM audit_event WHERE domain_id = 2")"
"$tamctl" audit verify >/dev/null || die "at the very end"
