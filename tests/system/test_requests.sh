#!/bin/bash
# What the admin API takes of a request: names in paths and bodies, and queries.
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
	code=$(curl -sS --path-as-is --cacert "$work/keys/tls.crt" -X "$method" -o "$work/body" -D "$work/head" \
	    -w '%{http_code}' -H "Authorization: Bearer $(cat "$work/keys/token")" "$@" "$base$path")
}
expect() { # STATUS [TEXT-IN-THE-BODY]...
	[ "$code" = "$1" ] || die "$what: status $code, not $1: $(cat "$work/body")"
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
stop_node 1
