#!/bin/bash
# What administrators ask of a large fleet is found by indexes: the plans as the
# database ran them, for the role of the API, behind row-level security.
set -euo pipefail
work=$build/tests/work/test_plans
# shellcheck source=tests/support/node.sh
. "$top/tests/support/node.sh"
trap end_world EXIT

make_world
cd "$work"
sql "ALTER DATABASE tam SET session_preload_libraries = 'auto_explain'; ALTER DATABASE tam SET auto_explain.log_min_duration = 0;
     ALTER DATABASE tam SET max_parallel_workers_per_gather = 0" >/dev/null
start_node 1
draft_policy
app=$(make_component vendor/app 1 app)
# Two domains, so that a domain is not everything there is.
sql "SET auto_explain.log_min_duration = -1;
     INSERT INTO domain (name, incarnation) VALUES ('other', 1);
     INSERT INTO device (domain_id, name, class) SELECT x, 'd' || lpad(i::text, 6, '0'), 'c' || i % 7 FROM generate_series(1, 20000) i, generate_series(1, 2) x;
     INSERT INTO device_seen (domain_id, device_id, seen_us, inventory_hash) SELECT domain_id, device_id, 1000000 * device_id, '\\x00' FROM device;
     INSERT INTO device_key SELECT domain_id, sha256(convert_to(domain_id || name, 'UTF8')), device_id, 'p256', '\\x00' FROM device;
     INSERT INTO device_label SELECT domain_id, 'region', 'r' || device_id % 100, device_id FROM device;
     INSERT INTO device_component SELECT domain_id, device_id, component_cbor('vendor/' || CASE WHEN device_id % 500 = 0 THEN 'rare' ELSE 'app' END),
	sha256('app'), 'reported', 1 FROM device;
     INSERT INTO device_event (domain_id, device_id, at_us, kind) SELECT domain_id, device_id, 1, 'x' FROM device, generate_series(1, 3);
     INSERT INTO outstanding_update (domain_id, update_id, device_id, opener, content, manifests, adds, add_digests, removes, revocations, epoch,
	reason, state, committed_us, offered_us, expires_us) SELECT domain_id, device_id, device_id, device_id::text::bytea, '', '{}', '{}', '{}', '{}', '{}',
	1, 'policy', 'answered', 1, 1, 1 FROM device;
     INSERT INTO rollout (domain_id, name, document, state, author, created_us) SELECT x, 'old', jsonb_build_object('stages', '[{}]'::jsonb), 'aborted', 'x', 1 FROM generate_series(1, 2) x;
     INSERT INTO rollout_device SELECT domain_id, rollout_id, device_id, 0, false, 'verified', 1, 1, 1 FROM rollout JOIN device USING (domain_id);
     INSERT INTO revocation (domain_id, target, components, label, reason, author, epoch, created_us, lifted_us)
	SELECT x, 'signer', '{}', 'old', 'x', 'x', 1, 1, 1 FROM generate_series(1, 2) x;
     INSERT INTO revocation_device (domain_id, revocation_id, device_id, affected_us) SELECT domain_id, revocation_id, device_id, 1 FROM revocation
	JOIN device USING (domain_id);
     ANALYZE" >/dev/null
name=$(sql "SELECT name FROM device WHERE domain_id = 1 AND name = 'd015000'")
log=$pg/data/server.log
plans() { # TAMCTL-ARGUMENT...: the plans of what it made the database do, in plans.txt
	local before
	sleep 0.1 # what the node itself did is in the log by then
	before=$(wc -c <"$log")
	"$tamctl" -o json "$@" >answer.json || die "$*: $(cat answer.json)"
	sleep 0.2
	tail -c +"$((before + 1))" "$log" >plans.txt
	grep -q 'Query Text' plans.txt || die "$*: no plan was logged"
}
big='device|device_seen|device_key|device_label|device_component|device_event|outstanding_update|rollout_device|revocation_device'
indexed() { # TAMCTL-ARGUMENT...: reads no large table whole, of whatever domain
	plans "$@"
	if grep -E "Seq Scan on ($big)( |\$)" plans.txt; then
		cat plans.txt >&2
		die "$* reads a table whole"
	fi
	# Nor an index of it, but for what it answers with.
	awk -v max="${rows_max:-600}" 'match($0, /rows=[0-9]+ loops/) { split(substr($0, RSTART + 5), n, " "); if (n[1] > max) { print; bad = 1 } } END { exit bad }' plans.txt ||
		die "$* reads too much"
}
sql "ALTER DATABASE tam SET auto_explain.log_analyze = on; ALTER DATABASE tam SET auto_explain.log_timing = off" >/dev/null
stop_node 1
start_node 1
export TAMCTL_SERVER=localhost:$admin_1
# tamctl reads a list to its end; a page is what has to be cheap.
indexed device list limit=100
indexed device list limit=100 "cursor=$(printf 'device_list d015000' | base64)"
indexed device list limit=500 "cursor=$(printf 'device_list d010000' | base64)"
indexed device get "$name"
indexed device explain "$name"
indexed device events "$name"
indexed device set "$name" class=new reason=test
rows_max=20001 indexed revocation create component=vendor/rare reason=test dry_run=true # tells how many devices there are, too
[ "$(tr -d ' ' <answer.json | sed 's/.*"affected":\([0-9]*\).*/\1/')" = "$(sql "SELECT count(*) FROM device_component WHERE domain_id = 1 AND component = component_cbor('vendor/rare')")" ] ||
	die "the blast radius: $(cat answer.json)"
indexed device list limit=100 'selector=component("vendor/rare")'
indexed device list limit=100 'selector=labels.region == "r7"'
indexed device count 'selector=labels.region == "r7"'
id=$("$tamctl" -o json revocation create component=vendor/rare reason=test | json_number id)
counted() { "$tamctl" -o json revocation status "$id" | tr -d ' \n' | grep -q '"counting":false'; }
try_for 60 counted || die "never counted"
indexed revocation devices "$id" limit=100
indexed rollout devices old limit=100
indexed rollout list limit=100
indexed policy list
indexed channel list
indexed manifest get "$app"
indexed event list
# What cannot be had without the whole fleet is told apart by this very check.
plans fleet status
grep -qE "Seq Scan on ($big)( |\$)|Index Only Scan" plans.txt || die "the fleet is counted without being read"
stop_node 1
