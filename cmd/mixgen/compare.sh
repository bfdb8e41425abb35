#!/bin/bash
# compare.sh: CPU time a packet of raytap and of what people use beside it, on the same captures, in one go.
#
# Builds its captures: the three mixes of mixgen and, where root, nginx, wrk, tcpdump, ip and ethtool are there, two of a real nginx
# under wrk between network namespaces. Then every tool reads every capture in turn, RUNS times, so that a change of
# the machine's speed hits all of them. Counted is user and system time of the process, less what the same tool takes
# for a capture of two packets. Printed is, for each capture and tool, the median in nanoseconds a packet, and how
# many times raytap's that is, run by run: minimum, median and maximum. Tools that are missing are named.
#
# raytap and Suricata run as they do unless told otherwise, on all processors, and once more with one thread for all
# (raytap-1: --workers 1, suricata-1: --runmode single), which takes the least CPU time in both: Suricata's threads hand
# each packet on by itself. suricata-1 is compared with raytap-1.
#
#   PACKETS=2000000 RUNS=5 OUT=bin ZEEK='zeek -C -r' make compare
#
# ZEEK is a command that takes a capture as its last argument and writes its logs to the folder it runs in.
set -u
PACKETS=${PACKETS:-2000000} RUNS=${RUNS:-5} OUT=${OUT:-bin} ZEEK=${ZEEK:-}
mkdir -p "$OUT" && OUT=$(cd "$OUT" && pwd) || exit 1
export CGO_ENABLED=0
go build -trimpath -o "$OUT/raytap" ./cmd/raytap && go build -o "$OUT/mixgen" ./cmd/mixgen || exit 1
work=$(mktemp -d) && trap 'rm -rf "$work"' EXIT
have() { command -v "$1" >/dev/null; }

# Captures.
"$OUT/mixgen" -mix http -packets 2 >"$work/none.pcap"
captures=()
for m in http churn bulk; do
  [ -s "$OUT/$m.pcap" ] && [ "${KEEP:-}" ] || "$OUT/mixgen" -mix $m -packets "$PACKETS" >"$OUT/$m.pcap"
  captures+=("$OUT/$m.pcap")
done
real() ( # NAME [wrk arguments]: nginx in one namespace, wrk in another, tcpdump between
  name=$1; shift
  a=rtcmp$$a b=rtcmp$$b
  ip netns add $a && ip netns add $b || exit 1
  trap 'kill $(cat "$work/nginx.pid" 2>/dev/null) 2>/dev/null; ip netns del $a; ip netns del $b' EXIT
  ip link add v0 netns $a type veth peer name v1 netns $b &&
    ip -n $a addr add 10.9.0.1/24 dev v0 && ip -n $b addr add 10.9.0.2/24 dev v1 &&
    ip -n $a link set v0 up && ip -n $b link set v1 up && ip -n $a link set lo up || exit 1
  ip netns exec $a ethtool -K v0 tso off gso off gro off tx off >/dev/null || exit 1
  ip netns exec $b ethtool -K v1 tso off gso off gro off tx off >/dev/null || exit 1
  mkdir -p "$work/www" && chmod 755 "$work" "$work/www" && head -c 3000 /dev/zero >"$work/www/index.html"
  cat >"$work/nginx.conf" <<END
pid $work/nginx.pid; error_log /dev/null; worker_processes 1;
events { worker_connections 1024; }
http { access_log off; keepalive_requests 1000000; server { listen 8080; root $work/www; } }
END
  ip netns exec $a nginx -c "$work/nginx.conf" || exit 1
  ip netns exec $b tcpdump -i v1 -s 0 -B 262144 -c $((PACKETS / 4)) -w "$OUT/$name.pcap" >/dev/null 2>&1 &
  dump=$!
  sleep 1
  ip netns exec $b wrk -t 1 -c 64 -d 600s "$@" http://10.9.0.1:8080/ >/dev/null 2>&1 &
  load=$!
  wait $dump
  kill $load 2>/dev/null
  [ -s "$OUT/$name.pcap" ]
)
if [ "$(id -u)" = 0 ] && have nginx && have wrk && have tcpdump && have ip && have ethtool; then
  real nginx-keepalive && captures+=("$OUT/nginx-keepalive.pcap")
  real nginx-short -H 'Connection: close' && captures+=("$OUT/nginx-short.pcap")
else
  echo "missing: root, nginx, wrk, tcpdump, ip or ethtool: no captures of a real server"
fi

# Tools.
cat >"$work/suricata.yaml" <<END
%YAML 1.1
---
stats: {enabled: no}
outputs:
  - eve-log: {enabled: yes, filetype: regular, filename: eve.json, community-id: true, types: [http, dns, flow]}
logging: {default-log-level: warning, outputs: [{console: {enabled: yes}}]}
app-layer: {protocols: {http: {enabled: yes}, dns: {tcp: {enabled: yes}, udp: {enabled: yes}}, tls: {enabled: yes}}}
END
tools=(raytap raytap-1)
have suricata && tools+=(suricata suricata-1) || echo "missing: suricata"
[ "$ZEEK" ] && tools+=(zeek) || echo "missing: zeek (set ZEEK)"
have ndpiReader && tools+=(ndpiReader) || echo "missing: ndpiReader"
have tshark && tools+=(tshark) || echo "missing: tshark"
have tcpdump && tools+=(tcpdump) || echo "missing: tcpdump"
run() { # TOOL CAPTURE, in an empty folder
  case $1 in
  raytap) "$OUT/raytap" replay --quiet --out . "$2" ;;
  raytap-1) "$OUT/raytap" replay --quiet --workers 1 --out . "$2" ;;
  suricata) suricata -c "$work/suricata.yaml" -S /dev/null -l . -r "$2" ;;
  suricata-1) suricata --runmode single -c "$work/suricata.yaml" -S /dev/null -l . -r "$2" ;;
  zeek) $ZEEK "$2" ;;
  ndpiReader) ndpiReader -q -i "$2" ;;
  tshark) tshark -q -z conv,tcp -r "$2" ;;
  tcpdump) tcpdump -r "$2" -w /dev/null ;;
  esac >/dev/null 2>&1
}
TIMEFORMAT='%3U %3S'
cpu() { # TOOL CAPTURE: seconds
  rm -rf "$work/run" && mkdir "$work/run"
  { time (cd "$work/run" && run "$1" "$2"); } 2>&1 | awk '{ print $1 + $2 }'
}
{ "$OUT/raytap" version | head -1; have suricata && suricata -V; have tshark && tshark -v | head -1; have ndpiReader && ndpiReader -h 2>&1 | grep -m1 -i 'ndpi.*[0-9]\.[0-9]'
  have tcpdump && tcpdump --version 2>&1 | head -1; [ "$ZEEK" ] && ${ZEEK%% *} --version; } 2>/dev/null
grep -m1 'model name' /proc/cpuinfo 2>/dev/null
for t in "${tools[@]}"; do
  for i in 1 2 3; do cpu $t "$work/none.pcap"; done | sort -n | sed -n 2p >"$work/start.$t"
done
for c in "${captures[@]}"; do
  name=$(basename "$c" .pcap)
  (cd "$work" && "$OUT/raytap" replay --quiet --out count "$c")
  n=$(awk -F '\t' '!/^#/ { print $3 }' "$work/count/stats.log")
  for i in $(seq "$RUNS"); do
    for t in "${tools[@]}"; do echo "$t $(cpu $t "$c") $(cat "$work/start.$t")"; done
  done >"$work/times"
  awk -v name="$name" -v n="$n" '
    { s = $2 - $3; if (s < 0) s = 0; v[$1, ++k[$1]] = s; if (k[$1] == 1) order[++tools] = $1 }
    function mid(a, m,  i, j, x) { for (i = 2; i <= m; i++) { x = a[i]; for (j = i - 1; j > 0 && a[j] > x; j--) a[j+1] = a[j]; a[j+1] = x }; return a[int((m + 1) / 2)] }
    END {
      for (i = 1; i <= tools; i++) {
        t = order[i]; m = k[t]
        base = t == "suricata-1" ? "raytap-1" : "raytap"
        for (j = 1; j <= m; j++) { a[j] = v[t, j]; r[j] = v[base, j] > 0 ? v[t, j] / v[base, j] : 0 }
        ns = mid(a, m) * 1e9 / n; x = mid(r, m)
        printf "| %s | %s | %d | %.2f | %.2f | %.2f |\n", name, t, ns, r[1], x, r[m]
      }
    }' "$work/times" >>"$work/table"
done
echo "$(date -u +%Y-%m-%d), $RUNS runs, $PACKETS packets"
echo "| capture | tool | ns a packet | times raytap: min | median | max |"
echo "|---|---|---|---|---|---|"
cat "$work/table"
