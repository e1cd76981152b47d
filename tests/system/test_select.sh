#!/bin/bash
# Selectors through the API: lists, counts, changes of many, and policies whose
# devices come and go with what is known of them.
set -euo pipefail
work=$build/tests/work/test_select
# shellcheck source=tests/support/node.sh
. "$top/tests/support/node.sh"
trap end_world EXIT

make_world
start_node 1
draft_policy
cd "$work"
enrol 40 --keys p256
settle
names() { "$tamctl" -o name device list "selector=$1" limit=200 | tr '\n' ' '; }
count() { "$tamctl" -o json device count "selector=$1" | json_number devices; }
is() { [ "$(count "$1")" = "$2" ] || die "$1: $(count "$1") devices, not $2"; }

is '' 40
is 'class == "cam"' 40
is 'class != "cam"' 0
is 'labels.shard == "0" or labels.shard in ("1", "2")' "$(sql "SELECT count(*) FROM device_label WHERE value IN ('0', '1', '2')")"
is 'not exists labels.nothing and last_seen < ago(1s)' 0 # never is not long ago
is 'name in ("p-000001", "p-000002")' 0
first=$(sql "SELECT min(name) FROM device")
[ "$(names "name == \"$first\"")" = "$first " ] || die "names: $(names "name == \"$first\"")"
# A page, and the next, of the same selector.
"$tamctl" -o json device list 'selector=labels.shard >= "0"' limit=25 >page1.json
cursor=$(tr -d '\n' <page1.json | sed -n 's/.*"cursor" *: *"\([^"]*\)".*/\1/p')
[ -n "$cursor" ] || die "no cursor: $(cat page1.json)"
[ "$("$tamctl" -o name device list 'selector=labels.shard >= "0"' limit=25 "cursor=$cursor" | wc -l)" = 15 ] || die "the second page"

# What is wrong is said with its column, and changes nothing.
before=$(sql 'SELECT md5(string_agg(d::text, chr(10) ORDER BY device_id)) FROM device d')
while IFS='|' read -r selector column; do
	if "$tamctl" device list "selector=$selector" 2>bad.err; then die "$selector was taken"; fi
	grep -q "422 bad_selector at /selector: column $column: expected" bad.err || die "$selector: $(cat bad.err)"
	if "$tamctl" device change "selector=$selector" status=quarantined reason=test 2>bad.err; then die "$selector changed"; fi
	grep -q "422 bad_selector at /selector: column $column: expected" bad.err || die "$selector: $(cat bad.err)"
done <<'END'
klass == "a"|1
class = "cam"|7
class == "cam" and|19
last_seen == "2026-01-01"|11
component("a b")|11
END
for bad in 'status=asleep' 'update_bytes=3' 'labels={"a": 1}'; do
	if "$tamctl" device change selector= reason=test "$bad" 2>bad.err; then die "$bad was taken"; fi
	grep -q ' 422 ' bad.err || die "$bad: $(cat bad.err)"
done
if "$tamctl" device change selector= reason=test 'labels=["a"]' 2>bad.err; then die "labels that are no object"; fi
grep -q 'labels: must be a JSON object' bad.err || die "labels: $(cat bad.err)"
if "$tamctl" device change selector= status=active reason= 2>bad.err; then die "no reason"; fi
grep -q /reason bad.err || die "no reason: $(cat bad.err)"
if "$tamctl" device change status=active reason=test 2>bad.err; then die "no selector"; fi
[ "$(sql 'SELECT md5(string_agg(d::text, chr(10) ORDER BY device_id)) FROM device d')" = "$before" ] || die "something changed"

# Changed alike: tried first, then done, with one line in the audit log.
shard='labels.shard == "3"'
n=$(count "$shard")
"$tamctl" -o json device change "selector=$shard" class=canary 'labels={"shard": null, "ring": "1"}' reason=ring dry_run=true >dry.json
[ "$(json_number devices <dry.json)" = "$n" ] || die "dry run: $(cat dry.json)"
is 'class == "canary"' 0
"$tamctl" device change "selector=$shard" class=canary 'labels={"shard": null, "ring": "1"}' reason=ring >/dev/null
is 'class == "canary" and labels.ring == "1" and not exists labels.shard' "$n"
[ "$(sql "SELECT object || '|' || reason FROM audit_event WHERE action = 'device_change'")" = "$n devices|ring" ] ||
	die "audit: $(sql "SELECT object, reason FROM audit_event WHERE action = 'device_change'")"
one=$(names 'class == "canary"' | cut -d' ' -f1)
"$tamctl" device set "$one" 'labels={"ring": null, "site": "9"}' >/dev/null
is "name == \"$one\" and labels.site == \"9\" and not exists labels.ring" 1

# Out, and in again, as lines and as rows; what is no row is told with its number.
"$tamctl" -o json device export limit=all >all.ndjson
[ "$(wc -l <all.ndjson)" = "$(sql 'SELECT count(*) FROM device')" ] || die "exported $(wc -l <all.ndjson)"
all() { sql "SELECT md5(string_agg(x, ',' ORDER BY x)) FROM (SELECT concat_ws('|', d.name, d.class, d.status, d.update_bytes, k.thumbprint,
	(SELECT string_agg(key || '=' || value, ',' ORDER BY key) FROM device_label l WHERE l.device_id = d.device_id)) AS x
	FROM device d LEFT JOIN device_key k USING (device_id)) y"; }
"$tamctl" device set "$one" update_bytes=4096 status=quarantined reason=test >/dev/null
"$tamctl" -o csv device export limit=all >all.csv
[ "$(head -n 1 all.csv | tr -d '\r')" = name,class,status,update_bytes,labels,key ] || die "csv: $(head -n 2 all.csv)"
was=$(all)
# Known devices get class and labels, new ones status and size of Updates too.
back() { # FILE WHAT
	"$tamctl" -o csv device import "$1" >import.out || die "import of $1"
	[ "$(grep -c "$2" import.out)" = "$(wc -l <all.ndjson)" ] || die "import of $1: $(cat import.out)"
	[ "$(all)" = "$was" ] || die "it came back otherwise by $1"
}
for file in all.ndjson all.csv; do
	sql "UPDATE device SET class = 'lost' WHERE name <> '$one'; DELETE FROM device_label WHERE device_id <> (SELECT device_id FROM device WHERE name = '$one')" >/dev/null
	sed "/\"\?$one\"\?[\",]/d" $file >most.${file#all.}
	"$tamctl" -o csv device import most.${file#all.} >import.out || die "import of $file"
	[ "$(grep -c updated import.out)" = $(($(wc -l <all.ndjson) - 1)) ] || die "import of $file: $(cat import.out)"
	[ "$(all)" = "$was" ] || die "it came back otherwise by $file"
	if "$tamctl" -o csv device import all.ndjson >import.out 2>/dev/null; then die "an import changed a status"; fi
	grep "$one" import.out | grep -q 'error.*quarantined: an import does not change' || die "an import of another status"
done
sql 'TRUNCATE device CASCADE' >/dev/null
back all.csv created
back all.csv updated
[ "$(all)" = "$was" ] || die "it came back otherwise: $(head -n 3 all.csv)"
cat >some.csv <<END
name,labels.site,labels.ring,key
"a ""new"", one",9,,"{""kty"":""OKP"",""crv"":""Ed25519"",""x"":""11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo""}"
too,few
x,1,2,{
END
if "$tamctl" -o json device import some.csv >import.out 2>import.err; then die "an import with bad rows"; fi
[ "$(cat import.err)" = 'tamctl: some.csv: 2 of 3 were refused' ] || die "import: $(cat import.err)"
[ "$(tr -d ' ' <import.out | grep -c '"line":2,.*"created"\|"line":3,.*alinemustbeaJSONobject\|"line":4,.*JWK')" = 3 ] || die "import: $(cat import.out)"
[ "$(sql "SELECT count(*) FROM device JOIN device_label l USING (device_id) WHERE name = 'a \"new\", one' AND l.key || l.value = 'site9'")" = 1 ] || die "not that one"
# A decommissioned device comes back by its name only.
"$tamctl" device set "$one" status=decommissioned reason=gone >/dev/null
grep "\"$one\"" all.ndjson >one.ndjson
if "$tamctl" -o json device import one.ndjson >import.out 2>/dev/null; then die "it was taken"; fi
grep -q 'this device is decommissioned' import.out || die "it came back: $(cat import.out)"
"$tamctl" device change "selector=name == \"$one\"" status=active reason=all >/dev/null
is "name == \"$one\" and status == \"decommissioned\"" 1
"$tamctl" device set "$one" status=active reason=found >/dev/null
is "name == \"$one\" and status == \"active\"" 1
sql "DELETE FROM device_key WHERE device_id = (SELECT device_id FROM device WHERE name LIKE 'a \"%'); DELETE FROM device_label WHERE device_id =
	(SELECT device_id FROM device WHERE name LIKE 'a \"%'); DELETE FROM device_seen WHERE device_id = (SELECT device_id FROM device WHERE name LIKE 'a \"%');
	DELETE FROM device WHERE name LIKE 'a \"%'" >/dev/null

# From state to state; whoever is in another one stays.
state() { sql "SELECT string_agg(status, ' ' ORDER BY name) FROM device WHERE name IN ('agent-000001', 'agent-000002')"; }
sql "UPDATE device SET status = 'pending' WHERE name = 'agent-000001'; UPDATE device SET status = 'active' WHERE name = 'agent-000002'" >/dev/null
[ "$("$tamctl" device approve agent-000001 reason=seen)" = '1 active' ] || die "approve"
[ "$(state)" = 'active active' ] || die "approved: $(state)"
if "$tamctl" device approve agent-000001 agent-000002 reason=again >/dev/null; then die "approved who was not pending"; fi
[ "$("$tamctl" device quarantine agent-000001 agent-000002 reason=odd)" = '2 quarantined' ] || die "quarantine"
[ "$("$tamctl" device release 'selector=name == "agent-000001" or name == "agent-000002"' reason=fine)" = '2 active' ] || die "release"
[ "$("$tamctl" device decommission agent-000002 reason=gone)" = '1 decommissioned' ] || die "decommission"
if "$tamctl" device release agent-000002 reason=back >/dev/null; then die "released from there"; fi
[ "$(state)" = 'active decommissioned' ] || die "decommissioned: $(state)"
for bad in 'approve agent-000001' 'approve reason=x' 'approve agent-000001 selector=x reason=x' 'quarantine agent-000001 reason='; do
	status=0
	# shellcheck disable=SC2086  # fields
	"$tamctl" device $bad >/dev/null 2>&1 || status=$?
	[ $status = 2 ] || die "device $bad: $status"
done
"$tamctl" device set agent-000002 status=active reason=found >/dev/null

# More than one request changes: in parts, each a request.
sql "WITH d AS (INSERT INTO device (domain_id, name, class) SELECT 1, 'many' || i, 'many' FROM generate_series(1, 100005) i RETURNING device_id)
	INSERT INTO device_seen (domain_id, device_id) SELECT 1, device_id FROM d" >/dev/null
sql "ANALYZE device, device_seen" # which autovacuum does some time later, or amid the next request
if "$tamctl" device change 'selector=class == "many"' class=few reason=all 2>bad.err; then die "all at once"; fi
grep -q '422 too_many at /selector' bad.err || die "many: $(cat bad.err)"
is 'class == "many"' 100005
"$tamctl" -o json device change 'selector=class == "many"' class=few reason=all after=0 >parts.out || die "in parts: $(cat parts.out)"
[ "$(tr -d ' \n' <parts.out | sed 's/"after":[0-9]*/"after":N/')" = '{"devices":100000,"after":N}{"devices":5}' ] || die "parts: $(cat parts.out)"
is 'class == "few"' 100005
sql "DELETE FROM device_change; DELETE FROM device_seen WHERE device_id IN (SELECT device_id FROM device WHERE class = 'few'); DELETE FROM device WHERE class = 'few'" >/dev/null

# A policy of the whole language: who it is for follows what is known.
play() { fleet --agents 40 --keys p256 -o json >fleet.out 2>&1 || die "fleet: $(cat fleet.out)"; }
updated() { json_number updates <fleet.out; }
policy() {
	printf '{"selector": "%s", "components": [{"manifest": "%s"}]}' "${1//\"/\\\"}" "$draft_digest" >p.json
	"$tamctl" policy put base p.json >/dev/null
	settle
}
policy 'class == "canary" and (labels.ring < "2" or labels.site in ("8", "9"))'
play
[ "$(updated)" = "$n" ] || die "$(updated) Updates for $n devices"
is "component(\"$draft_component\")" "$n"
is "component(\"$draft_component\").sequence >= 1" "$n"
policy "not component(\"$draft_component\") and labels.shard != \"5\""
rest=$(count "not component(\"$draft_component\") and labels.shard != \"5\"")
play
[ "$(updated)" = "$rest" ] || die "$(updated) Updates for the $rest others"
if "$tamctl" policy put late /dev/stdin <<'END' 2>bad.err; then die "a policy of the hour was taken"; fi
{"selector": "last_seen > ago(7d)", "components": [{"component": "x", "state": "absent"}]}
END
grep -q 'at /selector' bad.err || die "a policy of the hour: $(cat bad.err)"

# Why: what each rule that matches came to, and who won instead.
policy 'class == "canary"'
loser=$(make_component vendor/other 1 other)
printf '{"priority": -1, "components": [{"manifest": "%s"}, {"manifest": "%s"}]}' "$draft_digest" "$loser" >p.json
"$tamctl" policy put loser p.json >/dev/null
echo '{"selector": "class == \"canary\"", "attestation": "required", "components": [{"component": "vendor/x", "state": "absent"}]}' >p.json
"$tamctl" policy put proven p.json >/dev/null
settle
explain() { "$tamctl" -o json "$@" | tr -d ' \n' >why.json; }
says() { grep -qF -- "$1" why.json || die "not said: $1 in $(cat why.json)"; }
explain device explain "$one"
says '"reason":"policy"'
says '"considered":3'
says "\"policy\":\"base\",\"priority\":0,\"component\":\"${draft_component%/ta}/suit\",\"verdict\":\"sent\""
says '"verdict":"outranked"'
says '"winner":"base"'
says "\"policy\":\"loser\",\"priority\":-1,\"component\":\"vendor/other/suit\",\"verdict\":\"sent\""
says '"verdict":"needs_attestation"'
says '"now":{"offer":true,"reason":"policy"}'
play # it is sent; then the same question has the other answer
explain device explain "$one"
says '"verdict":"held"'
says '"now":{"offer":false,"reason":"attestation_required"}'
# Of facts that are only supposed.
explain policy explain class=canary 'components={}' attestation=affirmed
says '"verdict":"sent"'
says '"verdict":"absent"'
explain policy explain class=lock 'components={"vendor/other": ""}' update_bytes=600
says '"considered":1'
if "$tamctl" policy explain 'components={"a b": ""}' 2>bad.err; then die "a bad id"; fi
grep -q 'at /components/a b' bad.err || die "a bad id: $(cat bad.err)"
if "$tamctl" device explain nobody 2>/dev/null; then die "nobody is explained"; fi
sql "UPDATE device SET status = 'quarantined' WHERE name = '$one'" >/dev/null
explain device explain "$one"
says '"now":{"offer":false,"reason":"quarantined"}'

# What an appraisal said decides, whoever made it and wherever it was kept.
sql "INSERT INTO device_attestation SELECT domain_id, device_id, 1, 1, 1, 'affirmed', '', 'v', 2, '', '', '', '2.1'
	FROM device WHERE name = '$first'" >/dev/null
is 'hwversion >= "2.1-rc1" and tier == "affirming"' 1
is 'attestation == "none"' 39

# More than one request: a file in parts, whose lines keep their numbers, and a
# list to its end.
"$tamfleet" keys --agents 4500 --seed many --prefix many --class bulk >many.ndjson
sed -i '2500s/.*/{"name": "wrong"}/' many.ndjson
status=0
"$tamctl" -o json device import many.ndjson >many.out 2>many.err || status=$?
[ $status = 1 ] || die "an import with a bad line: status $status"
[ "$(cat many.err)" = 'tamctl: many.ndjson: 1 of 4500 were refused' ] || die "$(cat many.err)"
[ "$(wc -l <many.out)" = 4500 ] || die "$(wc -l <many.out) results of 4500"
[ "$(grep -v '"created"' many.out | tr -d ' ' | cut -d, -f1-2)" = '{"line":2500,"status":"error"' ] || die "results: $(grep -v '"created"' many.out)"
{ "$tamctl" -o csv device import - <many.ndjson 2>/dev/null || true; } | tr -d '\r' >many.csv
[ "$(wc -l <many.csv) $(head -n 1 many.csv) $(tail -n 1 many.csv | cut -d, -f1-2)" = '4501 line,status,name,detail 4500,updated' ] ||
	die "csv: $(head -n 2 many.csv)"
[ "$("$tamctl" -o name device list 'selector=class == "bulk"' limit=all | sort -u | wc -l)" = 4499 ] || die "not all are listed"
[ "$("$tamctl" -o json device list limit=all 'selector=class == "bulk"' | grep -c '^{"name":"many-')" = 4499 ] || die "not all are listed as json"
[ "$("$tamctl" -o csv device list limit=all class=bulk | tr -d '\r' | sort | uniq -d | wc -l)" = 0 ] || die "something is listed twice"
if "$tamctl" device import nowhere.ndjson 2>/dev/null; then die "a file there is not"; fi
if "$tamctl" device list limit=all 'selector=class ==' 2>bad.err; then die "a bad selector"; fi
grep -q '422 bad_selector' bad.err || die "a bad selector: $(cat bad.err)"
stop_node 1
