#!/bin/bash
# Doors: what a request may say, and what a role may do, is the same whichever
# way it comes in.
set -euo pipefail
work=$build/tests/work/test_doors
# shellcheck source=tests/support/node.sh
. "$top/tests/support/node.sh"
trap end_world EXIT

make_world
start_node 1
draft_policy
cd "$work"
rm -f ./*.pem ./*.pub ./*.ndjson
for who in 'oscar operator' 'sara security' 'paul policy-admin'; do
	name=${who% *}
	echo "tam_$name" >"keys/$name"
	sql "INSERT INTO principal VALUES (1, '$name', '${who#* }', sha256('tam_$name'))" >/dev/null
done
as() { # NAME METHOD PATH CURL-OPTION... ; status in $code, body in $work/body
	local name=$1 method=$2 path=$3
	shift 3
	code=$(curl -sS --cacert keys/tls.crt -X "$method" -o body -w '%{http_code}' \
	    -H "Authorization: Bearer $(cat "keys/$name")" "$@" "https://localhost:$admin_1$path")
}
expect() { # STATUS [TEXT]
	[ "$code" = "$1" ] || die "${FUNCNAME[1]} line ${BASH_LINENO[0]}: status $code, not $1: $(head -c 2000 body)"
	[ -z "${2:-}" ] || grep -qF -- "$2" body || die "line ${BASH_LINENO[0]}: no $2: $(head -c 2000 body)"
}

# --- reasons: wherever one is taken, it says something ---------------------------
"$tamfleet" keys --agents 3 --keys p256 --seed r --prefix r >r.ndjson
"$tamctl" device import r.ndjson >/dev/null
r1=$(sed -n 1p r.ndjson | tr -d ' ' | sed 's/.*"name":"\([^"]*\)".*/\1/')
echo '{"components": []}' >policy.json
echo "{\"component\": \"a/b\", \"reason\": \"x\"}" >revocation.json
long=$(printf 'x%.0s' $(seq 1001))
events=$(sql 'SELECT count(*) FROM audit_event')
doors=0
while read -r method path body; do
	for blank in '' '%20' '%C2%A0%E3%80%80' "$long" 'two%0Alines' '%FF'; do
		# The same text, in a body and in a query.
		text=$(printf '%b' "${blank//%/\\x}" | sed -z 's/\n/\\n/g')
		if [ "$body" = '?' ]; then
			file=policy.json
			case $method in DELETE) file= ;; POST) file=revocation.json ;; esac
			as token "$method" "$path$blank" ${file:+--data-binary @"$file"}
		else
			[ "$blank" != %FF ] || continue # no JSON either
			as token "$method" "$path" -d "${body//REASON/$text}"
		fi
		expect 422 invalid_value
	done
	doors=$((doors + 1))
done <<END
PUT /v1/policies/p?reason= ?
DELETE /v1/policies/base?reason= ?
PUT /v1/rollouts/r?reason= ?
DELETE /v1/rollouts/r?reason= ?
POST /v1/revocations?alone= ?
PUT /v1/channels/c {"manifest":"$draft_digest","reason":"REASON"}
POST /v1/policies/base/rollback {"revision":1,"reason":"REASON"}
POST /v1/revocations {"component":"a/b","reason":"REASON"}
POST /v1/revocations/1/lift {"reason":"REASON"}
POST /v1/rollouts/r/start {"reason":"REASON"}
POST /v1/rollouts/r/abort {"reason":"REASON"}
POST /v1/proposals/1/reject {"reason":"REASON"}
POST /v1/device-changes {"selector":"name==\"x\"","class":"c","reason":"REASON"}
PATCH /v1/devices/$r1 {"class":"c","reason":"REASON"}
POST /v1/devices/$r1/rekey {"thumbprint":"00","take":true,"reason":"REASON"}
END
[ $doors = 15 ] || die "$doors doors take a reason"
[ "$(sql 'SELECT count(*) FROM audit_event')" = "$events" ] || die "something was done without a reason"
as token PATCH "/v1/devices/$r1" -d '{"class": "c", "reason": "  it is one  "}'
expect 200
[ "$(sql 'SELECT reason FROM audit_event ORDER BY seq DESC LIMIT 1')" = 'it is one' ] || die "the reason is not trimmed"

# --- texts: each has a limit, and a problem is always said -------------------------
head -c 5000000 /dev/zero | tr '\0' v >value
{ printf '{"labels": {"region": "' && cat value && printf '"}}'; } >label.json
as token PATCH "/v1/devices/$r1" --data-binary @label.json
expect 422 '"pointer":"/labels"'
{ printf '{"class": "' && cat value && printf '"}'; } >class.json
as token PATCH "/v1/devices/$r1" --data-binary @class.json
expect 422 '"pointer":"/class"'
{ printf '{"name": "big", "labels": {"region": "' && cat value && printf '"}, %s\n' "$(sed -n '1s/.*\("key":.*\)/\1/p' r.ndjson)"; } >import.ndjson
as token POST /v1/devices/import --data-binary @import.ndjson
expect 200 'a label must not be longer'
{ printf '{"enrol_class": "' && cat value && printf '"}'; } >domain.json
as token PATCH /v1/domain --data-binary @domain.json
expect 422 '"pointer":"/enrol_class"'
as token PATCH "/v1/devices/$r1" -d '{"labels": {"": "x"}}'
expect 422 '"pointer":"/labels"'
# What fits is taken, and found again by the index.
fits=$(printf 'y%.0s' $(seq 1024))
as token PATCH "/v1/devices/$r1" -d "{\"labels\": {\"$fits\": \"$fits\"}}"
expect 200
as token PATCH "/v1/devices/$r1" -d "{\"labels\": {\"$fits\": null}, \"class\": \"\"}"
expect 200
# A field's name of which 64 bytes end inside a character.
for n in 62 63 64 65; do
	name=$(printf 'f%.0s' $(seq $n))$(printf '\xc3\xa9%.0s' $(seq 4))
	as token PATCH "/v1/devices/$r1" -d "{\"$name\": 1}"
	expect 422 '"code":"unknown_field"'
	grep -q '"pointer":"/fff' body || die "no pointer: $(cat body)"
done
# A sentence that is cut inside one.
as token GET "/v1/devices?selector=class%20%3D%3D%20$(printf '%%C3%%A9%.0s' $(seq 700))"
expect 422 '"code":"bad_selector"'

# --- lists: a page ends where its answer grows large, and goes on ------------------
sql "INSERT INTO policy_revision (domain_id, name, revision, document, author)
	SELECT 1, 'large', n, to_jsonb(repeat('x', 1000000)), 'x' FROM generate_series(1, 20) AS n" >/dev/null
items=0 pages=0 cursor=
while :; do
	as token GET "/v1/policies/large/revisions?limit=100${cursor:+&cursor=$cursor}"
	expect 200
	[ "$(stat -c %s body)" -lt 8000000 ] || die "a page of $(stat -c %s body) bytes"
	items=$((items + $(grep -o '"revision" *:' body | wc -l)))
	pages=$((pages + 1))
	cursor=$(sed -n 's/.*],"cursor":"\([^"]*\)".*/\1/p' body)
	[ -n "$cursor" ] || break
done
[ $items = 20 ] && [ $pages -gt 3 ] || die "$items items on $pages pages"

# --- states and keys: an operator tries every door ------------------------------------
r2=${r1%0}1 r3=${r1%0}2
as sara PATCH "/v1/devices/$r2" -d '{"status": "quarantined", "reason": "odd"}'
expect 200
as sara POST /v1/device-changes -d "{\"selector\": \"name == \\\"$r3\\\"\", \"status\": \"decommissioned\", \"reason\": \"sold\"}"
expect 200
"$tamfleet" keys --agents 3 --keys p256 --seed other --prefix r >other.ndjson
"$tamfleet" keys --agents 1 --keys p256 --seed fresh --prefix fresh >fresh.ndjson
world() { sql "SELECT md5(string_agg(concat(d.name, status, (SELECT string_agg(k::text, '' ORDER BY thumbprint) FROM device_key k WHERE k.device_id = d.device_id)), '' ORDER BY name)) FROM device d"; }
held=$(world)
with() { sed "s/^{/{\"status\": \"$2\", /" "$1"; } # FILE STATUS
unchanged() { [ "$(world)" = "$held" ] || die "line ${BASH_LINENO[0]}: a state or a key has changed"; }
for name in $r2 $r3; do
	for status in active pending quarantined decommissioned; do
		as oscar PATCH "/v1/devices/$name" -d "{\"status\": \"$status\"}"
		[ "$code" = 403 ] || [[ $(cat body) == *"\"status\" : \"$status\""* || $(cat body) == *"\"status\":\"$status\""* || $(cat body) == *"\"status\": \"$status\""* ]] ||
			die "$name becomes $status: $code $(cat body)"
		unchanged
		as oscar POST /v1/device-changes -d "{\"selector\": \"name == \\\"$name\\\"\", \"status\": \"$status\", \"reason\": \"x\"}"
		[ "$code" = 200 ] || expect 403 'one of the roles admin, security'
		unchanged
		with r.ndjson $status >import.ndjson
		as oscar POST /v1/devices/import --data-binary @import.ndjson
		expect 200
		unchanged
	done
	as oscar PATCH "/v1/devices/$name" -d '{"labels": {"status": "active"}}'
	expect 200
	unchanged
done
as oscar PATCH "/v1/devices/$r2" -d '{"status": "active"}'
expect 403 "device $r2 is quarantined"
as oscar PATCH "/v1/devices/$r1" -d '{"status": "quarantined"}'
expect 403 "device $r1 would be quarantined"
as oscar POST /v1/device-changes -d '{"selector": "", "status": "active", "reason": "x"}'
expect 403
as oscar POST "/v1/devices/$r2/rekey" -d '{"thumbprint": "00", "take": true, "reason": "x"}'
expect 403
unchanged
with fresh.ndjson quarantined >import.ndjson
as oscar POST /v1/devices/import --data-binary @import.ndjson
expect 200 'this role may not import a device that is quarantined'
unchanged
# Known names with other keys.
for rekey in refuse pending auto; do
	sql "UPDATE domain SET rekey = '$rekey'; DELETE FROM device_rekey"
	as oscar POST /v1/devices/import --data-binary @other.ndjson
	expect 200
	case $rekey in
	refuse) want='error error error' ;;
	*) want='pending error error' ;;
	esac
	[ "$(grep -o '"status":"[a-z]*"' body | cut -d'"' -f4 | tr '\n' ' ')" = "$want " ] || die "$rekey: $(cat body)"
	unchanged
done
# What waits is the decision of who may.
[ "$(sql 'SELECT count(*) FROM device_rekey')" = 1 ] || die "what waits"
thumbprint=$(sql "SELECT encode(thumbprint, 'hex') FROM device_rekey")
as oscar POST "/v1/devices/$r1/rekey" -d "{\"thumbprint\": \"$thumbprint\", \"take\": true, \"reason\": \"x\"}"
expect 403
unchanged
# The role of the API in the database, with an operator signed in.
below() { psql -X -q -A -t -h "$pg/socket" -U tam -d tam -v ON_ERROR_STOP=1 -c "BEGIN; SET LOCAL ROLE tam_admin; SET LOCAL tam.domain = '1'; SELECT actor_bind(sha256('tam_$1')); $2; COMMIT"; }
while read -r statement; do
	if below oscar "$statement" 2>held.err; then die "taken: $statement"; fi
	grep -q 'one of the roles admin, security' held.err || die "$statement: $(cat held.err)"
	if below nobody "$statement" 2>/dev/null; then die "nobody may: $statement"; fi
	unchanged
done <<END
UPDATE device SET status = 'active'
UPDATE device SET status = 'quarantined' WHERE status = 'active'
INSERT INTO device (domain_id, name, status) VALUES (1, 'z', 'decommissioned')
DELETE FROM device_key
UPDATE device_key SET public_key = sha256('z')
INSERT INTO device_key SELECT 1, sha256('z'), device_id, 'ed25519', sha256('z') FROM device
SELECT device_rekey_apply(1, device_id, thumbprint, curve, public_key) FROM device_rekey
END
# Asked for by an operator, approved by an administrator: still an operator's.
sql "UPDATE domain SET two_persons = true, two_persons_for = '{import}'"
as oscar POST /v1/devices/import --data-binary @import.ndjson
expect 202
as token POST "/v1/proposals/$(sql 'SELECT max(proposal_id) FROM proposal')/approve"
expect 200 'this role may not import'
as oscar POST /v1/devices/import --data-binary @other.ndjson
expect 202
as token POST "/v1/proposals/$(sql 'SELECT max(proposal_id) FROM proposal')/approve"
expect 200 '"status":"pending"'
unchanged
sql "UPDATE domain SET two_persons = false; DELETE FROM device_rekey"

# Who may, does; and the audit names devices and keys.
as token POST /v1/devices/import --data-binary @other.ndjson
expect 200 '"status":"rekeyed"'
[ "$(sql "SELECT encode(k.thumbprint, 'hex') FROM device_key k JOIN device USING (domain_id, device_id) WHERE name = '$r1'")" = "$thumbprint" ] || die "rekeyed to another key"
last_event() { sql "SELECT $1 FROM audit_event ORDER BY seq DESC LIMIT 1"; }
[ "$(last_event "after->'devices'->0->>'name' || ' ' || (after->'devices'->0->>'key') || ' ' || (after->'devices'->0->>'status')")" = "$r1 $thumbprint rekeyed" ] ||
	die "audit: $(last_event after)"
[ "$(last_event "after->>'sha256'")" = "$(printf 'rekeyed %s %s\n' "$r1" "$thumbprint" | sha256sum | cut -d' ' -f1)" ] || die "the hash of what was done"
"$tamfleet" keys --agents 150 --keys p256 --seed many --prefix many >many.ndjson
as oscar POST /v1/devices/import --data-binary @many.ndjson
expect 200
[ "$(last_event "jsonb_array_length(after->'devices') || ' ' || (after->>'created')")" = '100 150' ] || die "many: $(last_event after)"
as token POST /v1/device-changes -d '{"selector": "class == \"cam\"", "class": "x", "reason": "x"}'
expect 200
[ "$(last_event "(before->>'count')::int > 100 AND jsonb_array_length(before->'devices') = 100 AND length(before->>'sha256') = 64")" = t ] || die "change: $(last_event before)"
as sara PATCH "/v1/devices/$r2" -d '{"status": "active", "reason": "looked at"}'
expect 200
# What is not given stays.
sed -n 2p r.ndjson | sed 's/"class":"[^"]*",//; s/"labels":{[^}]*},//' >bare.ndjson
as token PATCH "/v1/devices/$r2" -d '{"class": "kept", "labels": {"kept": "yes"}}'
expect 200
as oscar POST /v1/devices/import --data-binary @bare.ndjson
expect 200 '"status":"updated"'
[ "$(sql "SELECT class || (SELECT value FROM device_label l WHERE l.device_id = d.device_id AND key = 'kept') FROM device d WHERE name = '$r2'")" = keptyes ] || die "what was not given is gone"

# --- names that nothing has, and things that are done already -----------------------------
hint() { # BODY HINT: in the dry run and when it is made
	as sara POST /v1/revocations -d "{$1, \"reason\": \"x\", \"dry_run\": true}"
	expect 200 "$2"
	as sara POST /v1/revocations -d "{$1, \"reason\": \"x\"}"
	expect 201 "$2"
}
hint '"component": "TEEP-Device/SecureFS/0x8d82573a926d4754935332dc29997f74/tb"' \
	'no manifest and no device has TEEP-Device/SecureFS/0x8d82573a926d4754935332dc29997f74/tb'
hint '"signer": "drafd"' 'no manifest and no device has drafd; the nearest name is draft'
hint '"class": "kepd"' 'no manifest and no device has kepd; the nearest name is kept'
hint '"component": "vendor/typo", "first_sequence": 2' 'no manifest and no device has vendor/typo'
as sara POST /v1/revocations -d '{"class": "kept", "reason": "x"}'
expect 201
! grep -q '"hint"' body || die "a hint about what is there: $(cat body)"
id=$(sed 's/.*"id" *: *"\{0,1\}\([0-9]*\).*/\1/' body)
as sara POST "/v1/revocations/$id/lift" -d '{"reason": "x"}'
expect 200
events=$(sql 'SELECT count(*) FROM audit_event')
as sara POST "/v1/revocations/$id/lift" -d '{"reason": "x"}'
expect 409 '"code":"already_lifted"'
grep -q 'was lifted already, at 20' body || die "when: $(cat body)"
[ "$(sql 'SELECT count(*) FROM audit_event')" = "$events" ] || die "lifted twice"
while read -r path; do
	as sara GET "$path"
	expect 404 '"code":"not_found"'
done <<END
/v1/revocations/999/devices
/v1/devices/nobody/events
/v1/policies/nothing/revisions
/v1/channels/nothing/revisions
/v1/rollouts/nothing/devices
END
as sara POST /v1/devices/nobody/rekey -d '{"thumbprint": "00", "take": true, "reason": "x"}'
expect 404 'there is no such device'
as sara POST /v1/revocations/999/lift -d '{"reason": "x"}'
expect 404 'there is no such revocation'
stop_node 1
