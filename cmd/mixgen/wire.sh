#!/bin/bash
# wire.sh: raytap's sensor and Suricata beside each other on one cable, fed by tcpreplay. Needs root, iproute2,
# tcpreplay, curl and suricata; makes a network namespace of its own and leaves nothing behind.
#
#   RATE=20000 PACKETS=500000 RUNS=3 STEPS='10000 20000 40000' QUOTA=25 OUT=bin make wire
#
# First both capture from the same interface at the same time, while each mix of mixgen is sent at RATE packets in a
# second: CPU time a packet (user and system, of the process, from before the first packet until a second after the
# last), what each received and what the kernel dropped for it. Then each alone is sent five seconds of the mix, or all of
# it, at the growing rates of STEPS: printed is what tcpreplay really reached at the last of them at which no packet was
# dropped, with a + if that was the last of all. On a machine of few processors tcpreplay and the sensor share them, so
# rates say less than ratios. With QUOTA each has no more than so many percent of one processor for that (a control group,
# of cgroup v1 or v2), so that it is the sensor that comes to its end first, and not the sender.
#
# Bulk, and objects of Ray, are sent to two more: raytap with shunt: off, and Suricata with its own bypass (stream.bypass, and the
# eBPF filter of its package, with which the kernel drops what it is not to see).
#
# Last, how late raytap's findings are, from the packet by its kernel's time stamp to the finding: HTTP with a job from outside
# after every hundred requests, at half of the highest rate for HTTP; the bound of the histogram below which half of
# them, and 99 in 100, are (raytap_finding_delay_seconds).
#
# Both have rings of 64 MiB for the interface, the same protocols (HTTP, DNS, TLS) and logs, no rules in Suricata and all
# detectors in raytap.
set -u
RATE=${RATE:-20000} BULK=${BULK:-200000} PACKETS=${PACKETS:-500000} RUNS=${RUNS:-3} OUT=${OUT:-bin} QUOTA=${QUOTA:-} STEPS=${STEPS:-10000 20000 40000 80000 160000 320000 640000}
[ "$(id -u)" = 0 ] || { echo "wire: takes root"; exit 1; }
for t in ip tcpreplay suricata curl; do command -v $t >/dev/null || { echo "wire: no $t"; exit 1; }; done
mkdir -p "$OUT" && OUT=$(cd "$OUT" && pwd) || exit 1
export CGO_ENABLED=0
go build -trimpath -o "$OUT/raytap" ./cmd/raytap && go build -o "$OUT/mixgen" ./cmd/mixgen || exit 1
ns=rtwire$$ work=$(mktemp -d)
group=/sys/fs/cgroup/cpu/$ns
[ -d /sys/fs/cgroup/cpu ] || group=/sys/fs/cgroup/$ns
end() { for p in $(ip netns pids $ns 2>/dev/null); do kill $p; done; wait; ip netns del $ns 2>/dev/null; rmdir "$group" 2>/dev/null; rm -rf "$work"; }
trap end EXIT
in_ns() { ip netns exec $ns "$@"; }
ip netns add $ns && in_ns sysctl -qw net.ipv6.conf.all.disable_ipv6=1 net.ipv6.conf.default.disable_ipv6=1
in_ns ip link add v0 type veth peer name v1 && in_ns ip link set v0 up && in_ns ip link set v1 up && in_ns ip link set lo up || exit 1

# A frame of this MTU takes 1.6 kB in Suricata's ring, of which it has one for each of its threads, as many as processors.
cat >"$work/suricata.yaml" <<END
%YAML 1.1
---
stats: {enabled: no}
unix-command: {enabled: no}
outputs:
  - eve-log: {enabled: yes, filetype: regular, filename: eve.json, community-id: true, types: [http, dns, tls, flow]}
logging: {default-log-level: notice, outputs: [{file: {enabled: yes, filename: suricata.log, level: notice}}]}
app-layer: {protocols: {http: {enabled: yes}, dns: {tcp: {enabled: yes}, udp: {enabled: yes}}, tls: {enabled: yes}}}
af-packet:
  - {interface: v1, cluster-id: 99, cluster-type: cluster_flow, defrag: yes, use-mmap: yes, tpacket-v3: yes, block-size: 1048576, ring-size: $((42000 / $(nproc)))}
END
sed -e 's|^logging:|stream: {bypass: yes}\nlogging:|' -e 's|block-size: 1048576,|block-size: 1048576, bypass: yes, ebpf-filter-file: /usr/lib/suricata/ebpf/bypass_filter.bpf,|' \
  "$work/suricata.yaml" >"$work/bypass.yaml"
start() { # TOOL: its process in $pid, when it captures. ip becomes the program, so the process is its own
  rm -rf "$work/$1" && mkdir "$work/$1"
  case $1 in
  raytap | unshunted) printf 'shunt: %s\n' "$([ $1 = raytap ] && echo auto || echo off)" >"$work/raytap.yaml"
    ip netns exec $ns "$OUT/raytap" sensor -i v1 --config "$work/raytap.yaml" --quiet --rotate-compress none --metrics-listen 127.0.0.1:9191 --out "$work/$1/logs" >/dev/null 2>"$work/$1/err" & ;;
  suricata) ip netns exec $ns suricata --runmode workers -c "$work/suricata.yaml" -S /dev/null -l "$work/suricata" --af-packet=v1 >/dev/null 2>&1 & ;;
  bypass) ip netns exec $ns suricata --runmode workers -c "$work/bypass.yaml" -S /dev/null -l "$work/bypass" --af-packet=v1 >/dev/null 2>&1 & ;;
  esac
  pid=$!
  until grep -qs -e 'capturing from' -e 'ngine started' "$work/$1/err" "$work/$1/suricata.log"; do # a bypass that is refused is an error there
    kill -0 $pid 2>/dev/null || { echo "wire: $1 did not start"; cat "$work/$1"/{err,suricata.log} 2>/dev/null; exit 1; }
    sleep 0.1
  done
}
limit() { # PID: no more than QUOTA from now on; in periods of 10 ms or of what takes a millisecond, which a ring outlasts
  [ "$QUOTA" ] || return 0
  local period=10000
  [ "$QUOTA" -ge 10 ] || period=$((100000 / QUOTA + 100))
  mkdir -p "$group" || return 1
  if [ -e "$group/cpu.cfs_quota_us" ]; then
    echo $period >"$group/cpu.cfs_period_us" && echo $((period * QUOTA / 100)) >"$group/cpu.cfs_quota_us"
  else
    echo "$((period * QUOTA / 100)) $period" >"$group/cpu.max"
  fi && echo "$1" >"$group/cgroup.procs" || { echo "wire: no control group"; exit 1; }
}
ticks() { sed 's/.*) //' "/proc/$1/stat" | awk '{ print $12 + $13 }'; } # of user and system time
stop() { # TOOL PID: $received and $dropped; what raytap left out to keep up counts as dropped
  kill -TERM $2 && wait $2
  case $1 in
  raytap | unshunted) awk -F '\t' '/^#fields/ { for (i = 2; i <= NF; i++) f[$i] = i - 1 } !/^#/ { p += $f["pkts_proc"]; d += $f["dropped_by_kernel"] + $f["bodies_shed"] + $f["new_shed"] + ($f["bulk_shed_bytes"] > 0) } END { print p + 0, d + 0 }' "$work"/$1/logs/20*/stats.*.log ;;
  *) sed -n 's/.*packets: \([0-9]*\), drops: \([0-9]*\).*/\1 \2/p' "$work/$1/suricata.log" | awk '{ p += $1 - $2; d += $2 } END { print p + 0, d + 0 }' ;;
  esac >"$work/count"
  read -r received dropped <"$work/count"
}
send() { # CAPTURE RATE PACKETS: prints the rate that it was
  in_ns tcpreplay -q --preload-pcap -i v0 --pps "$2" --limit "$3" "$1" 2>&1 | sed -n 's/^Rated: .*, \([0-9.]*\) pps.*/\1/p'
}
{ "$OUT/raytap" version | head -1; suricata -V; tcpreplay -V 2>&1 | head -1; grep -m1 'model name' /proc/cpuinfo; echo "$(nproc) processors, load $(cut -d' ' -f1-3 /proc/loadavg)"; } 2>/dev/null
hz=$(getconf CLK_TCK)
for m in http churn bulk objects jobs; do "$OUT/mixgen" -mix $m -packets "$PACKETS" >"$work/$m.pcap"; done

echo
echo "Both at once, $RATE packets in a second, $PACKETS packets"
echo "| mix | raytap: ns a packet | received | dropped | Suricata: ns a packet | received | dropped | ratio |"
echo "|---|---|---|---|---|---|---|---|"
for m in http churn bulk; do
  for _ in $(seq "$RUNS"); do
    start raytap; a=$pid; start suricata; b=$pid
    a0=$(ticks $a) b0=$(ticks $b)
    send "$work/$m.pcap" "$RATE" "$PACKETS" >/dev/null
    sleep 1
    a1=$(ticks $a) b1=$(ticks $b)
    stop raytap $a; of_a="$received $dropped"; stop suricata $b
    echo "$m $((a1 - a0)) $of_a $((b1 - b0)) $received $dropped"
  done
done | awk -v hz=$hz -v n="$PACKETS" '{ a = $2 * 1e9 / hz / n; b = $5 * 1e9 / hz / n
  printf "| %s | %d | %d | %d | %d | %d | %d | %.2f |\n", $1, a, $3, $4, b, $6, $7, a ? b / a : 0; fflush() }'

echo
echo "Each alone${QUOTA:+, with $QUOTA % of a processor}: the highest rate without a drop, in packets in a second"
echo "| mix | raytap | Suricata | ratio |"
echo "|---|---|---|---|"
highest() { # TOOL CAPTURE
  best=0 over=
  for r in $STEPS; do
    start "$1"
    limit $pid
    was=$(send "$2" "$r" $((r * 5 < PACKETS ? r * 5 : PACKETS)))
    sleep 1
    stop "$1" $pid
    [ "$dropped" = 0 ] || { over=; break; }
    best=${was%.*} over=+
  done
  echo "$best$over"
}
for m in http churn bulk; do
  a=$(highest raytap "$work/$m.pcap")
  [ $m = http ] && half=$((${a%+} / 2))
  b=$(highest suricata "$work/$m.pcap")
  echo "| $m | $a | $b | $(awk -v a="${a%+}" -v b="${b%+}" 'BEGIN { printf "%.2f", b ? a / b : 0 }') |"
done

echo
echo "Bulk, and objects of Ray, each alone: CPU time at $BULK packets in a second, and the highest rate without a drop${QUOTA:+, with $QUOTA % of a processor}"
echo "| mix | sensor | ns a packet | received | dropped | highest rate |"
echo "|---|---|---|---|---|---|"
for m in bulk objects; do
  for t in raytap unshunted suricata bypass; do
    start $t
    t0=$(ticks $pid)
    send "$work/$m.pcap" "$BULK" "$PACKETS" >/dev/null
    sleep 1
    t1=$(ticks $pid)
    stop $t $pid
    echo "| $m | $t | $(((t1 - t0) * (1000000000 / hz) / PACKETS)) | $received | $dropped | $(highest $t "$work/$m.pcap") |"
  done
done

echo
start raytap
send "$work/jobs.pcap" "$half" "$PACKETS" >/dev/null
sleep 1
in_ns curl -s http://127.0.0.1:9191/metrics | awk -v rate="$half" -F '["{} ]' '
  /^raytap_finding_delay_seconds_bucket/ { le[++n] = $3; c[n] = $NF }
  END {
    for (i = 1; i <= n; i++) {
      if (!half && c[i] >= c[n] * .5) half = le[i]
      if (!most && c[i] >= c[n] * .99) most = le[i]
    }
    printf "%d findings at %d packets in a second: half within %g ms, 99 in 100 within %g ms\n", c[n], rate, half * 1000, most * 1000
  }'
stop raytap $pid
