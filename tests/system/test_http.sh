#!/bin/bash
# HTTP on both versions with foreign clients; abuse; bad configuration.
# shellcheck disable=SC2059  # bytes written as escapes
set -euo pipefail
work=$build/tests/work/test_http
# shellcheck source=tests/support/node.sh
. "$top/tests/support/node.sh"
trap end_world EXIT

make_world
clear=$(free_port)
start_node 1 "cleartext_listen=127.0.0.1:$clear" request_time_ms=1500 message_max=65536
admin=$admin_1
url=https://localhost:$port

status() { # EXPECTED WHAT CURL-OPTION...
	local want=$1 what=$2 got
	shift 2
	for http in --http1.1 --http2; do
		got=$(curl -sS -o "$work/body" -D "$work/head" -w '%{http_code}' --cacert "$work/keys/tls.crt" \
		    $http "$@") || die "$what over $http: curl"
		[ "$got" = "$want" ] || die "$what over $http: $got, not $want"
	done
}
accept='Accept: application/teep+cbor'
type='Content-Type: application/teep+cbor'

status 200 'an empty POST' -X POST -H "$accept" "$url/tam"
grep -qi '^content-type: application/teep+cbor' "$work/head" || die "content type"
for h in x-content-type-options:.nosniff 'content-security-policy' referrer-policy; do
	grep -qi "^$h" "$work/head" || die "no header $h"
done
if grep -qi '^set-cookie' "$work/head"; then die "a cookie"; fi
status 200 'any Accept' -X POST -H 'Accept: */*' "$url/tam/default"
status 200 'Accept in another case' -X POST -H 'accept: APPLICATION/TEEP+CBOR;q=0.5' "$url/tam/default/final"
status 406 'Accept that does not cover' -X POST -H 'Accept: text/html' "$url/tam"
status 406 'Accept with q=0' -X POST -H 'Accept: application/teep+cbor;q=0' "$url/tam"
status 405 'GET' "$url/tam"
grep -qi '^allow: POST' "$work/head" || die "no Allow"
status 404 'an unknown path' -X POST -H "$accept" "$url/nothing"
status 404 'an unknown domain' -X POST -H "$accept" "$url/tam/nobody"
status 404 'an unknown profile' -X POST -H "$accept" "$url/tam/default/nothing"
status 415 'a body of another type' -X POST -H "$accept" -d x "$url/tam"
head -c 70000 /dev/zero >"$work/large"
status 413 'a body that is too large' -X POST -H "$accept" -H "$type" --data-binary "@$work/large" "$url/tam"
status 413 'a chunked body that is too large' -X POST -H "$accept" -H "$type" \
    -H 'Transfer-Encoding: chunked' --data-binary "@$work/large" "$url/tam"
status 204 'garbage' -X POST -H "$accept" -H "$type" -d garbage "$url/tam"
status 204 'chunked garbage with Expect' -X POST -H "$accept" -H "$type" -H 'Expect: 100-continue' \
    -H 'Transfer-Encoding: chunked' -d garbage "$url/tam"
[ "$(get "$admin" /metrics | grep -c '^tam_messages_dropped_total{')" -gt 0 ] || die "drops are not counted"

# A third implementation of HTTP/2.
printf garbage >"$work/garbage"
nghttp -v -H ':method: POST' -H "$accept" -H "$type" -d "$work/garbage" --no-dep "$url/tam" >"$work/nghttp.out" 2>&1 || true
grep -q ':status: 204' "$work/nghttp.out" || die "nghttp: $(tail -n 3 "$work/nghttp.out")"

# HEAD is GET without the body (RFC 9110, 9.3.2); Allow is what there is (10.2.1).
admin_status() { # EXPECTED WHAT CURL-OPTION...
	status "$1" "$2" -H "Authorization: Bearer $(cat "$work/keys/token")" "${@:3}"
}
for path in /livez /openapi.json /v1/wire-profiles; do
	for http in --http1.1 --http2; do
		for option in -I -G; do
			curl -sS $http --cacert "$work/keys/tls.crt" -H "Authorization: Bearer $(cat "$work/keys/token")" \
			    "$option" -o /dev/null -D - "https://localhost:$admin$path" | tr -d '\r' |
				grep -iv -e ^date -e ^x-request-id >"$work/head$option"
		done
		cmp "$work/head-I" "$work/head-G" || die "HEAD $path $http differs from GET"
		grep -qi '^content-length: [1-9]' "$work/head-I" || die "HEAD $path $http: no length"
	done
done
refused() { # EXPECTED WHAT HEADER-PATTERN CURL-OPTION...
	admin_status "$1" "$2" "${@:4}"
	grep -qi '^content-type: application/problem+json' "$work/head" || die "$2: no problem+json"
	grep -q "\"status\":$1," "$work/body" || die "$2: $(cat "$work/body")"
	tr -d '\r' <"$work/head" | grep -qix "$3" || die "$2: $(cat "$work/head")"
}
refused 404 'an unknown path of the API' 'server: tamd' "https://localhost:$admin/v2/devices"
refused 400 'a path that is not encoded' 'server: tamd' "https://localhost:$admin/v1/devices/%zz"
refused 405 'a method of health' 'allow: GET, HEAD' -X PUT "https://localhost:$admin/livez"
refused 405 'a method of a policy' 'allow: PUT, GET, HEAD, DELETE' -X PATCH "https://localhost:$admin/v1/policies/a"
refused 405 'a method of an import' 'allow: POST, GET, HEAD, PATCH' -X PUT "https://localhost:$admin/v1/devices/import"
refused 415 'an encoded body' 'accept-encoding: identity' -X PUT -H 'Content-Encoding: gzip' -d x "https://localhost:$admin/v1/policies/a"

# Raw bytes in cleartext: what may not be taken, RFC 9112 section 6.3 above all.
raw() { # WANTED-STATUS-LINES BYTES
	exec 3<>"/dev/tcp/127.0.0.1/$clear"
	(printf "$2" >&3) 2>/dev/null || true
	timeout 5 cat <&3 | grep -ao 'HTTP/1.1 [0-9]*' | cut -d' ' -f2 | tr '\n' ' ' >"$work/raw" || true
	exec 3<&- 3>&-
	[ "$(cat "$work/raw")" = "$1 " ] || die "raw: got '$(cat "$work/raw")', not '$1' for: $2"
}
post='POST /tam HTTP/1.1\r\nHost: a\r\nAccept: */*\r\n'
raw '200 200' "${post}Content-Length: 0\r\n\r\n${post}Connection: close\r\n\r\n"
raw '400' "${post}Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"
raw '400' "${post}Content-Length: 3\r\nContent-Length: 4\r\n\r\nabc"
raw '400' "${post}Transfer-Encoding : chunked\r\n\r\n"
raw '501' "${post}Transfer-Encoding: identity\r\n\r\n"
raw '400' "${post}Transfer-Encoding: chunked\r\n\r\nzz\r\n\r\n"
raw '400' "${post}Content-Type: application/teep+cbor\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nab0\r\n\r\n"
raw '400' 'POST /tam HTTP/1.1\r\nAccept: */*\r\n\r\n'
raw '400' 'GET\r\n\r\n'
raw '431' "${post}X: $(head -c 20000 /dev/zero | tr '\0' x)\r\n\r\n"
# Who is still sending when refused reads the refusal, not a reset.
exec 3<>"/dev/tcp/127.0.0.1/$clear"
printf '%b' "${post}Content-Type: application/teep+cbor\r\nContent-Length: 400000\r\n\r\n" >&3
sleep 0.3
cat "$work/large" "$work/large" "$work/large" >&3 || die "the connection was reset under a body too large"
timeout 5 head -n 1 <&3 | grep -q '^HTTP/1.1 413' || die "the refusal of a body too large was lost"
exec 3<&- 3>&-
# RFC 9112, 3.2.2: absolute-form.
raw '200' 'POST http://localhost/tam HTTP/1.1\r\nHost: a\r\nAccept: */*\r\nContent-Length: 0\r\nConnection: close\r\n\r\n'
raw '404' 'POST http://localhost?x HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n'
raw '400' 'POST http:///tam HTTP/1.1\r\nHost: a\r\n\r\n'
# RFC 9110, 5.3: two lines of one list; 12.5.1: the most specific range decides.
raw '200' "POST /tam HTTP/1.1\r\nHost: a\r\nAccept: text/html\r\nAccept: application/teep+cbor\r\nConnection: close\r\n\r\n"
raw '406' "POST /tam HTTP/1.1\r\nHost: a\r\nAccept: */*\r\nAccept: application/teep+cbor;q=0\r\nConnection: close\r\n\r\n"
# 8.4: content codings.
raw '415' "${post}Content-Encoding: gzip\r\nContent-Type: application/teep+cbor\r\nContent-Length: 1\r\n\r\nx"
raw '204' "${post}Content-Encoding: identity\r\nContent-Type: application/teep+cbor\r\nContent-Length: 1\r\nConnection: close\r\n\r\nx"
# What begins as the preface of HTTP/2 and is not (RFC 9113, 3.4).
raw '400' 'PRI * HTTP/2.0\r\n\r\nXX\r\n\r\n'
# RFC 9113, 3.3: HTTP/2 with prior knowledge on the cleartext listener.
[ "$(curl -sS --http2-prior-knowledge -o /dev/null -w '%{http_code} %{http_version}' -X POST -H "$accept" "http://127.0.0.1:$clear/tam")" = '200 2' ] ||
	die "no HTTP/2 in cleartext with prior knowledge"
nghttp -v -H ':method: POST' -H "$accept" --no-dep "http://127.0.0.1:$clear/tam" >"$work/nghttp.out" 2>&1 || true
grep -q ':status: 200' "$work/nghttp.out" || die "nghttp in cleartext: $(tail -n 3 "$work/nghttp.out")"
# 5.1: frames of a stream that its peer ended are answered STREAM_CLOSED (5).
settings='\0\0\0\4\0\0\0\0\0'
head='\x83\x86\x01\x01a\x04\x04/tam\x0f\x04\x03*/*'
request='\0\0\021\1\5\0\0\0\1'$head
closed() { # WHAT FRAME...
	local what=$1
	shift
	exec 3<>"/dev/tcp/127.0.0.1/$clear"
	printf 'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n'"$settings$request" >&3
	# The answer ends the stream; then more of it comes.
	timeout 5 head -c 300 <&3 >/dev/null || true
	(printf "$@" >&3) 2>/dev/null || true
	timeout 5 cat <&3 | od -An -v -tx1 | tr -d ' \n' >"$work/frames" || true
	exec 3<&- 3>&-
	grep -q '0000080700000000000000000[0-9a-f]*00000005' "$work/frames" || die "$what: $(cat "$work/frames")"
}
closed 'DATA of a closed stream' '\0\0\1\0\0\0\0\0\1x'
closed 'HEADERS of a closed stream' "$request"
raw '408' "${post}Content-Length: 10\r\n\r\nabc"
raw '408' 'POST /tam HTT'
[ "$(metric "$admin" tam_http_timeouts_total)" -ge 2 ] || die "timeouts are not counted"

# A flood of PINGs (RFC 9113 section 10.5): told to calm down, and counted.
{
	printf 'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\4\0\0\0\0\0'
	for _ in $(seq 1000); do printf '\0\0\10\6\0\0\0\0\0abcdefgh'; done
	sleep 1
} | timeout 10 openssl s_client -connect "localhost:$port" -alpn h2 -quiet >"$work/flood.out" 2>/dev/null || true
[ "$(metric "$admin" tam_http2_abuse_total)" = 1 ] || die "the flood was not noticed"

# One port for devices and for administrators is refused, not shared.
both=$(free_port)
status=0
timeout 20 "$tamd" -c "$work/node1/tamd.conf" -o "listen=127.0.0.1:$both" \
    -o "admin_listen=127.0.0.1:$both" >"$work/both.log" 2>&1 || status=$?
[ $status = 1 ] || die "one port for both: $status"
grep -q 'event=listen key=listen' "$work/both.log" || die "one port for both: no reason"

# Descriptors that do not suffice for connections_max are said at start.  (The
# admin port is taken: the node does not go on.)
status=0
(ulimit -n 900 && exec timeout 20 "$tamd" -c "$work/node1/tamd.conf" -o "admin_listen=127.0.0.1:$admin") \
    >"$work/files.log" 2>&1 || status=$?
[ $status = 1 ] || die "few descriptors: $status"
grep -q 'event=descriptors limit=900 needed=[0-9]* connections_max=20000 lowered_to=225 ' "$work/files.log" ||
	die "few descriptors: $(cat "$work/files.log")"

# A source has its share, a trusted one any.
start_limited() {
	stop_node 1
	export TAMCTL_SERVER=
	start_node 1 "cleartext_listen=127.0.0.1:$clear" source_rate=5 "$@"
}
many() { # prints the statuses of 40 requests
	for _ in $(seq 40); do echo "url = $url/tam"; echo 'output = /dev/null'; done >"$work/urls"
	curl -sS --cacert "$work/keys/tls.crt" "$1" -X POST -H 'Accept: */*' -w '%{http_code}\n' -K "$work/urls" |
		sort -u | tr '\n' ' '
}
start_limited
[ "$(many --http2)" = '200 429 ' ] || die "no limit for a source over HTTP/2"
sleep 2.5
[ "$(many --http1.1)" = '200 429 ' ] || die "no limit for a source over HTTP/1.1"
[ "$(metric "$admin_1" tam_requests_limited_total)" -gt 0 ] || die "limited requests are not counted"
start_limited trusted_sources=127.0.0.0/8
[ "$(many --http2)" = '200 ' ] || die "a trusted source is limited"
stop_node 1
export TAMCTL_SERVER=
start_node 1 "cleartext_listen=127.0.0.1:$clear"
admin=$admin_1

# Configuration: file:line, what is wrong, what would be right.
bad_config() { # LINE PATTERN
	sed "s|^workers = 1|$1|" "$work/node1/tamd.conf" >"$work/bad.conf"
	if "$tamd" -t -c "$work/bad.conf" >"$work/bad.out" 2>&1; then die "accepted: $1"; fi
	grep -q "$2" "$work/bad.out" || die "$1: $(cat "$work/bad.out")"
}
bad_config 'wokers = 1' "bad.conf:9: unknown key 'wokers'; did you mean 'workers'?"
bad_config 'workers = many' "bad.conf:9: workers must be a whole number from 0 to 256, not 'many'"
bad_config 'log_level = loud' "bad.conf:9: log_level must be error, warn, info or debug"
bad_config 'trusted_sources = "10.0.0.0/40"' 'bad.conf:9: trusted_sources must be networks'
bad_config 'listen = "nowhere"' 'bad.conf:9: listen must be address:port'
"$tamd" -t -c "$work/node1/tamd.conf" >/dev/null || die "tamd -t"
TAMD_WORKERS=2 "$tamd" --dump-config -c "$work/node1/tamd.conf" -o log_level=warn >"$work/dump"
grep -q 'workers = "2" # environment TAMD_WORKERS' "$work/dump" || die "dump: environment"
grep -q 'log_level = "warn" # flag -o' "$work/dump" || die "dump: flag"
grep -q 'database = "\*\*\*\*\*\*\*\*"' "$work/dump" || die "dump shows a secret"
chmod 644 "$work/keys/master.key"
if "$tamd" -t -c "$work/node1/tamd.conf" >"$work/bad.out" 2>&1; then die "an exposed secret was accepted"; fi
chmod 600 "$work/keys/master.key"

# Reload of the log level and TLS files leaves the node serving.
kill -HUP "$pid_1"
sleep 0.3
status 200 'an empty POST after SIGHUP' -X POST -H "$accept" "$url/tam"
[ "$(metric "$admin" tam_exchanges)" = 0 ] || die "exchanges are left"
[ "$(metric "$admin" tam_sessions)" = 0 ] || die "sessions are left"
stop_node 1
