#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
# The agent and its XDP programs against a real kernel peer: two namespaces joined by veth, an
# agent in one, ordinary users asking it for stacks and driving their rings by hand. Then agents of
# one's own, without privilege, for traffic within the host.
#
#   here  v0 10.9.0.1/24 fd09::1/64 ---- v1 10.9.0.2/24 fd09::2/64  there
#
# usage: test/apps/agent.sh [BUILD]     needs root; leaves nothing behind
set -u
cd "$(dirname "$0")/../.."
O=${1:-build}
here=onr-h-$$ there=onr-t-$$
tmp=$(mktemp -d)
agent=
n=0
failed=0

cleanup()
{
	[ -z "$agent" ] || { kill "$agent" 2> /dev/null; wait "$agent" 2> /dev/null; }
	[ -z "${own:-}" ] || kill "$own" 2> /dev/null
	[ -z "${folder:-}" ] || rm -rf "$folder"
	ip netns del $here 2> /dev/null
	ip netns del $there 2> /dev/null
	rm -rf "$tmp"
}
trap cleanup EXIT
trap 'exit 130' INT TERM

ok()
{
	n=$((n + 1))
	if [ "$1" = 0 ]; then echo "ok $n - $2"; else echo "not ok $n - $2"; failed=$((failed + 1)); fi
}
in_here() { ip netns exec $here "$@"; }
probe() { in_here "$O/test/apps/agent_probe" $there "$@"; }
pair_probe() { timeout 30 ip netns exec $here "$O/test/apps/pair_probe" "$1"; ok $? "$1${2:+ ($2)}"; }
run() { timeout 30 ip netns exec $here "$O/test/apps/agent_probe" $there "$1"; ok $? "$1${2:+ ($2)}"; }

# The agent runs in a mount namespace of its own, as `ip netns exec` makes one: fresh /sys, so
# bpffs is its own to mount, and what it leaves behind would be ours to see by id only.
# Without a surrogate beside it, unless told: the scenarios drive their rings by hand, and a
# surrogate would take the turn that nobody takes, and their packets.
mkdir "$tmp/alone" && cp "$O/bin/onrampd" "$tmp/alone/"
daemon=$tmp/alone/onrampd
start_agent()
{
	rm -f "$tmp/ready"; mkfifo "$tmp/ready"
	ip netns exec $here "$daemon" --ready-fd 9 9> "$tmp/ready" 2>> "$tmp/log" &
	agent=$!
	read -r -t 10 _ < "$tmp/ready" || { echo "the agent does not start:"; cat "$tmp/log"; exit 1; }
}
stop_agent() { kill -TERM "$agent"; wait "$agent"; agent=; }
set_mtu() { ip -n $here link set v0 mtu "$1"; ip -n $there link set v1 mtu "$1"; sleep 0.05; }
ours_left() { ip -n $here -o link | grep -c 'onr[0-9]'; }
# Ids of the programs that the agent and its keeper hold; other agents of this machine have theirs.
progs() { for p in $agent $(pgrep -P "$agent"); do cat /proc/"$p"/fdinfo/* 2> /dev/null; done |
	awk '/^prog_id/ { print $2 }' | sort -u; }
loaded() { for id in "$@"; do bpftool prog show id "$id" 2> /dev/null; done | wc -l; }
xdp_on_v0() { ip -n $here -d link show v0 | grep -c 'prog/xdp'; }
surrogates() { for p in $(ip netns pids $here); do cat /proc/$p/comm 2> /dev/null; done |
	grep -c onramp-sur; }
PATH=$PATH:/usr/sbin:/sbin

ip netns add $here && ip netns add $there || exit 1
ip link add v0 netns $here numrxqueues 1 numtxqueues 1 type veth \
	peer name v1 netns $there numrxqueues 1 numtxqueues 1
for i in 1 2; do
	ns=$([ $i = 1 ] && echo $here || echo $there)
	ip -n "$ns" addr add 10.9.0.$i/24 dev v$((i - 1))
	ip -n "$ns" addr add fd09::$i/64 dev v$((i - 1)) nodad
	ip -n "$ns" link set v$((i - 1)) up
	ip -n "$ns" link set lo up
done
# A link-local address comes into use a second late, and neighbour discovery needs it.
for i in $(seq 40); do
	ip -n $here -6 addr | grep -q tentative || ip -n $there -6 addr | grep -q tentative || break
	sleep 0.1
done

start_agent
in_here "$O/bin/onrampd" 2> "$tmp/second" && ok 1 "a second agent is refused" ||
	ok "$(grep -c 'another agent' "$tmp/second" | grep -qx 1; echo $?)" "a second agent is refused"
for s in no_interface directory pairs pair_users; do pair_probe $s "nothing attached"; done
probe attach v0; ok $? "attach"
for s in directory pairs pair_users; do pair_probe $s attached; done
probe attach v0 > /dev/null 2>&1; ok "$([ $? != 0 ]; echo $?)" "attaching twice is refused"
probe attach lo > /dev/null 2>&1; ok "$([ $? != 0 ]; echo $?)" "loopback is refused"
for s in neighbours udp_small spoof two_users proofs parked port_block port_quota kernel_too kernel_before super_frames rights; do
	run $s
done
set_mtu 9000; run udp_jumbo "MTU 9000"; run super_frames "MTU 9000"
set_mtu 65535; run udp_huge "MTU 65535"
set_mtu 1500; run spoof "MTU back at 1500"

# A second interface: the stacks of programs started from now on have both.
ip link add w0 netns $here type veth peer name w1 netns $there
ip -n $here addr add 10.9.1.1/24 dev w0; ip -n $there addr add 10.9.1.2/24 dev w1
ip -n $here link set w0 up; ip -n $there link set w1 up
probe attach w0 > /dev/null; ok $? "a second interface"
run two_links
ip -n $here link del w0; sleep 0.2
run udp_small "the second interface has vanished"

ip netns exec $there ping -q -c 3 -i 0.2 -W 1 10.9.0.1 > /dev/null; ok $? "ping, IPv4"
ip netns exec $there ping -q -c 3 -i 0.2 -W 1 fd09::1 > /dev/null; ok $? "ping, IPv6"
before=$(ip -n $here -s link show v0 | awk '/RX:/ { getline; print $2 }')
[ -n "$before" ]; ok $? "the interface still counts for the kernel"

# A client that is killed leaves no lease: the next one gets the same port.
"$O/bin/onrampd" --version > /dev/null; ok $? "--version"
ip netns exec $here "$O/test/apps/agent_probe" $there hold > "$tmp/hold" & holder=$!
for i in $(seq 50); do grep -q holding "$tmp/hold" && break; sleep 0.05; done
kill -KILL $holder; wait $holder 2> /dev/null
for i in $(seq 60); do probe udp_small > /dev/null 2>&1 && break; sleep 0.1; done
ok "$([ "$i" -lt 60 ]; echo $?)" "kill -9 of a client frees its leases"

# Detaching under a live client.
ip netns exec $here "$O/test/apps/agent_probe" $there hold > "$tmp/hold" & holder=$!
for i in $(seq 50); do grep -q holding "$tmp/hold" && break; sleep 0.05; done
probe detach v0; ok $? "detach"
ok "$(ours_left)" "detach leaves no device"
ok "$(xdp_on_v0)" "detach leaves no program on the interface"
ok "$(surrogates)" "detach leaves no surrogate"
kill $holder; wait $holder 2> /dev/null
ip netns exec $there ping -q -c 1 -W 1 10.9.0.1 > /dev/null; ok $? "ping after detach"
probe attach v0 > /dev/null; ok $? "attach again"
run udp_small "attached again"

# The agent killed: the next one clears up and starts anew.
kill -KILL "$agent"; wait "$agent" 2> /dev/null
start_agent
ok "$(ours_left)" "a new agent removes an old one's devices"
ok "$(xdp_on_v0)" "a new agent removes an old one's program"
probe attach v0 > /dev/null; ok $? "attach under the new agent"
run udp_small "under the new agent"
probe detach v0 > /dev/null

probe attach v0 native; ok $? "attach native"
run spoof "native"
run udp_small "native"
probe detach v0; ok $? "detach native"
probe attach v0 generic direct; ok $? "attach --direct"
run udp_small "direct attachment, ordinary user: a VF"
run super_frames "direct attachment, ordinary user"
run direct "root's own queue"
probe detach v0 > /dev/null

# Another's XDP program stays: we are refused where we cannot share, and do not touch it.
xdp_o=/usr/lib/$(gcc -print-multiarch)/bpf/xdpfilt_alw_all.o
if in_here ip link set dev v0 xdpgeneric obj "$xdp_o" sec xdp 2> /dev/null; then
	before=$(ip -n $here -d link show v0 | grep -o 'prog/xdp id [0-9]*')
	probe attach v0 > "$tmp/foreign" 2>&1; shared=$?
	after=$(ip -n $here -d link show v0 | grep -o 'prog/xdp id [0-9]*')
	[ $shared = 0 ] || [ "$before" = "$after" ]; ok $? "another's XDP program is left alone"
	[ $shared = 0 ] || [ "$(wc -c < "$tmp/foreign")" -gt 10 ]; ok $? "and the refusal says why"
	in_here ip link set dev v0 xdpgeneric off
fi
stop_agent

if [ -x "$O/bin/onramp-surrogate" ]; then
	daemon=$O/bin/onrampd
	start_agent
	probe attach v0 > /dev/null; ok $? "attach, surrogates and all"
	run surrogate "killed, replaced, its stack unharmed"
	ip netns exec $here "$O/test/apps/agent_probe" $there hold > "$tmp/hold" & holder=$!
	for i in $(seq 50); do grep -q holding "$tmp/hold" && break; sleep 0.05; done
	for i in $(seq 100); do [ "$(surrogates)" = 1 ] && break; sleep 0.05; done
	ok "$([ "$(surrogates)" = 1 ]; echo $?)" "a stack has one surrogate"
	kill -KILL $holder; wait $holder 2> /dev/null
	for i in $(seq 100); do [ "$(surrogates)" = 0 ] && break; sleep 0.05; done
	ok "$(surrogates)" "which goes when its program has"
	ip netns exec $here "$O/test/apps/agent_probe" $there hold > "$tmp/hold" & holder=$!
	for i in $(seq 50); do grep -q holding "$tmp/hold" && break; sleep 0.05; done
	stop_agent
	ok "$(surrogates)" "SIGTERM leaves no surrogate"
	kill $holder; wait $holder 2> /dev/null
	start_agent
	probe attach v0 > /dev/null
else
	start_agent
	probe attach v0 > /dev/null
fi

held=$(progs)
[ -n "$held" ]; ok $? "the agent holds programs"
stop_agent
ok "$(ours_left)" "SIGTERM leaves no device"
ok "$(xdp_on_v0)" "SIGTERM leaves no program on the interface"
for i in $(seq 40); do [ "$(loaded $held)" = 0 ] && break; sleep 0.05; done
ok "$(loaded $held)" "SIGTERM leaves no program in the kernel"
ok "$(ip netns pids $here | wc -l)" "SIGTERM leaves no process"

# ---- an agent of one's own: started by anybody, seen by its owner, gone with his last program ----

uid=$((40000 + $$ % 20000)) own=
folder=/tmp/onramp-$uid
sock=$folder/agent-$(ip netns exec $here stat -Lc %i /proc/self/ns/net)
mkdir "$tmp/bin" "$tmp/lib" && cp "$O"/bin/onramp{,d,-surrogate} "$O/test/apps/pair_probe" "$tmp/bin" &&
	cp "$O/lib/libonramp.so" "$tmp/lib" && chmod -R a+rX "$tmp"
as=(ip netns exec $here setpriv --reuid $uid --regid $uid --clear-groups env -u XDG_RUNTIME_DIR)
as_user() { "${as[@]}" "$@"; }
# In the background, its pid in $own; ready when this returns.
start_own()
{
	rm -f "$tmp/ready"; mkfifo "$tmp/ready"
	"${as[@]}" "$@" "$daemon" --user --ready-fd 9 9> "$tmp/ready" 2>> "$tmp/log" & own=$!
	read -r -t 10 _ < "$tmp/ready"
}
await_end() { for i in $(seq "$1"); do kill -0 "$own" 2> /dev/null || break; sleep 0.1; done; ! kill -0 "$own" 2> /dev/null; }
own_left() { for p in $(ip netns pids $here); do cat /proc/$p/comm 2> /dev/null; done | grep -c onramp; }
await_none() { for i in $(seq "$1"); do [ "$(own_left)" = 0 ] && [ ! -e $folder ] && return; sleep 0.1; done; false; }
own_run() { AGENT_PATH=$sock timeout 30 ip netns exec $here setpriv --reuid $uid --regid $uid --clear-groups \
	"$tmp/bin/pair_probe" "$1"; ok $? "own agent: $1"; }

daemon=$tmp/alone/onrampd; start_own; own_run pairs; kill -TERM "$own"; wait "$own"
daemon=$tmp/bin/onrampd; start_own; ok $? "own agent: starts without privilege"
[ "$(stat -c '%a %u' $folder) $(stat -c '%a %u' "$sock")" = "700 $uid 600 $uid" ]; ok $? "own agent: its folder and socket are its user's alone"
as_user "$tmp/bin/onrampd" --user 2> "$tmp/second"; [ $? = 1 ] && grep -q 'another agent of yours' "$tmp/second"
ok $? "own agent: a second is refused"
for s in directory own_agent; do own_run $s; done
as_user "$tmp/bin/onramp" status | grep -q 'your own agent'; ok $? "own agent: status says whose it is"
as_user "$tmp/bin/onramp" doctor --json | grep -q 'your own runs'; ok $? "own agent: so does doctor"
[ -d /proc/$own ]; ok $? "own agent: it is still there"
await_end 60; ok $? "own agent: it ends by itself"
await_none 10; ok $? "own agent: and leaves nothing"

start_own; kill -KILL "$own"; wait "$own" 2> /dev/null
[ -S "$sock" ]; ok $? "own agent: killed, it leaves its socket"
start_own && as_user "$tmp/bin/onramp" status > /dev/null; ok $? "own agent: which the next one replaces"
kill -TERM "$own"; wait "$own"; ok $? "own agent: SIGTERM ends it"
await_none 10; ok $? "own agent: and leaves nothing then"

# Eight at once, round after round: one of them stays, and seven say why not.
won=0 lost=0
for round in $(seq 5); do
	pids=
	for i in $(seq 8); do "${as[@]}" "$tmp/bin/onrampd" --user 2>> "$tmp/race" & pids="$pids $!"; done
	sleep 1
	for p in $pids; do
		if kill -0 $p 2> /dev/null; then won=$((won + 1)); own=$p
		else wait $p; [ $? = 1 ] && lost=$((lost + 1)); fi
	done
	kill -TERM "$own"; wait "$own"
done
[ "$won $lost" = "5 35" ]; ok $? "own agent: of eight started at once one stays ($won of 5, $lost of 35)"
await_none 10; ok $? "own agent: and nothing of the eight"

# A folder that is not one's own, or open to others, or only points to one, is not used.
refused() { as_user timeout 3 "$tmp/bin/onrampd" --user 2> /dev/null; [ $? = 1 ]; ok $? "own agent: refuses a folder $1"; rm -rf "$folder"; }
mkdir -m 700 $folder; refused "of somebody else's"
mkdir -m 755 $folder; chown $uid $folder; refused "that others may enter"
mkdir -m 700 "$tmp/elsewhere"; chown $uid "$tmp/elsewhere"; ln -s "$tmp/elsewhere" $folder; refused "that is a link"
mkdir -m 700 $folder; chown $uid $folder; touch $folder/keep; start_own
ok "$([ -S "$sock" ]; echo $?)" "own agent: uses a folder that is there"
kill -TERM "$own"; wait "$own"; [ -e $folder/keep ] && [ ! -e "$sock" ]; ok $? "own agent: and leaves what is not its own"
rm -rf $folder
mkdir -m 700 "$tmp/xdg"; chown $uid "$tmp/xdg"
start_own XDG_RUNTIME_DIR="$tmp/xdg"; [ -S "$tmp/xdg/onramp/${sock##*/}" ]; ok $? "own agent: XDG_RUNTIME_DIR is used"
as_user XDG_RUNTIME_DIR="$tmp/xdg" "$tmp/bin/onrampd" --user 2> /dev/null; ok "$([ $? = 1 ]; echo $?)" "own agent: there, too, one only"
kill -TERM "$own"; wait "$own"; ok "$(ls -A "$tmp/xdg" | wc -l)" "own agent: and cleared"

# onramp run, where there is no agent.
t0=$(date +%s%N)
as_user "$tmp/bin/onramp" run -- true | cat; t1=$(date +%s%N)
[ $(((t1 - t0) / 1000000)) -lt 1500 ]; ok $? "onramp run: the agent that it starts keeps no descriptor of ours"
as_user "$tmp/bin/onramp" status > /dev/null; ok $? "onramp run: programs started later find it"
await_none 60; ok $? "onramp run: it goes when the program has"
as_user "$tmp/bin/onramp" run -- sh -c 'sleep 4; ps --no-headers --ppid $$ -o comm; '"'$tmp/bin/onramp'"' status' > "$tmp/kept"
grep -q 'your own agent' "$tmp/kept"; ok $? "onramp run: it stays for a program without a socket"
ok "$(grep -cE 'onrampd|defunct' "$tmp/kept")" "onramp run: and is no child of the program's"
for p in $(ip netns pids $here); do [ "$(cat /proc/$p/comm)" = onrampd ] && own=$p; done
[ "$(readlink /proc/$own/fd/0 /proc/$own/fd/1 /proc/$own/fd/2 | sort -u)" = /dev/null ] &&
	[ "$(ps -o sid= -p "$own" | tr -d ' ')" != "$(ps -o sid= -p $$ | tr -d ' ')" ] && [ "$(readlink /proc/$own/cwd)" = / ]
ok $? "onramp run: it is detached"
await_none 60; ok $? "onramp run: and goes after that program, too"
mkdir -m 700 $folder
as_user "$tmp/bin/onramp" run -- echo fine 2> "$tmp/said" | grep -qx fine && [ ! -s "$tmp/said" ]
ok $? "onramp run: no agent to be had is no reason not to run"
as_user "$tmp/bin/onramp" run --strict -- true 2> /dev/null; ok "$([ $? = 1 ]; echo $?)" "onramp run: but for --strict"
rm -rf $folder

[ $failed = 0 ] || { echo "# the agent said:"; sed 's/^/#   /' "$tmp/log"; }
echo "1..$n"
exit $((failed != 0))
