#!/bin/bash
# Floods of badly signed messages: honest devices are served or told to come again, and
# what was answered 204 was recorded.
set -euo pipefail
work=$build/tests/work/test_blame
# shellcheck source=tests/support/node.sh
. "$top/tests/support/node.sh"
trap end_world EXIT
peer=$build/tests/support/peer

make_world
start_node 1 failures_per_second=80 # of one source, ten
draft_policy
enrol 8 --keys p256
cd "$work"
: >empty
post() { # SOURCE IN OUT: status in $code
	code=$(curl -sS --max-time 30 --interface "$1" --cacert keys/tls.crt -X POST -H 'Accept: application/teep+cbor' \
	    -H 'Content-Type: application/teep+cbor' --data-binary "@$2" -o "$3" -D head -w '%{http_code}' \
	    "https://localhost:$port/tam")
}
served() { # SOURCE WHAT IN OUT STATUS
	post "$1" "$3" "$4"
	[ "$code" = "$5" ] || die "$2: status $code, not $5"
}
later() { # WHAT: what was just answered says when to come again
	[ "$code" = 503 ] || die "$1: status $code, not 503"
	grep -qi '^retry-after: [1-9]' head || die "$1: no Retry-After"
}
dropped() {
	metric "$admin_1" "tam_messages_dropped_total{reason=\"$1\"}"
}
recorded() {
	sql "SELECT count(*) FROM outstanding_update WHERE state = 'answered'"
}

# Messages that no token holds up: of a key nobody has, of one in the cache, of no key.
served 127.0.0.9 opener empty o_flood 200
"$peer" --agent 900 --seed stranger --no-token query-response o_flood flood_stranger
"$peer" --agent 0 --no-token --bad-signature query-response o_flood flood_known
"$peer" --agent 900 --seed stranger --no-token --no-kid query-response o_flood flood_nobody
flood() { # until end_flood, from 127.0.0.1
	local kind
	floods=()
	for kind in stranger known nobody; do
		h2load -D 600 -c 1 -m 4 -t 1 -d "flood_$kind" -H 'accept: application/teep+cbor' \
		    -H 'content-type: application/teep+cbor' "https://127.0.0.1:$port/tam" >"flood_$kind.out" 2>&1 &
		floods+=($!)
	done
	was_spent=$(dropped budget_spent)
	try_for 30 spent || die "the flood does not drain the budget of its source"
}
spent() { [ "$(dropped budget_spent)" -ge $((was_spent + 100)) ]; }
end_flood() {
	local pid
	for pid in "${floods[@]}"; do
		kill "$pid" 2>/dev/null || die "a flood ended by itself: $(cat flood_*.out)"
		wait "$pid" 2>/dev/null || true
	done
}

# A device that is in the cache: it polled and had nothing to do.
served 127.0.0.2 opener empty o 200
"$peer" --agent 0 query-response o a
served 127.0.0.2 'agent 0' a u 200
"$peer" --agent 0 success u s
served 127.0.0.2 'Success of agent 0' s x 204
for _ in 1 2 3; do
	served 127.0.0.2 opener empty o 200
	"$peer" --agent 0 --tc "$draft_component=8cf71ac86af31be184ec7a05a411a8c3a14fd9b77a30d046397481469468ece8" \
	    query-response o warm
	served 127.0.0.2 'agent 0' warm x 204
done

# --- strangers fail beside a warm device, a cold one and one that sends no kid -----------------
flood
served 127.0.0.2 opener empty o 200
"$peer" --agent 0 --tc "$draft_component=8cf71ac86af31be184ec7a05a411a8c3a14fd9b77a30d046397481469468ece8" \
    query-response o warm
served 127.0.0.2 'a warm device beside a flood' warm x 204
served 127.0.0.3 opener empty o 200
"$peer" --agent 1 query-response o a
served 127.0.0.3 'a cold device beside a flood' a u 200
"$peer" --agent 1 success u s
was=$(recorded)
served 127.0.0.3 'its Success' s x 204
[ "$(recorded)" = $((was + 1)) ] || die "a Success beside a flood was answered and not recorded"
served 127.0.0.4 opener empty o 200
"$peer" --agent 2 --no-kid query-response o a
served 127.0.0.4 'a device without a kid beside a flood' a u 200
"$peer" --agent 2 --no-kid success u s
was=$(recorded)
served 127.0.0.4 'its Success' s x 204
[ "$(recorded)" = $((was + 1)) ] || die "a Success without a kid was answered and not recorded"
end_flood

# --- a token that strangers failed with is good for its owner ------------------------------------
served 127.0.0.2 opener empty o 200
"$peer" --agent 3 query-response o a
served 127.0.0.2 'agent 3' a u 200
"$peer" --agent 3 --bad-signature success u forged
"$peer" --agent 3 success u s
for _ in 1 2 3; do served 127.0.0.5 'a forged Success' forged x 204; done
post 127.0.0.5 s x
later 'the owner at the address of the forger'
[ "$(dropped token_burnt)" -ge 1 ] || die "a token may be tried for ever"
was=$(recorded)
served 127.0.0.2 'the owner of a token that strangers used' s x 204
[ "$(recorded)" = $((was + 1)) ] || die "strangers silenced the owner of a token"

# --- many Successes, half of them from the address of the flooder --------------------------------
agents=48
enrol $agents --keys p256
for i in $(seq 8 $((agents - 1))); do
	served 127.0.0.2 opener empty o 200
	"$peer" --agent "$i" query-response o a
	served 127.0.0.2 "agent $i" a "u$i" 200
	"$peer" --agent "$i" success "u$i" "s$i"
done
was=$(recorded)
flood
good=0
again=()
for i in $(seq 8 $((agents - 1))); do
	if [ $((i % 2)) = 0 ]; then
		served 127.0.0.2 "the Success of agent $i" "s$i" x 204
		good=$((good + 1))
		continue
	fi
	post 127.0.0.1 "s$i" x
	if [ "$code" = 204 ]; then
		good=$((good + 1))
	else
		later "the Success of agent $i"
		again+=("$i")
	fi
done
[ "$(recorded)" = $((was + good)) ] || die "$good Successes were answered 204, $(($(recorded) - was)) recorded"
end_flood
[ ${#again[@]} -gt 0 ] || die "no budget of the flooder's source was spent"
come_again() { post 127.0.0.1 "s$1" x && [ "$code" = 204 ]; }
for i in "${again[@]}"; do
	try_for 30 come_again "$i" || die "agent $i is not served after the flood: $code"
done
[ "$(recorded)" = $((was + agents - 8)) ] || die "a Success was lost"
echo "beside a flood: $good answered at once, ${#again[@]} told to come again"
stop_node 1
