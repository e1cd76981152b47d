#!/bin/bash
# What the admin API takes of a request: names in paths and bodies, queries,
# preconditions, and what is sent twice.
set -euo pipefail
work=$build/tests/work/test_requests
# shellcheck source=tests/support/node.sh
. "$top/tests/support/node.sh"
trap end_world EXIT

make_world
start_node 1
base=https://localhost:$admin_1
api() { # METHOD PATH CURL-OPTION... ; status in $code, body in $work/body
	local method=$1 path=$2
	shift 2
	rm -f "$work/body"
	code=$(curl -sS --path-as-is --cacert "$work/keys/tls.crt" -X "$method" -o "$work/body" -D "$work/head" \
	    -w '%{http_code}' -H "Authorization: Bearer $(cat "$work/keys/token")" "$@" "$base$path")
}
expect() { # STATUS [TEXT-IN-THE-BODY]...
	[ "$code" = "$1" ] || die "$what: status $code, not $1: $(cat "$work/body" 2>/dev/null)"
	[ "$1" -lt 400 ] || [ "$1" = 400 ] || grep -qi '^content-type: application/problem+json' "$work/head" ||
		die "$what: not problem+json"
	shift
	local wanted
	for wanted in "$@"; do grep -qF "$wanted" "$work/body" || die "$what: no '$wanted': $(cat "$work/body")"; done
}
encode() { # every byte
	printf '%s' "$1" | od -An -v -tx1 | tr -d '\n' | sed 's/ /%/g'
}

# --- names that devices have: imported, shown, listed, changed, by curl and by tamctl ----------
names=("urn:dev:mac:0024befffe804ff1" "a b" "x/y" "é" "%2F" "%00" "a+b" "a%20b" "x?y#z" '"quoted"' '\' "日本" "...")
"$tamfleet" keys --agents ${#names[@]} >"$work/keys.ndjson"
for i in "${!names[@]}"; do
	name=${names[i]//\\/\\\\}
	name=${name//\"/\\\"}
	sed -n "$((i + 1))s|^{\"name\": *\"[^\"]*\"|{\"name\":\"NAME\"|p" "$work/keys.ndjson" >"$work/line"
	printf '%s\n' "${name//&/\\&}" | sed 's|[\\&]|\\&|g' >"$work/name"
	awk -v name="$(cat "$work/name")" '{ i = index($0, "NAME"); print substr($0, 1, i - 1) name substr($0, i + 4) }' \
	    "$work/line"
done >"$work/named.ndjson"
api POST /v1/devices/import --data-binary "@$work/named.ndjson"
what=import
expect 200
[ "$(grep -c '"status":"created"' "$work/body")" = ${#names[@]} ] || die "import: $(cat "$work/body")"
"$tamctl" -o name device list >"$work/listed"
for name in "${names[@]}"; do
	what="device $name"
	api GET "/v1/devices/$(encode "$name")"
	expect 200
	"$tamctl" -o json device get "$name" >"$work/got" || die "$what: tamctl get"
	cmp -s "$work/got" "$work/body" || grep -q '"name"' "$work/got" || die "$what: tamctl gets another"
	grep -qxF -- "$name" "$work/listed" || die "$what: not listed: $(cat "$work/listed")"
	api PATCH "/v1/devices/$(encode "$name")" -d '{"class": "curl"}'
	expect 200 '"class":"curl"'
	"$tamctl" device set "$name" class=tamctl >/dev/null || die "$what: tamctl set"
	api GET "/v1/devices/$(encode "$name")/events"
	expect 200
done
[ "$(sql "SELECT count(*) FROM device WHERE class = 'tamctl'")" = ${#names[@]} ] || die "not every device was changed"
# One device per name: %2F is not the device "/".
what='a name that nobody has'
api GET /v1/devices/%2F
expect 404 not_found
api GET /v1/devices/%252F
expect 200

# Names of policies are narrower (a refusal says so), and go all the way too.
draft_policy
"$tamctl" policy delete base >/dev/null
document="{\"components\": [{\"manifest\": \"$draft_digest\"}]}"
for name in a.b-c_d 0 %61; do
	what="policy $name"
	api PUT "/v1/policies/$name" -d "$document"
	expect 200
	[ "$name" != %61 ] || name=a
	"$tamctl" policy get "$name" >/dev/null || die "$what: tamctl get"
	"$tamctl" -o name policy list | grep -qxF -- "$name" || die "$what: not listed"
	"$tamctl" policy delete "$name" >/dev/null || die "$what: tamctl delete"
	api GET "/v1/policies/$name"
	expect 404 not_found
done
api PUT "/v1/policies/a%20b" -d "$document"
expect 422 invalid_value
[ "$(sql 'SELECT count(*) FROM policy')" = 0 ] || die "a policy was not deleted"

# --- names that nothing has: in paths and in bodies -------------------------------------------
for path in a%00b %1B%5B2J %0A %7F %C2%9B31m %E2%80%AEexe.txt %E2%81%A6a %E2%80%8B %C0%AF %ED%A0%80 %FF % %4 %zz . .. %2e%2E; do
	what="path $path"
	api GET "/v1/devices/$path"
	expect 400
	api PUT "/v1/policies/$path" -d "$document"
	expect 400
done
key=$(sed -n '1s/.*"key"/"key"/p' "$work/keys.ndjson")
for text in '\u0000' '\u001b[2J' 'a\nb' '\u007f' '\u009b31m' '\u202eexe' '\u2066a' '\u200b' '.' '..' ''; do
	what="imported name $text"
	echo "{\"name\": \"$text\", $key" >"$work/bad.ndjson"
	api POST /v1/devices/import --data-binary "@$work/bad.ndjson"
	expect 200 '"status":"error"'
done
for text in '\u001b[2J' 'a\nb' '\u202eexe'; do
	what="text $text"
	for field in class reason; do
		api PATCH /v1/devices/%25%32%46 -d "{\"$field\": \"$text\"}"
		expect 422 invalid_value "\"pointer\":\"/$field\""
	done
	api PATCH /v1/devices/%25%32%46 -d "{\"labels\": {\"a\": \"$text\"}}"
	expect 422 invalid_value '"pointer":"/labels"'
	api PATCH /v1/devices/%25%32%46 -d "{\"labels\": {\"$text\": \"a\"}}"
	expect 422 invalid_value '"pointer":"/labels"'
	api PUT /v1/policies/p -d "{\"components\": [], \"attestation\": \"$text\"}"
	expect 422 invalid_value
	api PUT /v1/rollouts/r -d "{\"channel\": \"$text\"}"
	expect 422 invalid_value '"pointer":"/channel"'
	echo "{\"labels\": {\"a\": \"$text\"}, $key" >"$work/bad.ndjson"
	api POST /v1/devices/import --data-binary "@$work/bad.ndjson"
	expect 200 '"status":"error"'
done
[ "$(sql "SELECT count(*) FROM device")" = ${#names[@]} ] || die "a refused name was imported"

# --- queries: as strict as bodies -------------------------------------------------------------
api PUT /v1/policies/kept -d "$document"
while read -r status path words; do
	what="query $path"
	method=GET
	case $path in *policies/kept*) method=DELETE ;; esac
	api $method "$path"
	# shellcheck disable=SC2086  # a list of words
	expect "$status" $words
done <<'END'
422 /v1/devices?selecter=class%3D%3D%22x%22 unknown_parameter 'selector'
422 /v1/devices?clas=x unknown_parameter 'class'
422 /v1/devices?Limit=1 unknown_parameter 'limit'
422 /v1/devices?nothing_like_it=1 unknown_parameter
422 /v1/devices?=1 unknown_parameter
422 /v1/devices?&limit=1 unknown_parameter
422 /v1/devices?limit=abc wrong_type "/limit"
422 /v1/devices?limit= wrong_type "/limit"
422 /v1/devices?limit=0 wrong_type
422 /v1/devices?limit=-1 wrong_type
422 /v1/devices?limit=501 wrong_type
422 /v1/devices?limit=1e2 wrong_type
422 /v1/devices?limit=+5 wrong_type
422 /v1/devices?limit=1&limit=2 duplicate_parameter
422 /v1/devices?cursor=garbage invalid_value "/cursor"
422 /v1/devices?cursor= invalid_value "/cursor"
422 /v1/devices?cursor=cG9saWN5X2xpc3QgYQ== invalid_value "/cursor"
200 /v1/devices?cursor=ZGV2aWNlX2xpc3QgYQ== items
422 /v1/revocations?cursor=cmV2b2NhdGlvbl9saXN0IGE= invalid_value "/cursor"
422 /v1/devices?status=activ invalid_value active
422 /v1/events?after=x wrong_type "/after"
422 /v1/events?after=-1 wrong_type "/after"
422 /v1/devices?class=a%00b invalid_value "/class"
422 /v1/devices?class=%1B invalid_value "/class"
400 /v1/devices?class=%zz malformed_query
400 /v1/devices?%00=1 malformed_query
400 /v1/devices?class=%4 malformed_query
422 /v1/fleet?limit=1 unknown_parameter
422 /v1/policies/kept?dry-run=true unknown_parameter 'dry_run'
422 /v1/policies/kept?dryrun=true unknown_parameter 'dry_run'
422 /v1/policies/kept?dry_run=yes wrong_type "/dry_run"
422 /v1/policies/kept?dry_run wrong_type "/dry_run"
422 /v1/policies/kept?dry_run=TRUE wrong_type "/dry_run"
200 /v1/policies/kept?dry_run=true
200 /v1/devices?class=tamctl&limit=500 items
200 /v1/devices?class=a+b%20c items
END
[ "$(sql 'SELECT count(*) FROM policy')" = 1 ] || die "a mistyped dry run deleted the policy"

what='a mistyped field of a body'
api POST /v1/revocations -d '{"componet": "a/b", "reason": "x"}'
expect 422 unknown_field "'component'" '"pointer":"/componet"'

# --- preconditions: RFC 9110, 13 --------------------------------------------------------------
etag() { sed -n 's/^etag: *\([^\r]*\)\r*$/\1/Ip' "$work/head"; }
what='If-Match: * never creates'
api PUT /v1/policies/new -H 'If-Match: *' -d "$document"
expect 412 not_there
what='If-None-Match: * creates'
api PUT /v1/policies/new -H 'If-None-Match: *' -d "$document"
expect 200
[ "$(etag)" = '"1"' ] || die "the ETag of a new policy: $(etag)"
what='If-None-Match: * creates only'
api PUT /v1/policies/new -H 'If-None-Match: *' -d "$document"
expect 412 exists
while read -r status fields; do
	what="If-Match: $fields"
	api PUT /v1/policies/new -H "If-Match: $fields" -d "$document"
	expect "$status"
done <<'END'
200 "1"
412 "1"
200 "7", "2" , "9"
412 W/"3"
400 3
400 "3" "4"
200 *
END
what='two lines of If-Match'
api PUT /v1/policies/new -H 'If-Match: "7"' -H 'If-Match: "4"' -d "$document"
expect 200
what='a policy that was fetched before'
api GET /v1/policies/new -H 'If-None-Match: "1", W/"5"'
expect 304
[ ! -e "$work/body" ] || die "$what: has a body"
api GET /v1/policies/new -H 'If-None-Match: "1"'
expect 200
what='a rollback of another revision'
api POST /v1/policies/new/rollback -H 'If-Match: "1"' -d '{"revision": 1, "reason": "x"}'
expect 412 changed_meanwhile
api DELETE /v1/policies/new -H 'If-Match: "1"'
expect 412 changed_meanwhile
# Every object that has a name has an ETag, which a change moves.
pub=$(awk '{ printf "%s\\n", $0 }' "$work/keys/tam-p256.pub")
while read -r path body other; do
	what="ETag of $path"
	api PUT "$path" -H 'If-None-Match: *' -d "${body//PUB/$pub}"
	expect 200
	first=$(etag)
	[ -n "$first" ] || die "$what: none"
	api PUT "$path" -H "If-Match: $first" -d "${other//PUB/$pub}"
	expect 200
	[ -n "$(etag)" ] && [ "$(etag)" != "$first" ] || die "$what did not move"
	api PUT "$path" -H "If-Match: $first" -d "${body//PUB/$pub}"
	expect 412 changed_meanwhile
	api PUT "$path" -H 'If-None-Match: *' -d "${body//PUB/$pub}"
	expect 412 exists
done <<END
/v1/trust-anchors/t {"public_key":"PUB"} {"public_key":"PUB","prefixes":["a"]}
/v1/channels/c {"manifest":"$draft_digest"} {"manifest":"$draft_digest","reason":"again"}
/v1/verifiers/v {"public_key":"PUB"} {"public_key":"PUB","max_age_s":5}
/v1/wire-profiles/w {"kid":"none"} {"kid":"thumbprint"}
/v1/endorsements/e {"public_key":"PUB"} {"public_key":"PUB","hwmodel":"00"}
/v1/reference-values/r {"hwmodel":"00"} {"hwmodel":"01"}
END
what='the ETag of a device'
api GET /v1/devices/x%2Fy
tag=$(etag)
api PATCH /v1/devices/x%2Fy -H "If-Match: $tag" -d '{"labels": {"a": "1"}}'
expect 200
api PATCH /v1/devices/x%2Fy -H "If-Match: $tag" -d '{"labels": {"a": "2"}}'
expect 412 changed_meanwhile
what='a precondition of what has no ETag'
api POST /v1/devices/import -H 'If-Match: *' --data-binary "@$work/named.ndjson"
expect 412 no_etag
what='eight who create at once'
pids=()
for i in 1 2 3 4 5 6 7 8; do
	curl -sS --cacert "$work/keys/tls.crt" -X PUT -o /dev/null -w '%{http_code}\n' -H 'If-None-Match: *' \
	    -H "Authorization: Bearer $(cat "$work/keys/token")" -d "$document" "$base/v1/policies/once" >"$work/once.$i" &
	pids+=($!)
done
wait "${pids[@]}"
[ "$(cat "$work"/once.? | sort | tr '\n' ' ')" = '200 412 412 412 412 412 412 412 ' ] || die "$what: $(cat "$work"/once.?)"
what='a domain that wants preconditions'
api PATCH /v1/domain -d '{"preconditions": true}'
expect 200
domain_tag=$(etag)
api PUT /v1/policies/once -d "$document"
expect 428 precondition_required
api DELETE /v1/policies/once
expect 428 precondition_required
api PATCH /v1/devices/x%2Fy -d '{"class": "x"}'
expect 428 precondition_required
api POST /v1/policies/once/dry-run -d "$document"
expect 200
api DELETE /v1/policies/once -H 'If-Match: "1"'
expect 200
api PATCH /v1/domain -H "If-Match: $domain_tag" -d '{"preconditions": false}'
expect 200

# --- what is sent twice is done once ----------------------------------------------------------
events() { sql "SELECT count(*) FROM audit_event"; }
revoke='{"component": "vendor/a", "reason": "once"}'
what='a revocation'
before=$(events)
api POST /v1/revocations -H 'Idempotency-Key: "8e03978e-40d5-43dd-bc93-6894a57f9324"' -d "$revoke"
expect 201
if grep -qi '^idempotency-replayed' "$work/head"; then die "$what: replayed at once"; fi
cp "$work/body" "$work/first"
what='the same with its key'
api POST /v1/revocations -H 'Idempotency-Key: "8e03978e-40d5-43dd-bc93-6894a57f9324"' -d "$revoke"
expect 201
cmp "$work/body" "$work/first" || die "$what: another answer"
grep -qi '^idempotency-replayed: true' "$work/head" || die "$what: not said to be the first answer"
what='another request with this key'
api POST /v1/revocations -H 'Idempotency-Key: "8e03978e-40d5-43dd-bc93-6894a57f9324"' -d '{"component": "vendor/b", "reason": "x"}'
expect 422 idempotency_key_reused
what='the same without a key: identical and active'
api POST /v1/revocations -d "$revoke"
expect 200 "$(sed 's/.*\("id" *: *[^,]*\),.*/\1/' "$work/first")"
api POST /v1/revocations -d '{"component": "vendor/a", "reason": "another reason"}'
expect 200
[ "$(sql 'SELECT count(*) FROM revocation')" = 1 ] || die "it was revoked more than once"
[ "$(($(events) - before))" = 1 ] || die "$what: $(($(events) - before)) events"
what='not identical'
api POST /v1/revocations -d '{"component": "vendor/a", "quarantine": true, "reason": "x"}'
expect 201
what='lifted, and so made again'
api POST "/v1/revocations/$(sql 'SELECT min(revocation_id) FROM revocation')/lift" -d '{"reason": "x"}'
expect 200
api POST /v1/revocations -d "$revoke"
expect 201
what='a key of a request that failed is free'
api POST /v1/revocations -H 'Idempotency-Key: k1' -d '{"component": "vendor/c"}'
expect 422 missing_field
api POST /v1/revocations -H 'Idempotency-Key: k1' -d '{"component": "vendor/c", "reason": "x"}'
expect 201
for bad in '""' '"a b"' 'a, b' "$(printf 'x%.0s' $(seq 256))"; do
	what="Idempotency-Key: $bad"
	api POST /v1/revocations -H "Idempotency-Key: $bad" -d '{"component": "vendor/d", "reason": "x"}'
	expect 400 malformed_idempotency_key
done
what='an import that is sent eight times at once'
"$tamfleet" keys --agents 200 --seed 99 --prefix twice >"$work/twice.ndjson"
pids=()
for i in 1 2 3 4 5 6 7 8; do
	curl -sS --cacert "$work/keys/tls.crt" -o "$work/twice.$i" -H 'Idempotency-Key: import-1' \
	    -H "Authorization: Bearer $(cat "$work/keys/token")" --data-binary "@$work/twice.ndjson" \
	    "$base/v1/devices/import" &
	pids+=($!)
done
wait "${pids[@]}"
for i in 1 2 3 4 5 6 7 8; do
	[ "$(grep -c '"status":"created"' "$work/twice.$i")" = 200 ] || die "$what: answer $i: $(head -n 3 "$work/twice.$i")"
done
what='a key whose day is over'
sql "UPDATE request_key SET at = at - interval '25 hours'" >/dev/null
api POST /v1/revocations -H 'Idempotency-Key: k1' -d '{"component": "vendor/e", "reason": "x"}'
expect 201
[ "$(sql 'SELECT count(*) FROM request_key')" = 1 ] || die "$what: others are kept"
stop_node 1
