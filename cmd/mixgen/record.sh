#!/bin/bash
# record.sh: what the flight recorder costs a sensor, and whether it keeps up where tcpdump does. Needs root, iproute2,
# tcpreplay and tcpdump; makes a network namespace of its own and leaves nothing behind.
#
#   RATE=20000 PACKETS=500000 RUNS=3 STEPS='10000 20000 40000' OUT=bin cmd/mixgen/record.sh
#
# First two sensors capture from one cable at the same time, one with --record, while each mix of mixgen is sent at RATE
# packets in a second: CPU time a packet (user and system, of the process). Then tcpdump -w, and a sensor that records and
# detects, are each alone sent five seconds of the mix at the growing rates of STEPS: printed is the last at which none
# was dropped, with a + if that was the last of all. Both have buffers of 64 MiB and write to the same disk.
set -u
RATE=${RATE:-20000} PACKETS=${PACKETS:-500000} RUNS=${RUNS:-3} OUT=${OUT:-bin} STEPS=${STEPS:-10000 20000 40000 80000 160000 320000 640000}
[ "$(id -u)" = 0 ] || { echo "record: takes root"; exit 1; }
for t in ip tcpreplay tcpdump; do command -v $t >/dev/null || { echo "record: no $t"; exit 1; }; done
mkdir -p "$OUT" && OUT=$(cd "$OUT" && pwd) || exit 1
export CGO_ENABLED=0
go build -trimpath -o "$OUT/raytap" ./cmd/raytap && go build -o "$OUT/mixgen" ./cmd/mixgen || exit 1
ns=rtrec$$ work=$(mktemp -d -p "$OUT") # a disk, and no memory
end() { for p in $(ip netns pids $ns 2>/dev/null); do kill $p; done; wait; ip netns del $ns 2>/dev/null; rm -rf "$work"; }
trap end EXIT
in_ns() { ip netns exec $ns "$@"; }
ip netns add $ns && in_ns sysctl -qw net.ipv6.conf.all.disable_ipv6=1 net.ipv6.conf.default.disable_ipv6=1
in_ns ip link add v0 type veth peer name v1 && in_ns ip link set v0 up && in_ns ip link set v1 up || exit 1
start() { # NAME [flags of raytap]: its process in $pid, when it captures
  local name=$1
  shift
  rm -rf "$work/$name" && mkdir "$work/$name"
  if [ "$name" = tcpdump ]; then
    ip netns exec $ns tcpdump -q -n -i v1 -B 65536 -w "$work/tcpdump/pcap" 2>"$work/tcpdump/err" &
  else
    ip netns exec $ns "$OUT/raytap" sensor -i v1 --quiet --rotate-compress none --out "$work/$name/logs" "$@" >/dev/null 2>"$work/$name/err" &
  fi
  pid=$!
  until grep -qs -e 'capturing from' -e 'listening on' "$work/$name/err"; do
    kill -0 $pid 2>/dev/null || { echo "record: $name did not start"; cat "$work/$name/err"; exit 1; }
    sleep 0.1
  done
}
ticks() { sed 's/.*) //' "/proc/$1/stat" | awk '{ print $12 + $13 }'; } # of user and system time
stop() { # NAME PID: $dropped, of tcpdump what the kernel dropped, of raytap also what it shed and did not record
  kill -TERM $2 && wait $2
  if [ "$1" = tcpdump ]; then
    dropped=$(sed -n 's/^\([0-9]*\) packets dropped by kernel/\1/p' "$work/tcpdump/err")
  else
    dropped=$(awk -F '\t' '/^#fields/ { for (i = 2; i <= NF; i++) f[$i] = i - 1 } !/^#/ { d += $f["dropped_by_kernel"] + $f["bodies_shed"] + $f["new_shed"] + ($f["bulk_shed_bytes"] > 0) + $f["record_queue_full"] + $f["record_disk_error"] } END { print d + 0 }' "$work/$1"/logs/20*/stats.*.log)
  fi
}
send() { # CAPTURE RATE PACKETS: prints the rate that it was
  in_ns tcpreplay -q --preload-pcap -i v0 --pps "$2" --limit "$3" "$1" 2>&1 | sed -n 's/^Rated: .*, \([0-9.]*\) pps.*/\1/p'
}
echo "$(nproc) processors, load $(cut -d' ' -f1-3 /proc/loadavg)"
hz=$(getconf CLK_TCK)
for m in http churn bulk; do "$OUT/mixgen" -mix $m -packets "$PACKETS" >"$work/$m.pcap"; done

echo
echo "Two sensors on one cable, $RATE packets in a second, $PACKETS packets"
echo "| mix | ns a packet | dropped | with --record | dropped | more |"
echo "|---|---|---|---|---|---|"
for m in http churn bulk; do
  for run in $(seq "$RUNS"); do # by turns, since who begins first gets the frames first
    if [ $((run % 2)) = 0 ]; then
      start plain; a=$pid; start record --record "$work/record/packets"; b=$pid
    else
      start record --record "$work/record/packets"; b=$pid; start plain; a=$pid
    fi
    a0=$(ticks $a) b0=$(ticks $b)
    send "$work/$m.pcap" "$RATE" "$PACKETS" >/dev/null
    sleep 1
    a1=$(ticks $a) b1=$(ticks $b)
    stop plain $a; of_a=$dropped; stop record $b
    echo "$m $((a1 - a0)) $of_a $((b1 - b0)) $dropped"
  done
done | awk -v hz=$hz -v n="$PACKETS" '{ a = $2 * 1e9 / hz / n; b = $4 * 1e9 / hz / n
  printf "| %s | %d | %d | %d | %d | %+.0f %% |\n", $1, a, $3, b, $5, a ? 100 * (b / a - 1) : 0; fflush() }'

echo
echo "Each alone: the highest rate without a drop, in packets in a second"
echo "| mix | tcpdump -w | raytap --record |"
echo "|---|---|---|"
highest() { # NAME CAPTURE [flags]
  local name=$1 pcap=$2
  shift 2
  best=0 over=
  for r in $STEPS; do
    start $name "$@"
    was=$(send "$pcap" "$r" $((r * 5 < PACKETS ? r * 5 : PACKETS)))
    sleep 1
    stop $name $pid
    [ "$dropped" = 0 ] || { over=; break; }
    best=${was%.*} over=+
  done
  echo "$best$over"
}
for m in http churn bulk; do
  echo "| $m | $(highest tcpdump "$work/$m.pcap") | $(highest record "$work/$m.pcap" --record "$work/record/packets") |"
done
