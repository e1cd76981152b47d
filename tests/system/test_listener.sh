#!/bin/bash
# The admin listener under those who may do nothing: bodies before sign-in, and
# places for health.
set -euo pipefail
work=$build/tests/work/test_listener
# shellcheck source=tests/support/node.sh
. "$top/tests/support/node.sh"
trap end_world EXIT

make_world
start_node 1
base=https://127.0.0.1:$admin_1
ask() { # SOURCE CURL-OPTION...: status, bytes sent
	local source=$1
	shift
	curl -sS -m 60 --interface "$source" --cacert "$work/keys/tls.crt" -o "$work/body" -w '%{http_code} %{size_upload}' "$@" 2>"$work/err" || true
}

# A body is not taken in from one who may not send it: RFC 9110, 10.1.1 and 15.5.2.
head -c 12000000 /dev/zero >"$work/large"
for http in --http1.1 --http2; do
	for sign_in in 'Authorization: Bearer tam_nobody' 'X: none'; do
		got=$(ask 127.0.0.1 $http -H "$sign_in" -H 'Expect:' --data-binary "@$work/large" "$base/v1/payloads")
		[ "${got%% *}" = 401 ] || die "$http: a body of nobody: $got $(cat "$work/err")"
		[ "${got##* }" -lt 12000000 ] || die "$http: the whole body of nobody was read: $got"
		grep -q '"code":"unauthenticated"' "$work/body" || die "$http: no problem+json: $(cat "$work/body")"
	done
	got=$(ask 127.0.0.1 $http -H "Authorization: Bearer tam_nobody" -H 'Expect: 100-continue' --data-binary "@$work/large" "$base/v1/payloads")
	[ "$http" = --http2 ] || [ "$got" = '401 0' ] || die "$http: asked to continue: $got"
	# Who may, is not hindered, and the same connection goes on.
	got=$(ask 127.0.0.1 $http -H "Authorization: Bearer $(cat "$work/keys/token")" -H 'Expect:' --data-binary "@$work/large" "$base/v1/payloads")
	[ "$got" = '200 12000000' ] || die "$http: an upload: $got $(cat "$work/body")"
	curl -sS $http --cacert "$work/keys/tls.crt" -H "Authorization: Bearer $(cat "$work/keys/token")" -o /dev/null -o /dev/null \
	    -w '%{http_code} %{num_connects}\n' -d '{"reason": "x"}' "$base/v1/revocations/1/lift" "$base/v1/revocations/2/lift" >"$work/twice"
	[ "$(tail -n 1 "$work/twice")" = '404 0' ] || die "$http: the connection did not go on: $(cat "$work/twice")"
done
# A role that may not is told before, too.
sql "INSERT INTO principal VALUES (1, 'eve', 'viewer', sha256('tam_eve'))" >/dev/null
got=$(ask 127.0.0.1 --http1.1 -H "Authorization: Bearer tam_eve" -H 'Expect: 100-continue' --data-binary "@$work/large" "$base/v1/payloads")
[ "$got" = '403 0' ] || die "a body of a viewer: $got"

# One source that opens connections and says nothing has its share; others, and
# health, are served.
idle=()
for _ in $(seq 200); do
	exec {fd}<>"/dev/tcp/127.0.0.1/$admin_1"
	idle+=("$fd")
done
for path in /livez /readyz /metrics; do
	for http in --http1.1 --http2; do
		got=$(ask 127.0.0.1 $http "$base$path")
		[ "${got%% *}" = 200 ] || die "$path $http of a source that has its share: $got $(cat "$work/err")"
	done
done
got=$(ask 127.0.0.1 -H "Authorization: Bearer $(cat "$work/keys/token")" "$base/v1/policies")
[ "${got%% *}" = 503 ] || die "a source beyond its share: $got"
got=$(ask 127.0.0.2 -H "Authorization: Bearer $(cat "$work/keys/token")" "$base/v1/policies")
[ "${got%% *}" = 200 ] || die "another source: $got $(cat "$work/err")"
ask 127.0.0.2 "$base/metrics" >/dev/null
[ "$(awk '$1 == "tam_admin_requests_shed_total" { print $2 }' "$work/body")" -gt 0 ] || die "nothing was shed"
for fd in "${idle[@]}"; do exec {fd}<&- {fd}>&-; done
served() { [ "$(ask 127.0.0.1 -H "Authorization: Bearer $(cat "$work/keys/token")" "$base/v1/policies")" = '200 0' ]; }
try_for 30 served || die "the source is not served after it closed its connections"
stop_node 1
