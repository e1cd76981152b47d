#!/bin/bash
# Binaries hosted for devices: named by their content, whole and in ranges.
set -euo pipefail
work=$build/tests/work/test_payload
# shellcheck source=tests/support/node.sh
. "$top/tests/support/node.sh"
trap end_world EXIT

make_world
start_node 1 payload_cache_mb=16 "database=$db application_name=node1"
draft_policy
cd "$work"
ta=$top/tests/vectors/teep-suit/8d82573a-926d-4754-9353-32dc29997f74.ta
digest=$(sha256sum "$ta" | cut -d' ' -f1)
"$tamctl" payload upload "$ta" >up.out
grep -q "$digest" up.out || die "upload: $(cat up.out)"
grep -q "/payload/default/$digest" up.out || die "no path: $(cat up.out)"
head -c 3000000 /dev/urandom >large
large=$(sha256sum large | cut -d' ' -f1)
"$tamctl" -q note=large payload upload large >/dev/null
[ "$("$tamctl" -o name payload list | sort | tr '\n' ' ')" = "$(printf '%s\n' "$digest" "$large" | sort | tr '\n' ' ')" ] || die "list"
if "$tamctl" payload upload /dev/null 2>/dev/null; then die "nothing was uploaded"; fi

url=https://localhost:$port/payload/default
fetch() { # DIGEST CURL-OPTION... ; status in $code, body in body, headers in head
	local path=$1
	shift
	: >body
	code=$(curl -sS --cacert keys/tls.crt -o body -D headers -w '%{http_code}' "$@" "$url/$path") || die "curl: $*"
}
header() { tr -d '\r' <headers | awk -v n="$1:" 'tolower($1) == n { $1 = ""; print substr($0, 2) }'; }
for version in --http1.1 --http2; do
	fetch "$digest" $version
	[ "$code" = 200 ] || die "whole: $code"
	cmp -s body "$ta" || die "another body"
	[ "$(header etag)" = "\"$digest\"" ] || die "etag: $(cat headers)"
	[[ $(header cache-control) == *immutable* ]] || die "cache-control: $(cat headers)"
	fetch "$digest" $version -H "If-None-Match: \"$digest\""
	[ "$code" = 304 ] && [ ! -s body ] || die "known already: $code"
	fetch "$digest" $version -H 'If-None-Match: "other"'
	[ "$code" = 200 ] || die "another etag: $code"
	while read -r range want first last; do
		fetch "$digest" $version -H "Range: $range"
		[ "$code" = "$want" ] || die "$range: $code"
		case $want in
		206)
			[ "$(header content-range)" = "bytes $first-$last/20" ] || die "$range: $(header content-range)"
			tail -c +$((first + 1)) "$ta" | head -c $((last - first + 1)) | cmp -s - body || die "$range: other bytes"
			;;
		200) cmp -s body "$ta" || die "$range: not the whole" ;;
		416) [ "$(header content-range)" = 'bytes */20' ] || die "$range: $(header content-range)" ;;
		esac
	done <<END
bytes=0-0 206 0 0
bytes=5-9 206 5 9
bytes=15- 206 15 19
bytes=-4 206 16 19
bytes=-100 206 0 19
bytes=10-1000 206 10 19
bytes=20- 416
bytes=-0 416
bytes=9-5 200
bytes=0-1,3-4 200
bytes=x 200
items=0-1 200
bytes=99999999999999999999- 200
END
	fetch "$digest" $version -H 'Range: bytes=0-3' -H 'If-Range: "other"'
	[ "$code" = 200 ] || die "if-range: $code"
	fetch "$digest" $version -H 'Range: bytes=0-3' -H "If-Range: \"$digest\""
	[ "$code" = 206 ] || die "if-range: $code"
	fetch "$large" $version
	cmp -s body large || die "a large one"
	for bad in nothing "${digest%?}" "${digest%?}0" "$digest/x"; do
		fetch "$bad" $version
		[ "$code" = 404 ] || die "$bad: $code"
	done
	fetch "$digest" $version -X POST
	[ "$code" = 405 ] || die "POST: $code"
done

# Many ask at once for what is read once.
for _ in $(seq 40); do printf 'url = %s/%s\noutput = /dev/null\n' "$url" "$large"; done >urls
was=$(metric "$admin_1" tam_payloads_total)
curl -sS --cacert keys/tls.crt --http2 -Z --parallel-max 40 -K urls || die "forty at once"
[ "$(metric "$admin_1" tam_payloads_total)" = $((was + 40)) ] || die "forty at once"

# The image of what is revoked is not served, whoever has it in a cache of ours.
fetch "$digest"
[ "$code" = 200 ] || die "before: $code"
"$tamctl" revocation create component=$draft_component reason=test >/dev/null
settle
fetch "$digest"
[ "$code" = 404 ] || die "a revoked image is served: $code"
# Deleted, it is gone.
"$tamctl" payload delete "$large" >/dev/null
settle
if "$tamctl" payload delete "$large" 2>/dev/null; then die "deleted twice"; fi
fetch "$large"
[ "$code" = 404 ] || die "a deleted payload is served: $code"
stop_node 1
