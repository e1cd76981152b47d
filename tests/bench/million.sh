#!/bin/bash
# million.sh BUILD [DEVICES] - what administrators wait for when a domain has a
# million devices: milliseconds per request, tamctl included, and the CPU time
# of the database for each.  Loading takes minutes.
set -euo pipefail
top=$(cd "$(dirname "$0")/../.." && pwd)
build=$(cd "$1" && pwd)
devices=${2:-1000000}
work=$top/var/million
# shellcheck source=tests/support/node.sh
. "$top/tests/support/node.sh"
trap end_world EXIT
make_world >/dev/null 2>&1
start_node 1
draft_policy
cd "$work"
echo "loading $devices devices, three components each, in fifty different inventories"
sql "SET max_parallel_workers_per_gather = 0;
     INSERT INTO device (domain_id, name, class) SELECT 1, 'd' || lpad(i::text, 7, '0'), 'c' || i % 7 FROM generate_series(1, $devices) i;
     INSERT INTO device_seen (domain_id, device_id, seen_us, inventory_hash)
	SELECT 1, device_id, (extract(epoch FROM clock_timestamp()) * 1e6)::int8 - device_id % 100 * 3600000000, sha256((device_id % 50)::text::bytea) FROM device;
     INSERT INTO device_label SELECT 1, 'region', (ARRAY['eu', 'us', 'ap'])[1 + device_id % 3], device_id FROM device;
     INSERT INTO device_component SELECT 1, d.device_id, component_cbor('vendor/' || k), sha256(('v' || k || CASE k WHEN 3 THEN '-' || d.device_id % 50 ELSE '' END)::bytea), 'reported', 1
	FROM device d, generate_series(1, 3) k" >/dev/null
sql "ALTER DATABASE tam SET max_parallel_workers_per_gather = 0; ANALYZE" >/dev/null
two=$(make_component vendor/2 1 v2)
new=$(make_component vendor/9 2 v9)
echo "{\"components\": [{\"manifest\": \"$new\"}]}" >all.json
echo "{\"selector\": \"class == \\\"c3\\\"\", \"components\": [{\"manifest\": \"$new\"}]}" >class.json

# CPU time of every backend so far, ms.
database_ms() {
	local sum=0 pid ticks
	for pid in $(sql "SELECT pid FROM pg_stat_activity WHERE usename LIKE 'tam%' AND pid <> pg_backend_pid()"); do
		ticks=$(awk '{ print $14 + $15 }' "/proc/$pid/stat" 2>/dev/null || echo 0)
		sum=$((sum + ticks * 10))
	done
	echo $sum
}
timed() { # LABEL TAMCTL-ARGUMENT...: the best of three
	local label=$1 best='' cpu='' begin before spent
	shift
	for _ in 1 2 3; do
		before=$(database_ms)
		begin=$(date +%s%N)
		"$tamctl" -o json "$@" >answer.json || die "$*"
		spent=$((($(date +%s%N) - begin) / 1000000))
		if [ -z "$best" ] || [ "$spent" -lt "$best" ]; then
			best=$spent
			cpu=$(($(database_ms) - before))
		fi
	done
	printf '%-44s %7d ms   database %6d ms\n' "$label" "$best" "$cpu"
}
timed 'list, first page' device list
timed 'list, a late page' device list "cursor=$(printf 'd%07d' $((devices * 99 / 100)) | base64)"
timed 'list by a selector' device list 'selector=labels.region == "eu" and class == "c3"'
timed 'explain a device' device explain "$(printf 'd%07d' $((devices / 2)))"
timed 'count by class' device count 'selector=class == "c3"'
timed 'count who holds a component (all)' device count 'selector=component("vendor/2")'
timed 'dry run of a policy for all' policy dry-run new all.json
timed 'dry run of a policy for one class' policy dry-run new class.json
timed 'blast radius of a component all hold' revocation create component=vendor/2 reason=x dry_run=true
timed 'blast radius of one image of it' revocation create "manifest=$two" reason=x dry_run=true
timed 'blast radius of a class' revocation create class=c3 reason=x dry_run=true
begin=$(date +%s%N)
"$tamctl" -o json revocation create component=vendor/2 reason=test >answer.json
echo "revoked after $((($(date +%s%N) - begin) / 1000000)) ms"
counted() { "$tamctl" -o json revocation status 1 | tr -d ' \n' >status.json && grep -q '"counting":false' status.json; }
try_for 600 counted || die "never counted"
echo "in force after $(json_number in_force_ms <status.json) ms; all $(json_number affected <status.json) affected written down after $((($(date +%s%N) - begin) / 1000000)) ms"
timed 'status of that revocation' revocation status 1
stop_node 1
