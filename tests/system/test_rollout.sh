#!/bin/bash
# Rollouts: a part of the fleet first; what goes wrong stops them, who dies does
# not, and time is moved by hand.
set -euo pipefail
work=$build/tests/work/test_rollout
# shellcheck source=tests/support/node.sh
. "$top/tests/support/node.sh"
trap end_world EXIT

make_world
cd "$work"
hold_clock
start_node 1
draft_policy
# Thirty that work and ten that do not.
enrol 30 --keys p256
"$tamfleet" keys --agents 10 --keys p256 --seed bad --prefix bad >bad.ndjson
"$tamctl" -o json device import bad.ndjson >/dev/null
one=$(make_component vendor/app 1 one)
two=$(make_component vendor/app 2 two)
three=$(make_component vendor/app 3 three)
back=$(make_component vendor/app 4 two)
five=$(make_component vendor/app 5 five)
six=$(make_component vendor/app 6 six)
seven=$(make_component vendor/app 7 seven)
"$tamctl" channel put stable "manifest=$one" >/dev/null
echo '{"components": [{"channel": "stable"}]}' >p.json
"$tamctl" policy put app p.json >/dev/null
settle

good() { fleet_exec --agents 30 --keys p256 --rounds 0 --interval 0.5 --http mix --tries 100 >good.out 2>&1; }
bad() { fleet_exec --agents 10 --keys p256 --seed bad --rounds 0 --interval 0.5 --tries 100 "$@" >bad.out 2>&1; }
end_fleet() { # PID
	kill -TERM "$1"
	wait "$1" || true # what it expects is asked below
}
rollout() { "$tamctl" -o json rollout "$@" | tr -d ' \n' >rollout.json; }
says() { grep -qF -- "$1" rollout.json || die "the rollout does not say $1: $(cat rollout.json)"; }
is() { # NAME TEXT: it says so, sooner or later
	rollout status "$1" && grep -qF -- "$2" rollout.json
}
becomes() { try_for 60 is "$1" "$2" || die "$1 is not $2: $(cat rollout.json)"; }
hold() { # DIGEST: how many hold the image of this manifest
	sql "SELECT count(*) FROM device_component c JOIN manifest_component m ON m.component = c.component AND m.image = c.digest
		WHERE m.digest = '\\x$1'"
}
have() { [ "$(hold "$1")" = "$2" ]; }
all_have() { try_for 60 have "$1" "$2" || die "$(hold "$1") of $2 hold $1"; }
told() { # NAME: what was done with it, in order
	sql "SELECT string_agg(action, ' ' ORDER BY seq) FROM audit_event WHERE object = '$1'"
}
sums_up() { # the counters are what they count
	[ "$(sql "SELECT count(*) FROM (
		(SELECT rollout_id, stage, back, state, n FROM rollout_count WHERE n <> 0 EXCEPT
		 SELECT rollout_id, stage, back, state, count(*) FROM rollout_device GROUP BY 1, 2, 3, 4) UNION ALL
		(SELECT rollout_id, stage, back, state, count(*) FROM rollout_device GROUP BY 1, 2, 3, 4 EXCEPT
		 SELECT rollout_id, stage, back, state, n FROM rollout_count)) x")" = 0 ] || die "counted: $(sql 'SELECT * FROM rollout_count')"
}

# Windows: days, midnight, and the two days a year that are not 24 hours long.
window() { # AT WINDOWS -> open until
	sql "SELECT is_open || ' ' || coalesce(to_timestamp(nullif(until_us, 0) / 1e6) AT TIME ZONE 'UTC', 'infinity')
		FROM rollout_window('$2', (extract(epoch FROM '$1'::timestamptz) * 1e6)::bigint)"
}
night='[{"from": "22:00", "to": "04:00", "zone": "Europe/Berlin"}]'
while read -r at windows want; do
	windows=${windows//_/ }
	[ "$(window "$at" "$windows")" = "${want//_/ }" ] || die "$at in $windows: $(window "$at" "$windows"), not $want"
done <<END
2026-06-10T19:59:59Z ${night// /_} false_2026-06-10_20:00:00
2026-06-10T20:00:00Z ${night// /_} true_2026-06-11_02:00:00
2026-06-11T01:59:59Z ${night// /_} true_2026-06-11_02:00:00
2026-06-11T02:00:00Z ${night// /_} false_2026-06-11_20:00:00
2026-03-28T22:00:00Z ${night// /_} true_2026-03-29_02:00:00
2026-10-24T22:00:00Z ${night// /_} true_2026-10-25_03:00:00
2026-01-15T21:00:00Z ${night// /_} true_2026-01-16_03:00:00
2026-06-10T12:00:00Z [{"days":["sat","sun"],"from":"00:00","to":"00:00","zone":"UTC"}] false_2026-06-13_00:00:00
2026-06-13T12:00:00Z [{"days":["sat","sun"],"from":"00:00","to":"00:00","zone":"UTC"}] true_2026-06-14_00:00:00
2026-06-12T23:00:00Z [{"days":["fri"],"from":"22:00","to":"02:00","zone":"UTC"}] true_2026-06-13_02:00:00
2026-06-13T23:00:00Z [{"days":["fri"],"from":"22:00","to":"02:00","zone":"UTC"}] false_2026-06-19_22:00:00
2026-06-10T10:00:00Z [{"from":"09:00","to":"11:00","zone":"UTC"},{"from":"10:00","to":"12:00","zone":"UTC"}] true_2026-06-10_12:00:00
2026-06-10T08:00:00Z [{"from":"10:00","to":"12:00","zone":"UTC"},{"from":"09:00","to":"11:00","zone":"UTC"}] false_2026-06-10_09:00:00
2026-06-10T08:00:00Z [{"from":"17:00","to":"17:30","zone":"Asia/Kolkata"}] false_2026-06-10_11:30:00
END

# What is wrong is told when it is drafted, with the member at fault.
draft() { # NAME REST-OF-DOCUMENT
	echo "{\"channel\": \"stable\", $2}" >r.json
	"$tamctl" rollout create "$1" r.json >create.out 2>&1
}
refused() { # TEXT NAME REST
	if draft "$2" "$3"; then die "$3 was taken"; fi
	grep -q -- "$1" create.out || die "$3: $(cat create.out)"
}
refused 'invalid_rollout at /stages' r "\"manifest\": \"$two\""
refused 'invalid_rollout at /stages/1/percent' r "\"manifest\": \"$two\", \"stages\": [{}, {\"percent\": 200}]"
refused 'invalid_rollout at /windows/0/zone' r "\"manifest\": \"$two\", \"stages\": [{}], \"windows\": [{\"from\": \"01:00\", \"to\": \"02:00\", \"zone\": \"Mars/Base\"}]"
refused 'invalid_rollout at /manifest' r "\"manifest\": \"$(printf '%064d' 1)\", \"stages\": [{}]"
[ "$("$tamctl" -o name rollout list | wc -l)" = 0 ] || die "kept"
for act in start pause resume advance retry-failed rollback abort; do
	if "$tamctl" rollout $act nothing reason=x 2>bad.err; then die "$act of nothing"; fi
	grep -q '404 not_found' bad.err || die "$act: $(cat bad.err)"
done

# A draft is tried and changed; started it is not.
draft app2 "\"manifest\": \"$two\", \"stages\": [{}]" || die "draft: $(cat create.out)"
stages="\"stages\": [{\"name\": \"canary\", \"selector\": \"labels.shard == \\\"0\\\"\"}, {\"percent\": 50, \"gate\": \"manual\"}, {\"percent\": 100}],
	\"minimum\": 2, \"soak_s\": 600, \"success_percent\": 80"
draft app2 "\"manifest\": \"$two\", $stages" || die "draft: $(cat create.out)"
rollout dry-run app2 r.json
says '"considered":40,"devices":40,"changes":{"send":40,'
canaries=$(sql "SELECT count(*) FROM device_label WHERE key = 'shard' AND value = '0'")
grep -q "\"by_stage\":\[$canaries,[0-9]*,[0-9]*\]" rollout.json || die "dry run: $(cat rollout.json)"
for act in pause resume advance retry-failed rollback abort; do
	if "$tamctl" rollout $act app2 reason=x 2>bad.err; then die "$act of a draft"; fi
	grep -q '409 wrong_state' bad.err || die "$act: $(cat bad.err)"
done
if "$tamctl" rollout start app2 reason= 2>bad.err; then die "without a reason"; fi
grep -q '422 invalid_value at /reason' bad.err || die "reason: $(cat bad.err)"
good &
good_pid=$!
bad &
bad_pid=$!
all_have "$one" 40
"$tamctl" rollout start app2 reason=go >/dev/null
if draft app2 "\"manifest\": \"$three\", \"stages\": [{}]"; then die "changed under way"; fi
grep -q '409 wrong_state' create.out || die "changed: $(cat create.out)"
if "$tamctl" channel put stable "manifest=$three" 2>bad.err; then die "the channel moved meanwhile"; fi
grep -q '409 rollout_under_way' bad.err || die "channel: $(cat bad.err)"
if draft other "\"manifest\": \"$three\", \"stages\": [{}]"; then die "two at once"; fi
grep -q 'invalid_rollout at /channel.*app2 is changing it' create.out || die "two: $(cat create.out)"

# The canaries, who soak; the others wait, and say for what.
becomes app2 '"waits_for":"soak"'
all_have "$two" "$canaries" # it soaks from the second on
others() { [ "$(sql "SELECT count(*) FROM device_seen WHERE reason = 'awaiting_rollout_stage'")" = $((40 - canaries)) ]; }
try_for 60 others || die "reasons: $(sql 'SELECT reason, count(*) FROM device_seen GROUP BY 1')"
have "$two" "$canaries" || die "$(hold "$two") canaries"
"$tamctl" -o json device explain agent-000001 | tr -d ' \n' >explain.json
grep -q '"rollout":"app2"' explain.json || die "explain: $(cat explain.json)"
grep -q '"now":{"offer":false,"reason":"awaiting_rollout_stage"}' explain.json || die "explain: $(cat explain.json)"
# Time goes by; the node dies at the step, before and after its commit, and
# another goes on: no step is left out, none is done twice.
stop_node 1
TAM_FAULT=before_step:1 start_node 1
pass_time 601
wait "$pid_1" || true # killed by its own hand
[ "$(sql "SELECT opened FROM rollout WHERE name = 'app2'")" = 1 ] || die "half a step"
lend_memory 1 2
TAM_FAULT=after_step:1 run_node 2 # it may be gone before it is ready
wait "$pid_2" || true
[ "$(sql "SELECT opened FROM rollout WHERE name = 'app2'")" = 2 ] || die "no step"
lend_memory 1 3
start_node 3
export TAMCTL_SERVER=localhost:$admin_3
becomes app2 '"waits_for":"soak"'
pass_time 601
becomes app2 '"waits_for":"gate"'
sleep 2
says '"opened":2'
[ "$(told app2)" = 'rollout_put rollout_put rollout_start rollout_advance' ] || die "told: $(told app2)"
"$tamctl" rollout advance app2 reason=fine >/dev/null
becomes app2 '"waits_for":"soak"'
pass_time 601
becomes app2 '"state":"completed"'
all_have "$two" 40
[ "$("$tamctl" -o json channel get stable | tr -d ' \n' | grep -c "$two")" = 1 ] || die "the channel"
"$tamctl" channel history stable | grep -q "^2.*rollout app2.*$two" || die "history: $("$tamctl" channel history stable)"
[ "$(told app2)" = 'rollout_put rollout_put rollout_start rollout_advance rollout_advance rollout_complete' ] || die "told: $(told app2)"
becomes app2 '"reached":40,'
sums_up
sql 'SELECT sum(n) FROM rollout_count WHERE state = '"'verified'" | grep -qx 40 || die "not all verified"
if "$tamctl" rollout resume app2 reason=x 2>bad.err; then die "resumed after its end"; fi

# Ten that fail stop it; mended, and tried again, they let it go on.
end_fleet $bad_pid
bad --play fail-section=20 &
bad_pid=$!
draft app3 "\"manifest\": \"$three\", \"rollback\": \"$back\", \"stages\": [{\"percent\": 100}], \"minimum\": 35, \"soak_s\": 0, \"success_percent\": 90,
	\"limits\": {\"manifest_failed\": 10}" || die "draft: $(cat create.out)"
"$tamctl" rollout start app3 reason=go >/dev/null
becomes app3 '"state":"paused"'
grep -qE '"reason":"stage1:manifest_failedon[0-9]+of[0-9]+devices,morethan10.00%"' rollout.json || die "why: $(cat rollout.json)"
[ "$(told app3)" = 'rollout_put rollout_start rollout_pause' ] || die "told: $(told app3)"
"$tamctl" -o name -q state=manifest_failed rollout devices app3 >failed.txt
grep -q '^bad' failed.txt || die "who failed is not listed"
if grep -vq '^bad' failed.txt; then die "who did not fail is listed: $(cat failed.txt)"; fi
end_fleet $bad_pid
bad &
bad_pid=$!
"$tamctl" rollout retry-failed app3 reason=mended >/dev/null
rollout status app3
says '"manifest_failed":0'
"$tamctl" rollout resume app3 reason=mended >/dev/null
becomes app3 '"state":"completed"'
all_have "$three" 40
sums_up

# Back: to an image they had, under a newer number; also those who failed.
end_fleet $bad_pid
bad --play fail-section=20 &
bad_pid=$!
draft app5 "\"manifest\": \"$five\", \"rollback\": \"$six\", \"on_failure\": \"rollback\", \"stages\": [{\"percent\": 100}], \"minimum\": 40, \"soak_s\": 0,
	\"limits\": {\"any\": 5}" || die "draft: $(cat create.out)"
"$tamctl" rollout start app5 reason=go >/dev/null
becomes app5 '"state":"rolling_back"'
end_fleet $bad_pid
bad &
bad_pid=$!
pass_time 700 # who was refused is asked again
becomes app5 '"state":"rolled_back"'
all_have "$six" 40
says '"reached":40,"returned":40,'
sums_up
[ "$(told app5)" = 'rollout_put rollout_start rollout_rollback rollout_rolled_back' ] || die "told: $(told app5)"
# The channel still says three, which is older than what they have.
older() { [ "$(sql "SELECT count(*) FROM device_seen WHERE reason = 'newer_held'")" = 40 ]; }
try_for 30 older || die "reasons: $(sql 'SELECT reason, count(*) FROM device_seen GROUP BY 1')"
if "$tamctl" rollout rollback app3 reason=x 2>bad.err; then die "rolled back after its end"; fi

# Only in its window, which opens in two hours.
hour=$(date -u -d "+$((moved + 7200)) seconds" +%H)
draft app7 "\"manifest\": \"$seven\", \"stages\": [{}], \"minimum\": 1, \"soak_s\": 0, \"windows\": [{\"from\": \"$hour:00\", \"to\": \"$(date -u -d "+$((moved + 10800)) seconds" +%H):00\",
	\"zone\": \"UTC\"}]" || die "draft: $(cat create.out)"
"$tamctl" rollout start app7 reason=go >/dev/null
becomes app7 '"waits_for":"window","until":"'
settle
"$tamctl" -o json device explain agent-000001 | tr -d ' \n' >explain.json
grep -q '"now":{"offer":false,"reason":"awaiting_window","until_us":[1-9]' explain.json || die "explain: $(cat explain.json)"
sleep 2
have "$seven" 0 || die "$(hold "$seven") outside the window"
pass_time $((7200 - 60 * 10#$(date -u -d "+$moved seconds" +%M) + 60))
becomes app7 '"state":"completed"'
all_have "$seven" 40

# One that never answers, and a revocation.
end_fleet $good_pid
end_fleet $bad_pid
eight=$(make_component vendor/app 8 eight)
draft app8 "\"manifest\": \"$eight\", \"stages\": [{}], \"minimum\": 1, \"answer_within_s\": 900, \"limits\": {\"no_answer\": 20}" || die "draft: $(cat create.out)"
"$tamctl" rollout start app8 reason=go >/dev/null
settle
fleet_exec --agents 1 --keys p256 --rounds 1 --play slow=3600000 >slow.out 2>&1 &
slow=$!
becomes app8 '"offered":1,'
pass_time 901
becomes app8 '"state":"paused"'
says '"no_answer":1'
kill -KILL $slow
"$tamctl" rollout resume app8 reason=x >/dev/null
id=$("$tamctl" -o json revocation create "manifest=$eight" reason=bad | json_number id)
becomes app8 '"state":"cancelled"'
[ -n "$id" ] || die "no revocation"
if draft app9 "\"manifest\": \"$eight\", \"stages\": [{}]"; then die "a rollout of what is revoked"; fi
grep -q '409 suit_revoked' create.out || die "revoked: $(cat create.out)"
sums_up

# A policy changes whole; and is nobody else's meanwhile.
echo '{"policy": "app", "document": {"selector": "class == \"cam\"", "components": [{"component": "vendor/app", "state": "absent"}]},
	"stages": [{"percent": 100}], "minimum": 30, "soak_s": 0}' >r.json
"$tamctl" rollout create drop r.json >/dev/null
"$tamctl" rollout start drop reason=go >/dev/null
if "$tamctl" policy put app p.json 2>bad.err; then die "the policy changed meanwhile"; fi
grep -q '409 rollout_under_way' bad.err || die "policy: $(cat bad.err)"
settle
good &
good_pid=$!
"$tamctl" rollout wait drop deadline=60 2>wait.err || die "wait: $(cat wait.err)"
"$tamctl" policy history app | grep -q '^2.*rollout drop' || die "history: $("$tamctl" policy history app)"
"$tamctl" rollout wait app8 2>wait.err && die "waited for what was cancelled"
grep -q cancelled wait.err || die "wait: $(cat wait.err)"

# --- what can never complete is said, and not started by mistake ----------------------
l1=$(make_component vendor/late 1 l1)
l2=$(make_component vendor/late 2 l2)
l3=$(make_component vendor/late 3 l1)
"$tamctl" channel put late "manifest=$l1" >/dev/null
echo '{"components": [{"channel": "late"}]}' >p.json
"$tamctl" policy put late p.json >/dev/null
all_have "$l1" 30
late() { # NAME REST
	echo "{\"channel\": \"late\", \"manifest\": \"$l2\", \"rollback\": \"$l3\", $2}" >r.json
	rollout create "$1" r.json || die "draft: $(cat rollout.json)"
}
never() { # REST CODE DETAIL: in the dry run, at creation, at the start and in the status
	late never "$1"
	says "\"code\":\"$2\""
	rollout dry-run never r.json
	says "\"code\":\"$2\""
	says "$3"
	if "$tamctl" rollout start never reason=go 2>bad.err; then die "started: $1"; fi
	tr -d ' ' <bad.err | grep -qF "409never_completes:$3" || die "start: $(cat bad.err)"
	is never '"state":"draft"' || die "refused, and $(cat rollout.json)"
	says "\"code\":\"$2\""
}
never '"stages": [{"selector": "labels.ring == \"nobody\""}, {}]' stage_empty 'stage1hasnodevice'
says '"of":0,'
says '"of":40,'
never '"stages": [{"percent": 50}, {"percent": 50}]' stage_empty 'stage2hasnodevice'
never '"stages": [{}], "minimum": 41' minimum_beyond_stage 'stage1waitsfor41devicesandhas40'
"$tamctl" rollout start never reason='there will be more' anyway=true >/dev/null || die "not started although it is meant"
is never '"state":"running"' || die "anyway: $(cat rollout.json)"
says '"code":"minimum_beyond_stage"'
says '"never_passes":true'
"$tamctl" rollout abort never reason=enough >/dev/null
# What says nothing is protected: half of the stage, ten minutes.
late plain '"stages": [{}]'
says '"warnings":[]'
late plain '"stages": [{}], "soak_s": 0'
says '"code":"no_soak"'

# --- back, without those who will not come ----------------------------------------------
late back2 '"stages": [{}], "minimum": 30, "soak_s": 3600'
"$tamctl" rollout start back2 reason=go >/dev/null
becomes back2 '"verified":30,'
says '"of":40,'
end_fleet $good_pid
"$tamctl" device decommission agent-000000 reason=sold >/dev/null
"$tamctl" device quarantine agent-000001 reason=odd >/dev/null
"$tamctl" rollout rollback back2 reason=bad >/dev/null
fleet_exec --agents 27 --keys p256 --rounds 0 --interval 0.5 --http mix --tries 100 >few.out 2>&1 &
few_pid=$!
becomes back2 '"returned":25,'
becomes back2 '"away":{"devices":2,"names":["agent-000000","agent-000001"]}'
says '"waiting_for":{"devices":3,"names":["agent-000027","agent-000028","agent-000029"]}'
says '"state":"rolling_back"'
"$tamctl" -o name -q state=away rollout devices back2 >away.txt
[ "$(tr '\n' ' ' <away.txt)" = 'agent-000000 agent-000001 ' ] || die "away: $(cat away.txt)"
if "$tamctl" channel put late "manifest=$l3" 2>bad.err; then die "the channel moved meanwhile"; fi
sums_up
pass_time 86401
becomes back2 '"state":"rolled_back"'
says '25of30devicesareback;5areoutofuseorsilentandwerenotwaitedfor'
says '"away":{"devices":5,'
sums_up
# The channel is free; who comes later gets what it says then.
"$tamctl" channel put late "manifest=$l3" >/dev/null || die "the channel is not free"
end_fleet $few_pid
good &
good_pid=$!
all_have "$l3" 28
[ "$(sql "SELECT count(*) FROM device_component c JOIN device d USING (device_id) JOIN manifest_component m ON m.component = c.component AND m.image = c.digest
	WHERE m.digest = '\\x$l2' AND d.name IN ('agent-000000', 'agent-000001')")" = 2 ] || die "what is out of use was changed"
end_fleet $good_pid
stop_node 3
