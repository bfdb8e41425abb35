#!/bin/sh
# The network of tcp.py: ns.sh NAME makes it, ns.sh -d NAME takes it away. NAME is at most six letters.
#
#   NAMEc (client) c1 --- r1 NAMEr (router) r2 --- x1 NAMEx (cable with a delay) x2 --- s1 NAMEs (server)
#
# 203.0.113.5 and 2001:db8:71::5 are made up by tcp.py behind c1, so that no kernel answers for them; the server is
# 10.0.0.5 and fd00:a::5. The tap is at r1: what the router drops is seen there.
set -e
if [ "$1" = -d ]; then
	for n in c r x s; do ip netns del "$2$n" 2>/dev/null || true; done
	exit 0
fi
c=$1c r=$1r x=$1x s=$1s
for n in $c $r $x $s; do
	ip netns del $n 2>/dev/null || true
	ip netns add $n
	ip netns exec $n sysctl -qw net.ipv6.conf.all.accept_dad=0 net.ipv6.conf.default.accept_dad=0 || true
	ip -n $n link set lo up
done
ip link add c1 netns $c type veth peer name r1 netns $r
ip link add r2 netns $r type veth peer name x1 netns $x
ip link add x2 netns $x type veth peer name s1 netns $s
ip -n $c addr add 203.0.113.1/24 dev c1
ip -n $r addr add 203.0.113.254/24 dev r1
ip -n $r addr add 10.0.0.254/24 dev r2
ip -n $s addr add 10.0.0.5/24 dev s1
ip -n $r addr add 2001:db8:71::fe/64 dev r1 nodad
ip -n $r addr add fd00:a::fe/64 dev r2 nodad
ip -n $s addr add fd00:a::5/64 dev s1 nodad
for l in "$c c1" "$r r1" "$r r2" "$x x1" "$x x2" "$s s1"; do
	set -- $l
	ip -n $1 link set $2 up
done
ip -n $s route add default via 10.0.0.254
ip -n $s route add default via fd00:a::fe
ip netns exec $r sysctl -qw net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1 net.ipv4.icmp_ratelimit=0
mac=$(ip -n $c -br link show c1 | awk '{print $3}')
ip -n $r neigh replace 203.0.113.5 lladdr $mac dev r1 nud permanent
ip -n $r neigh replace 2001:db8:71::5 lladdr $mac dev r1 nud permanent
