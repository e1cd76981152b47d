#!/bin/bash
# Security domains: whatever one domain has is nothing to another's people, on
# every route the API tells of, for every role, and to the database below it.
set -euo pipefail
work=$build/tests/work/test_domains
# shellcheck source=tests/support/node.sh
. "$top/tests/support/node.sh"
trap end_world EXIT

make_world
start_node 1
cd "$work"
rm -rf ./*.pem ./*.pub other
mkdir other
TAMCTL_DATABASE=$db "$tamctl" bootstrap --domain other --key-dir "$work/other" --master-key "$work/keys/master.key" \
    --token-file keys/other 2>bootstrap2.out || die "a second domain: $(cat bootstrap2.out)"
settle
there() { TAMCTL_TOKEN_FILE=keys/other "$tamctl" "$@"; }

# Numbers that stand nowhere else in an answer.
sql "ALTER TABLE proposal ALTER proposal_id RESTART WITH 5550111; ALTER TABLE revocation ALTER revocation_id RESTART WITH 4440111" >/dev/null

# The other domain has one of everything, each called by a name of its own.
"$tamctl" suit keygen --curve p256 --key k.pem --public k.pub
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 30 -keyout ca.key -out ca.crt -subj /CN=ca 2>/dev/null
there trust-anchor put theirs "public_key=@keys/signer.pub" >/dev/null
printf their >their.payload
"$tamctl" suit create --key keys/signer.pem --component their/ta --sequence 1 --vendor "$vendor" --class "$class_id" \
    --payload their.payload --out their.suit
manifest=$(there -o name manifest upload their.suit)
echo "{\"components\": [{\"manifest\": \"$manifest\"}]}" >p.json
there policy put theirs p.json >/dev/null
there channel put theirs "manifest=$manifest" >/dev/null
there wire-profile put theirs ask=attest >/dev/null
echo '{"policy": "new", "document": {"components": [{"component": "their/y", "state": "absent"}]}, "stages": [{}]}' >r.json
there rollout create theirs r.json >/dev/null
there rollout start theirs reason=theirs anyway=true >/dev/null
payload=$(there -o name payload upload their.payload)
there verifier put theirs public_key=@k.pub >/dev/null
there device-ca put theirs certificates=@ca.crt >/dev/null
there endorsement put theirs public_key=@k.pub >/dev/null
there reference-value put theirs hwmodel=00 >/dev/null
"$tamfleet" keys --agents 1 --prefix theirs >keys.ndjson
there -o json device import keys.ndjson >/dev/null
device=$(there -o name device list)
revocation=$(there -o json revocation create component=their/x reason=theirs | json_number id)
there domain set two_persons=true >/dev/null
proposed there trust-anchor put late public_key=@k.pub >/dev/null 2>&1
proposal=$(there -o name proposal list | tail -n 1)
everything() {
	for t in $(sql "SELECT table_name FROM information_schema.columns WHERE table_schema = 'public' AND column_name = 'domain_id'
		AND table_name !~ '^(audit|device)_event_' AND table_name NOT IN ('node_lease', 'device_event_horizon', 'request_actor', 'audit_event', 'device_event', 'device_event_seal', 'domain', 'revocation') ORDER BY 1"); do
		sql "SELECT '$t', md5(string_agg(t::text, '' ORDER BY t::text)) FROM $t t WHERE domain_id = 2"
	done
	sql "SELECT label, lifted_us FROM revocation WHERE domain_id = 2"
	sql "SELECT enrol, rekey, two_persons FROM domain WHERE domain_id = 2"
}
everything >before.txt
grep -c . before.txt >/dev/null

# Our people.
for role in viewer operator policy-admin security auditor admin; do
	sql "INSERT INTO principal VALUES (1, 'we-$role', '$role', sha256('tam_$role'))" >/dev/null
	(umask 077; echo "tam_$role" >"keys/role-$role")
done

# Every route of the API with a name in its path: METHOD PATH.
get "$admin_1" /openapi.json | tr -d ' \n' | sed 's|"/v1/|\n/v1/|g' | awk -F'"' '$1 ~ /\{/ {
	for (m = 1; m <= 5; m++) {
		split("get put post patch delete", method, " ")
		if (index($0, "\"" method[m] "\":{\"operationId\"")) print toupper(method[m]), $1
	}
}' >routes
[ "$(wc -l <routes)" -ge 30 ] || die "routes: $(cat routes)"
body_of() { # METHOD PATH
	case $1:$2 in
	PUT:*trust-anchors* | PUT:*verifiers* | PUT:*endorsements*)
		printf '{"public_key": "%s"}' "$(awk '{ printf "%s\\n", $0 }' k.pub)"
		;;
	PUT:*device-cas*) printf '{"certificates": "%s"}' "$(awk '{ printf "%s\\n", $0 }' ca.crt)" ;;
	PUT:*reference-values*) echo '{"hwmodel": "00"}' ;;
	PUT:*rollouts* | POST:*rollouts*dry-run*) echo '{"policy": "our", "document": {"components": [{"component": "our/x", "state": "absent"}]}, "stages": [{}]}' ;;
	PUT:*channels*) echo "{\"manifest\": \"$manifest\"}" ;;
	PUT:*policies* | POST:*dry-run*) echo '{"components": [{"component": "our/x", "state": "absent"}]}' ;;
	POST:*policies*rollback*) echo '{"revision": 1, "reason": "x"}' ;;
	POST:*rekey*) echo '{"thumbprint": "00", "take": true, "reason": "x"}' ;;
	PATCH:*) echo '{"class": "ours"}' ;;
	*) echo '{"reason": "x"}' ;;
	esac
}
ask() { # ROLE METHOD PATH NAME -> status, headers and body, the name and what differs by nature taken out
	local path=${3//\{*\}/$4} data=(--data-binary @body)
	case $3 in *'}/'*) path=${3%%\{*}$4/${3##*\}/} ;; esac
	case $2:$3 in GET:* | DELETE:* | *approve) data=() ;; esac
	curl -sS --cacert keys/tls.crt -H "Authorization: Bearer $(cat "keys/role-$1")" -H 'Content-Type: application/json' \
	    -X "$2" ${data[@]+"${data[@]}"} -D - "https://localhost:$admin_1$path" |
		tr -d '\r' | grep -vi '^date:' |
		sed -E "s/$4/NAME/g; s/\"request_id\": ?\"[^\"]*\"/ID/g; s/^(x-request-id|request-id|content-length):.*/\\1/I;
			s/\"(created_at|at|uploaded_at)\" ?: ?\"[^\"]*\"/AT/g; s/\"revision\" ?: ?[0-9]+/REVISION/g; s/^etag: .*/ETAG/I;
			s/\"epoch\" ?: ?[0-9]+/EPOCH/g"
}
# What the last request made of ours is taken away before the next.
clean() {
	sql "DELETE FROM trust_anchor WHERE domain_id = 1; DELETE FROM verifier WHERE domain_id = 1; DELETE FROM device_ca WHERE domain_id = 1;
	     DELETE FROM endorsement WHERE domain_id = 1; DELETE FROM reference_value WHERE domain_id = 1;
	     DELETE FROM policy WHERE domain_id = 1; DELETE FROM policy_revision WHERE domain_id = 1; DELETE FROM channel WHERE domain_id = 1; DELETE FROM rollout WHERE domain_id = 1;
	     DELETE FROM channel_revision WHERE domain_id = 1; DELETE FROM wire_profile WHERE domain_id = 1 AND name IN ('theirs', 'nobodys')" >/dev/null
}
n=0
while read -r method path; do
	case $path in
	*manifests*) theirs=$manifest ;;
	*payloads*) theirs=$payload ;;
	*revocations*) theirs=$revocation ;;
	*proposals*) theirs=$proposal ;;
	*/devices*) theirs=$device ;;
	*) theirs=theirs ;;
	esac
	case $path in
	*manifests* | *payloads*) nobodys=$(printf '%064d' 7) ;;
	*revocations* | *proposals*) nobodys=7770999 ;;
	*) nobodys=nobodys ;;
	esac
	body_of "$method" "$path" >body
	for role in viewer operator policy-admin security auditor admin; do
		[ "$method" = GET ] || clean
		ask $role "$method" "$path" "$theirs" >with
		[ "$method" = GET ] || clean
		ask $role "$method" "$path" "$nobodys" >without
		cmp -s with without || die "$role $method $path tells them apart: $(diff with without | head -n 6)"
		n=$((n + 1))
	done
done <routes
[ $n -ge 180 ] || die "only $n asked"
everything >after.txt
cmp -s before.txt after.txt || die "something of theirs changed: $(diff before.txt after.txt | head -n 4)"

clean
# Lists, counts and what is told of all of them show nothing of theirs; a
# cursor of theirs leads nowhere.
admin_get() { curl -sS --cacert keys/tls.crt -H "Authorization: Bearer tam_admin" "https://localhost:$admin_1/v1/$1"; }
for list in manifests policies channels wire-profiles payloads verifiers device-cas endorsements reference-values devices \
    revocations proposals rollouts trust-anchors device-count fleet 'devices?selector=' 'devices?selector=component(%22their/ta%22)'; do
	if admin_get "$list" | grep -q -e their -e "$device" -e "$manifest" -e "$payload"; then die "$list shows something of theirs"; fi
done
admin_get 'device-count?selector=' | tr -d ' ' | grep -q '"devices":0' || die "a count: $(admin_get 'device-count?selector=')"
cursor=$(printf 'device_list theirs' | base64)
admin_get "devices?cursor=$cursor" | tr -d ' \n' | grep -q '"items":\[\]' || die "a cursor of theirs"
# Nor may a policy or a channel of ours name their manifest.
echo "{\"components\": [{\"manifest\": \"$manifest\"}]}" >p.json
if "$tamctl" policy put ours p.json 2>bad.err; then die "a policy with their manifest"; fi
grep -q 'no manifest with this digest' bad.err || die "their manifest: $(cat bad.err)"

# The same below the API: the role of the admin path sees its own domain, and
# without one nothing; what is theirs it can neither change nor make.
as_admin() { # DOMAIN SQL
	psql -X -q -A -t -h "$pg/socket" -U tam -d tam -v ON_ERROR_STOP=1 -c "SET ROLE tam_admin; SET tam.domain = '$1'; $2"
}
tables=$(sql "SELECT c.relname FROM pg_class c WHERE c.relkind = 'r' AND c.relnamespace = 'public'::regnamespace
	AND has_table_privilege('tam_admin', c.oid, 'SELECT') AND EXISTS (SELECT FROM pg_attribute a WHERE a.attrelid = c.oid AND a.attname = 'domain_id')")
for t in $tables; do
	[ "$(as_admin 1 "SELECT count(*) FROM $t WHERE domain_id <> 1")" = 0 ] || die "tam_admin sees $t of another domain"
	[ "$(as_admin '' "SELECT count(*) FROM $t")" = 0 ] || die "tam_admin sees $t without a domain"
done
[ "$(sql "SELECT count(*) FROM pg_class c WHERE c.relkind = 'r' AND c.relnamespace = 'public'::regnamespace AND NOT (c.relrowsecurity AND c.relforcerowsecurity)
	AND EXISTS (SELECT FROM pg_attribute a WHERE a.attrelid = c.oid AND a.attname = 'domain_id')")" = 0 ] ||
	die "a table has no row-level security"
as_admin 1 "UPDATE device SET class = 'ours'; DELETE FROM trust_anchor; DELETE FROM policy" >/dev/null
for bad in "INSERT INTO policy VALUES (2, 'ours', 1, '{}')" "INSERT INTO device (domain_id, name) VALUES (2, 'ours')" \
    'UPDATE audit_event SET reason = NULL' 'DELETE FROM audit_event' 'DELETE FROM device_event' "UPDATE domain SET name = 'x'" \
    'DELETE FROM revocation' 'UPDATE proposal SET author = NULL' 'SELECT * FROM token_key' \
    'SELECT rollout_complete(1, 1, 1, 1, NULL)' "UPDATE rollout_device SET stage = 7" 'DELETE FROM rollout_device' 'UPDATE rollout_tally SET n = 0'; do
	if as_admin 1 "$bad" 2>/dev/null; then die "tam_admin may: $bad"; fi
done
as_wire() { psql -X -q -A -t -h "$pg/socket" -U tam -d tam -v ON_ERROR_STOP=1 -c "SET ROLE tam_wire; $1"; }
for bad in 'DELETE FROM device' "UPDATE device SET status = 'active'" "INSERT INTO policy VALUES (1, 'x', 1, '{}')" \
    'UPDATE audit_event SET reason = NULL' 'DELETE FROM audit_event' 'DELETE FROM device_event' 'DELETE FROM outstanding_update' \
    'DELETE FROM revocation' "UPDATE revocation SET lifted_us = 1" 'SELECT token_hash FROM principal' 'DELETE FROM proposal' \
    "UPDATE domain SET two_persons = false" "UPDATE rollout SET document = '{}'" "INSERT INTO rollout (domain_id) VALUES (1)" 'DELETE FROM rollout' 'UPDATE trust_anchor SET name = name' 'UPDATE manifest SET envelope = NULL'; do
	if as_wire "$bad" 2>/dev/null; then die "tam_wire may: $bad"; fi
done
# Suspended: its devices are told to come later, its people can only look, and
# the other domain does not notice.
TAMCTL_DATABASE=$db "$tamctl" suspend --domain other --reason 'not paid' || die "suspend"
settle
answer() { curl -sS -o /dev/null -w '%{http_code}' --cacert keys/tls.crt -X POST -H 'Accept: application/teep+cbor' "https://localhost:$port/tam/$1"; }
[ "$(answer other) $(answer default)" = '503 200' ] || die "suspended: $(answer other) $(answer default)"
[ "$(metric "$admin_1" tam_suspended_total)" -ge 1 ] || die "not counted"
there device list >/dev/null || die "they cannot look"
if there device set theirs-000000 class=x reason=x 2>bad.err; then die "they can change something"; fi
grep -q '403 domain_suspended: .*not paid' bad.err || die "suspended: $(cat bad.err)"
"$tamctl" wire-profile put ours ask=plain >/dev/null || die "we cannot"
for bad in 'suspend --domain other' 'resume --domain other' 'suspend --reason x' 'suspend --domain other --reason x more'; do
	status=0
	# shellcheck disable=SC2086  # fields
	TAMCTL_DATABASE=$db "$tamctl" $bad 2>/dev/null || status=$?
	[ $status = 2 ] || die "$bad: $status"
done
if TAMCTL_DATABASE=$db "$tamctl" suspend --domain nobody --reason x 2>/dev/null; then die "nobody was suspended"; fi
TAMCTL_DATABASE=$db "$tamctl" resume --domain other --reason paid || die "resume"
settle
[ "$(answer other)" = 200 ] || die "resumed: $(answer other)"

everything >after.txt
cmp -s before.txt after.txt || die "something of theirs changed below: $(diff before.txt after.txt | head -n 4)"
echo "$n requests for what is theirs"
stop_node 1
