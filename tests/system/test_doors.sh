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
stop_node 1
