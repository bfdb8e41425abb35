package jobsubmit

import (
	"net/netip"
	"regexp"
	"sort"
	"strconv"
	"strings"

	"github.com/raytap/raytap/decoders/ray"
	"github.com/raytap/raytap/decoders/secrets"
	"github.com/raytap/raytap/detectors"
)

const (
	// threshold is the score from which a command is called a dropper. One feature that has no honest use in a
	// training job reaches it alone (a download piped into a shell, a shell on a socket); weak ones need company.
	threshold = 60

	maxText   = 64 << 10 // of one text; the decoder bounds an entrypoint at the same
	maxDepth  = 4        // encodings within encodings: published droppers have two
	maxBlobs  = 16       // texts found in encodings, files fetched
	maxBudget = 128 << 10
	maxTexts  = 12 // texts per job, decoded ones included: each costs milliseconds if it is made to
	// A regular expression is tried only around its words, and only around the first and last of very many.
	maxSpots   = 4
	spotBefore = 128
	spotAfter  = 640
	maxShown   = 300 // of an excerpt in evidence
	maxFound   = 24  // features kept
)

// feature is one reason.
type feature struct {
	name   string
	points int
	says   string // completes "the job ..."
	where  string // entrypoint, decoded, runtime_env.working_dir, ...
	what   string // the excerpt
}

// verdict is what was found in a job.
type verdict struct {
	found   []feature
	decoded []string
	budget  int // bytes that may still be decoded
	texts   int // that were scored
	home    *detectors.Networks
}

// score is the sum over different features.
func (v *verdict) score() int {
	n := 0
	for i := range v.found {
		n += v.found[i].points
	}
	return n
}

// best gives the most telling feature.
func (v *verdict) best() feature {
	var b feature
	for _, f := range v.found {
		if f.points > b.points {
			b = f
		}
	}
	return b
}

// add keeps a feature once, with the highest points it had.
func (v *verdict) add(name string, points int, says, where, what string) {
	if points <= 0 {
		return
	}
	for i := range v.found {
		if v.found[i].name == name {
			if points > v.found[i].points {
				v.found[i] = feature{name, points, says, where, excerpt(what)}
			}
			return
		}
	}
	if len(v.found) < maxFound {
		v.found = append(v.found, feature{name, points, says, where, excerpt(what)})
	}
}

// judge scores everything of a call that Ray would run or fetch.
func judge(c *ray.Call, home *detectors.Networks) *verdict {
	v := &verdict{budget: maxBudget, home: home}
	v.text("entrypoint", c.Entrypoint, 0)
	e := &c.RuntimeEnv
	for _, u := range e.URIs {
		v.uri(u)
	}
	for _, p := range e.Packages {
		v.requirement(p)
	}
	for _, l := range e.Loads {
		v.load(l)
	}
	for _, x := range e.Commands {
		v.text("runtime_env.env_vars."+x.Name, x.Value, 0)
	}
	for _, p := range c.Pods {
		v.text("command of "+p.Name, p.Command, 0)
		v.image("image of "+p.Name, p.Image)
	}
	v.text("runtime_env.py_executable", e.PyExec, 0)
	if w := strings.Fields(e.PyExec); len(w) > 0 && !plainPython(w[0]) {
		v.add("py_executable", 30, "replaces Python by another program", "runtime_env.py_executable", e.PyExec)
	}
	v.text("runtime_env.worker_process_setup_hook", e.SetupHook, 0)
	v.image("runtime_env.image_uri", e.Image)
	return v
}

// image scores the name of a container's image.
func (v *verdict) image(where, name string) {
	if h, _, path := strings.Cut(name, "/"); path && v.class(host(h)) == outsideIP {
		v.add("image", 50, "runs in an image from an address outside", where, name)
	}
}

func plainPython(w string) bool {
	if i := strings.LastIndexByte(w, '/'); i >= 0 {
		w = w[i+1:]
	}
	return strings.HasPrefix(w, "python") || w == "uv" || strings.HasPrefix(w, "pypy") || w == "conda" || w == "poetry" || w == "pixi"
}

// pattern is a feature that a regular expression finds.
type pattern struct {
	name   string
	points int
	says   string
	words  string // lower case, one of which every match has near its beginning or end; separated by |
	re     *regexp.Regexp
}

// Programs that fetch, and interpreters that run what stands on their standard input.
const (
	fetchers    = `(?:curl|wget|lwp-download|lwp-request|lynx|fetch|aria2c|axel|ftpget|tftp)`
	shells      = `(?:ba|z|da|k|a|c|tc|fi)?sh`
	fetchWords  = "curl|wget|lwp-|lynx|fetch|aria2c|axel|ftpget|tftp"
	decodeWords = "base64|base32|openssl|xxd|uudecode|rev|tr |gunzip|zcat|gzip|xz|printf|echo -"
	interp      = `(?:` + shells + `|python[0-9.]*|perl|ruby|node|php|lua)`
	wrappers    = `(?:[A-Za-z_]+=\S*\s+|sudo\s+(?:-\S+\s+)*|env\s+|exec\s+|nohup\s+|setsid\s+|nice\s+|busybox\s+|timeout\s+\S+\s+|/\S*/)*`
	decoders    = `(?:base(?:64|32)\s+(?:-\S*[dD]\S*|--decode)|openssl\s+(?:enc\s|base64\s)|xxd\s+-\S*r|uudecode\b|\brev\b|\btr\s+\S+\s+\S+|gunzip\b|zcat\b|gzip\s+-\S*d|\bxz\s+-\S*d|printf\s+(?:%b\s+)?["']?\\+[x0]|echo\s+-\S*e\S*\s+\S*\\+[x0])`
)

var (
	rePipe    = regexp.MustCompile(`(?i)\b` + fetchers + `\b([^|;\n]*)(?:\|[^|;\n]*){0,3}\|&?\s*` + wrappers + `(` + interp + `)\b(\s+\S+)?`)
	reSubst   = regexp.MustCompile("(?i)(?:\\b" + shells + "\\b\\s+(?:-\\w+\\s+)*|\\beval\\s+|\\bsource\\s+|(?:^|[\\s;&|])\\.\\s+|\\bpython[0-9.]*\\s+(?:-c\\s+)?)[\"']?(?:<<<\\s*[\"']?)?(?:\\$\\(|`|<\\(|<\\s*<\\()\\s*(?:sudo\\s+)?\\b" + fetchers + "\\b([^)`]*)")
	reDecode  = regexp.MustCompile(`(?i)` + decoders + `[^|;\n]*(?:\|[^|;\n]*){0,3}\|&?\s*` + wrappers + `(` + interp + `)\b(\s+\S+)?`)
	reDecodeS = regexp.MustCompile("(?i)(?:\\beval|\\b" + shells + "\\s+(?:-\\w*c|<<<)|\\bsource|\\bpython[0-9.]*\\s+-c)\\s+[\"']?(?:\\$\\(|`|<\\()[^)`]*" + decoders)
	reURL     = regexp.MustCompile("(?i)\\b((?:https?|ftp)://[^\\s'\"|;<>()`\\\\]{1,500})")
	reIP      = regexp.MustCompile(`\b\d{1,3}\.\d{1,3}\.\d{1,3}\.\d{1,3}\b`)
	reHexEsc  = regexp.MustCompile(`(?:\\+x[0-9A-Fa-f]{2}){4,}`)
)

// patterns are tried on every text. What has an honest use in a job has fewer points than the threshold.
var patterns = []pattern{
	{"python_exec", 80, "decodes or downloads code and runs it in Python", "b64decode|b32decode|b85decode|a85decode|fromhex|unhexlify|decompress|codecs.decode|rot13|rot_13|marshal.loads|urlopen|requests|httpx|urlretrieve", regexp.MustCompile(`(?is)(?:\b(?:exec|eval)\s*\(.{0,200}|\b(?:os\.system|os\.popen|subprocess\.\w+)\s*\([^;\n]*)(?:b64decode|b32decode|b85decode|a85decode|fromhex|unhexlify|decompress\s*\(|codecs\.decode|rot_?13|marshal\.loads|urlopen|requests\W{0,3}\)?\.get|httpx\.get)`)},
	{"python_exec", 80, "runs what it decoded or downloaded in Python", "b64decode|b32decode|b85decode|a85decode|fromhex|unhexlify|decompress|codecs.decode|rot13|rot_13|marshal.loads|urlopen|requests|httpx|urlretrieve", regexp.MustCompile(`(?is)(?:b64decode|b32decode|b85decode|a85decode|fromhex|unhexlify|zlib\.decompress|marshal\.loads|urlopen|requests\.get|urlretrieve)\s*\(.*?(?:\bexec\s*\(|\beval\s*\(|os\.exec|os\.startfile)`)},
	{"dev_tcp", 85, "opens a shell on a socket", "/dev/tcp|/dev/udp", regexp.MustCompile(`/dev/(?:tcp|udp)/`)},
	{"netcat_exec", 85, "opens a shell with netcat", "nc|netcat", regexp.MustCompile(`(?i)\b(?:nc|ncat|netcat|nc\.\w+)\b[^|;\n]*(?:\s-[a-z]*[ec]\s*\S*(?:sh|cmd|python)|--(?:sh-)?exec)`)},
	{"fifo_shell", 85, "opens a shell over a named pipe", "mkfifo", regexp.MustCompile(`(?is)mkfifo.{0,300}(?:\bnc\b|ncat|netcat|telnet|openssl|/dev/tcp)`)},
	{"pty_spawn", 80, "opens an interactive shell", "pty.spawn", regexp.MustCompile(`pty\.spawn`)},
	{"python_socket_shell", 85, "opens a shell on a socket", "socket", regexp.MustCompile(`(?is)socket\.?.{0,200}connect.{0,300}(?:dup2|subprocess|pty|os\.system|popen)`)},
	{"perl_socket_shell", 80, "opens a shell on a socket", "socket|fsockopen|net.connect", regexp.MustCompile(`(?is)(?:perl|ruby|php|lua|node)\b.{0,200}(?:use\s+Socket|-rsocket|TCPSocket|fsockopen|socket\.connect|net\.(?:connect|Socket)).{0,200}(?:exec|sh\b|spawn|popen)`)},
	{"socat_exec", 80, "opens a shell with socat", "socat", regexp.MustCompile(`(?i)\bsocat\b[^;\n]*\b(?:exec|system):`)},
	{"telnet_shell", 75, "opens a shell over telnet", "telnet|s_client", regexp.MustCompile(`(?i)\b(?:telnet|openssl\s+s_client)\b[^;\n]*\|\s*(?:/bin/)?(?:ba)?sh\b`)},
	{"interactive_shell", 35, "opens an interactive shell", "sh -i", regexp.MustCompile(`\b(?:ba|z|da)?sh\s+-i\b`)},
	{"miner", 75, "starts a miner", "xmr|miner|randomx|cpuminer|qli", regexp.MustCompile(`(?i)(?:^|[^a-z0-9])(?:xmrig|xmr-stak|xmrigcc|nbminer|lolminer|phoenixminer|teamredminer|ethminer|cpuminer|minerd|ccminer|srbminer|bzminer|onezerominer|wildrig|nanominer|gminer|cpuminer-opt|xmr-?miner|cryptominer|randomx|astrominer|dero-?miner|iniminer|qli-?client)`)},
	{"miner_word", 25, "names a program that mines", "rigel|t-rex|miner|kawpow|progpow|ethash|kheavyhash|cryptonight", regexp.MustCompile(`(?i)(?:^|[\s/;|&])(?:rigel|t-rex|miner|kawpow|progpow|ethash|kheavyhash|cryptonight)\b`)},
	{"stratum", 85, "connects to a mining pool", "stratum", regexp.MustCompile(`(?i)\bstratum[12]?\+?(?:tcp|ssl|tls|udp)?s?://`)},
	{"pool", 65, "connects to a mining pool", "pool|monero|minexmr|hashvault|miners|nicehash|unmineable|kryptex|ethermine|viabtc|prohashing|mining|rplant", regexp.MustCompile(`(?i)(?:supportxmr|moneroocean|nanopool|minexmr|hashvault|2miners|f2pool|nicehash|unmineable|kryptex|herominers|k1pool|p2pool|c3pool|xmrpool|monerohash|flexpool|ethermine|antpool|viabtc|woolypooly|zpool\.ca|prohashing|mining-?dutch|rplant)`)},
	{"pool_like", 25, "connects to something called a pool", "pool.", regexp.MustCompile(`(?i)(?:^|[^a-z0-9-])(?:[a-z]{2,3}\.)?pool\.[a-z0-9-]+\.[a-z]{2,6}:\d{2,5}`)},
	{"miner_options", 45, "has a miner's options", "--donate|--randomx|--cpu|--coin|--rig|--nicehash|--http", regexp.MustCompile(`(?i)--(?:donate-level|randomx-\S+|cpu-max-threads-hint|coin[= ](?:monero|xmr)|rig-id|nicehash|cpu-priority|http-port \d+ --donate)`)},
	{"oast", 60, "calls a service that tells an attacker of callbacks", "oast|interact|burp|dnslog|ceye|requestbin|dnshook|requestrepo|bxss|pingb|eyes.sh|canary", regexp.MustCompile(`(?i)\b(?:oast\.(?:pro|live|site|online|fun|me)|interact\.sh|interactsh\.\w+|oastify\.com|burpcollaborator\.net|dnslog\.(?:cn|pw|link|org)|ceye\.io|requestbin\.net|dnshook\.site|requestrepo\.com|bxss\.\w+|pingb\.in|eyes\.sh|canarytokens\.(?:com|org))\b`)},
	{"callback", 35, "calls a service that records requests", "webhook.site|pipedream|beeceptor|ngrok|serveo|trycloudflare", regexp.MustCompile(`(?i)\b(?:webhook\.site|pipedream\.net|beeceptor\.com|ngrok(?:-free)?\.(?:io|app)|serveo\.net|trycloudflare\.com)\b`)},
	{"cron", 50, "installs a cron job", "cron|* * * *", regexp.MustCompile(`(?i)\bcrontab\b\s*(?:-(?:\s|$)|[^-\s]|-u)|/etc/cron|/var/spool/cron|\*/\d+ \* \* \* \*`)},
	{"service", 50, "installs a service", "systemd|systemctl|init.d|rc.local|update-rc", regexp.MustCompile(`(?i)/etc/systemd/system|systemctl\s+(?:enable|daemon-reload)|/etc/init\.d/|rc\.local|update-rc\.d`)},
	{"persist", 50, "changes what runs at login", ".bashrc|profile|.zshrc|authorized_keys|ld.so.preload|useradd|sudoers", regexp.MustCompile(`(?i)>>\s*\S*(?:\.bashrc|\.profile|\.bash_profile|\.zshrc|authorized_keys|/etc/profile)|ld\.so\.preload|useradd\s|/etc/sudoers`)},
	{"hide", 40, "removes its traces", "histfile|history|$0|shred|chattr|memfd", regexp.MustCompile(`(?i)unset\s+HISTFILE|history\s+-c|HISTFILE=/dev/null|rm\s+-\S*f\S*\s+(?:--\s+)?["']?\$0|shred\s+-|chattr\s+\+i|\bmemfd_create`)},
	{"disarm", 40, "switches defences off", "iptables|ufw|setenforce|systemctl|pkill|/etc/hosts", regexp.MustCompile(`(?i)iptables\s+-(?:F|P|X)|ufw\s+disable|setenforce\s+0|systemctl\s+(?:stop|disable)\s+(?:firewalld|apparmor|auditd|falco)|pkill\s+(?:-\S+\s+)*(?:xmrig|kinsing|kdevtmp|miner|falco)|>>\s*/etc/hosts`)},
	{"temp_exec", 30, "runs a file from a temporary directory", "/tmp|/dev/shm", regexp.MustCompile(`(?i)(?:chmod\s+\S+\s+|^|[;&|\n]\s*|nohup\s+|setsid\s+|(?:ba)?sh\s+)(?:/tmp|/var/tmp|/dev/shm)/\S*`)},
	{"hidden_file", 15, "writes a hidden file", "/tmp|/dev/shm", regexp.MustCompile(`(?:/tmp|/var/tmp|/dev/shm)(?:/\S*)?/\.[A-Za-z0-9_]`)},
	{"chmod", 15, "makes a file executable", "chmod", regexp.MustCompile(`\bchmod\s+(?:[ugoa]*\+[rwxs]*x|0?[0-7]?[1357][0-7]{2}|777)`)},
	{"background", 10, "goes on in the background", "nohup|setsid|disown|/dev/null", regexp.MustCompile(`(?i)\bnohup\b|\bsetsid\b|\bdisown\b|/dev/null\s+2>&1\s*&(?:\s|$)|&>\s*/dev/null\s*&`)},
	{"metadata", 45, "asks the cloud for credentials", "169.254|metadata.google|100.100.100", regexp.MustCompile(`(?i)169\.254\.169\.254|metadata\.google\.internal|100\.100\.100\.200|169\.254\.170\.2`)},
	{"steal_files", 45, "reads credentials", "/etc/shadow|.aws|.ssh|.kube|serviceaccount|.docker|bootstrap_key|.git-cred|.netrc", regexp.MustCompile(`(?i)/etc/shadow|\.aws/credentials|\.ssh/id_[a-z0-9]+|\.kube/config|serviceaccount/token|\.docker/config\.json|ray_bootstrap_key|\.git-credentials|\.netrc\b`)},
	{"send_out", 35, "sends what it printed to somebody", "curl|nc", regexp.MustCompile(`(?i)\|\s*(?:curl|nc|ncat)\b[^|;\n]*(?:--data(?:-binary)?[ =]?@-|-d\s*@-|-T\s*-|-F\s*\S+=@-|\d{1,3}(?:\.\d{1,3}){3}\s+\d+)`)},
	{"passwd", 25, "reads the list of users", "/etc/passwd", regexp.MustCompile(`/etc/passwd`)},
	{"ifs", 30, "hides blanks in $IFS", "ifs", regexp.MustCompile(`\$\{?IFS\b`)},
	{"geo_check", 10, "asks where it is", "ip-api|ipinfo|ifconfig.me|icanhazip|ipify", regexp.MustCompile(`(?i)\b(?:ip-api\.com|ipinfo\.io|ifconfig\.me|icanhazip\.com|api\.ipify\.org)\b`)},
	{"spread", 75, "submits jobs to other clusters", "/jobs", regexp.MustCompile(`(?is)/api/(?:job_agent/)?jobs/?.{0,200}\bentrypoint\b|\bentrypoint\b.{0,200}/api/(?:job_agent/)?jobs/?`)},
	{"all_nodes", 50, "runs a shell on every node", "ray.nodes|nodeaffinity", regexp.MustCompile(`(?is)ray\.nodes\(\).*?(?:os\.system|subprocess|popen)|NodeAffinitySchedulingStrategy.*?(?:os\.system|subprocess|popen)`)},
	{"attack_tool", 60, "starts an attack tool", "sockstress|masscan|zmap|zgrab|ligolo|msfvenom|meterpreter|sliver|linpeas|pspy|gsocket|gs-netcat|kinsing|mimipenguin", regexp.MustCompile(`(?i)(?:^|[\s/;|&])(?:sockstress|masscan|zmap|zgrab2?|ligolo\S*|msfvenom|meterpreter|sliver\S*|linpeas\S*|pspy\S*|gsocket|gs-netcat|kinsing|mimipenguin)\b`)},
	{"python_system_fetch", 70, "downloads and runs from Python", "os.system|os.popen|subprocess|popen", regexp.MustCompile(`(?is)(?:os\.system|os\.popen|subprocess\.\w+|Popen)\s*\(\s*[\[("']{0,3}\s*(?:curl|wget)\b.{0,300}(?:\|\s*(?:ba)?sh|chmod|&&\s*(?:ba)?sh)`)},
}

// text scores a command line or piece of code.
func (v *verdict) text(where, s string, depth int) {
	if s == "" || depth > maxDepth || v.texts >= maxTexts {
		return
	}
	if len(s) > maxText {
		s = s[:maxText]
	}
	v.texts++
	plain := detectors.PlainShell(s)
	for _, t := range []string{plain, s} {
		low := strings.ToLower(t)
		if len(low) != len(t) {
			low = t // letters whose lower case is of another length: offsets would not fit
		}
		for i := range patterns {
			p := &patterns[i]
			for _, r := range regions(low, p.words) {
				if loc := p.re.FindStringIndex(t[r.from:r.to]); loc != nil {
					v.add(p.name, p.points, p.says, where, around(t, r.from+loc[0], r.from+loc[1]))
					break
				}
			}
		}
		v.pipes(where, t, low)
		if plain == s {
			break
		}
	}
	v.fetched(where, plain)
	if plain != s && (splitWord(s, plain) || strings.Contains(s, "$'") && reHexEsc.MatchString(s)) {
		v.add("split_words", 30, "hides its words with quotes or escapes", where, s)
	}
	if w := strings.TrimSpace(plain); whole(w) {
		v.add("look_around", 20, "looks around", where, w)
	}
	v.layers(where, s, depth)
	if plain != s {
		v.layers(where, plain, depth)
	}
}

// whole says that a command does nothing but look who and where it is, as scanners do to prove execution.
func whole(cmd string) bool {
	switch cmd {
	case "id", "whoami", "uname -a", "uname", "hostname", "ls", "pwd", "ifconfig", "ip a", "env", "cat /etc/passwd",
		"id;uname -a", "id; uname -a", "nproc", "ps aux", "w":
		return true
	}
	return false
}

// pipes looks for what is fetched or decoded and run without touching the disk.
func (v *verdict) pipes(where, s, low string) {
	if strings.Contains(s, "||") {
		s, low = strings.ReplaceAll(s, "||", ";;"), strings.ReplaceAll(low, "||", ";;") // "or" is no pipe
	}
	for _, r := range regions(low, fetchWords) {
		t := s[r.from:r.to]
		for _, m := range rePipe.FindAllStringSubmatchIndex(t, 4) {
			if readsStdin(t[m[4]:m[5]], sub(t, m[6], m[7])) {
				v.add("pipe_to_shell", v.fetchPoints(t[m[2]:m[3]], 90, 85, 70), "pipes a download into "+article(t[m[4]:m[5]]), where, t[m[0]:m[1]])
			}
		}
		for _, m := range reSubst.FindAllStringSubmatchIndex(t, 4) {
			v.add("pipe_to_shell", v.fetchPoints(t[m[2]:m[3]], 90, 85, 70), "runs a download in a shell", where, t[m[0]:m[1]])
		}
	}
	// What is decoded may be long: the decoder stands before or behind it.
	for _, r := range regions(low, decodeWords) {
		t := s[r.from:r.to]
		for _, m := range reDecode.FindAllStringSubmatchIndex(t, 4) {
			if readsStdin(t[m[2]:m[3]], sub(t, m[4], m[5])) {
				v.add("decode_run", 80, "decodes a text and pipes it into "+article(t[m[2]:m[3]]), where, t[m[0]:m[1]])
			}
		}
	}
	if len(s) > 4<<10 { // eval "$(echo ... | base64 -d)" around a long text: its two ends
		s = s[:2<<10] + " " + s[len(s)-2<<10:]
	}
	if strings.Contains(s, "$(") || strings.Contains(s, "`") || strings.Contains(s, "<(") {
		if loc := reDecodeS.FindStringIndex(s); loc != nil {
			v.add("decode_run", 80, "decodes a text and runs it", where, around(s, loc[0], loc[1]))
		}
	}
}

type span struct{ from, to int }

// regions gives where words occur in low, with what surrounds them: around the first and the last of each if there
// are many. Spans do not overlap.
func regions(low, words string) []span {
	var out []span
	for words != "" {
		var w string
		w, words, _ = strings.Cut(words, "|")
		at := 0
		for n := 0; n < maxSpots; n++ {
			i := strings.Index(low[at:], w)
			if i < 0 {
				break
			}
			out = append(out, span{max(at+i-spotBefore, 0), min(at+i+spotAfter, len(low))})
			at += i + len(w)
		}
		end := len(low)
		for n := 0; n < maxSpots; n++ {
			i := strings.LastIndex(low[at:max(end, at)], w)
			if i < 0 {
				break
			}
			out = append(out, span{max(at+i-spotBefore, 0), min(at+i+spotAfter, len(low))})
			end = at + i
		}
	}
	if len(out) < 2 {
		return out
	}
	sort.Slice(out, func(i, j int) bool { return out[i].from < out[j].from })
	merged := out[:1]
	for _, s := range out[1:] {
		if last := &merged[len(merged)-1]; s.from <= last.to {
			last.to = max(last.to, s.to)
		} else {
			merged = append(merged, s)
		}
	}
	return merged
}

func sub(s string, i, j int) string {
	if i < 0 {
		return ""
	}
	return strings.TrimSpace(s[i:j])
}

func article(interpreter string) string {
	if strings.HasSuffix(strings.ToLower(interpreter), "sh") {
		return "a shell"
	}
	return "an interpreter"
}

// readsStdin says whether an interpreter runs what comes in: not when it is given a script, a module or a command.
func readsStdin(interpreter, next string) bool {
	next = strings.TrimLeft(next, `"'`)
	if next == "" {
		return true
	}
	switch next[0] {
	case '-':
		if strings.HasSuffix(strings.ToLower(interpreter), "sh") {
			return !strings.HasPrefix(next, "-c")
		}
		return len(next) == 1 || !strings.ContainsAny(next[1:2], "cmenprla")
	case '&', ';', '|', ')', '>', '<', '}', '`', '"', '\'', '#', '2', '1':
		return true
	}
	return false
}

// Installers that their makers tell everybody to pipe into a shell, over TLS.
var installers = [...]string{
	"astral.sh", "sh.rustup.rs", "install.python-poetry.org", "get.docker.com", "repo.anaconda.com", "pixi.sh",
	"micro.mamba.pm", "deb.nodesource.com", "raw.githubusercontent.com/pyenv", "raw.githubusercontent.com/nvm-sh",
	"pyenv.run", "bootstrap.pypa.io", "sdk.cloud.google.com", "install.determinate.systems", "ollama.com/install.sh",
}

// fetchPoints rates a download that is run, by where it comes from: an address outside or a name without TLS is how
// droppers do it, a machine of ours is how operators do it.
func (v *verdict) fetchPoints(args string, ip, clear, tls int) int {
	u := firstURL(args)
	if u == "" {
		return tls // a variable, perhaps
	}
	for _, i := range installers {
		if strings.Contains(u, "https://"+i) {
			return 15
		}
	}
	switch v.class(host(u)) {
	case inside:
		return 25
	case outsideIP:
		return ip
	case pasteHost:
		return max(tls+10, 65)
	}
	if strings.HasPrefix(strings.ToLower(u), "https://") {
		return tls
	}
	return clear
}

// firstURL gives the first word of a downloader's arguments that is a URL, with or without scheme.
func firstURL(args string) string {
	if m := reURL.FindString(args); m != "" {
		return m
	}
	for _, w := range strings.Fields(args) {
		w = strings.Trim(w, `"'`)
		if strings.HasPrefix(w, "-") || !strings.Contains(w, ".") || strings.HasPrefix(w, "/") {
			continue
		}
		if h, _, ok := strings.Cut(w, "/"); ok || reIP.MatchString(h) {
			return w
		}
	}
	return ""
}

type hostClass int

const (
	outsideName hostClass = iota
	inside
	outsideIP
	pasteHost
)

// class says what kind of host it is: ours, an address outside, a service where anybody can leave a file, or a name.
func (v *verdict) class(h string) hostClass {
	h = strings.ToLower(strings.TrimSuffix(h, "."))
	if a, err := netip.ParseAddr(strings.Trim(h, "[]")); err == nil {
		if v.home.Contains(a) {
			return inside
		}
		return outsideIP
	}
	if _, err := strconv.ParseUint(strings.TrimPrefix(h, "0x"), 16, 64); err == nil && len(h) >= 8 {
		return outsideIP // http://3325256781/ and http://0xc6336444/: nobody writes an address so but to hide it
	}
	if !strings.Contains(h, ".") {
		return inside
	}
	for _, s := range [...]string{".local", ".internal", ".lan", ".corp", ".home", ".svc", ".intranet", ".test", ".home.arpa"} {
		if strings.HasSuffix(h, s) {
			return inside
		}
	}
	for _, s := range [...]string{"pastebin.com", "paste.ee", "ix.io", "transfer.sh", "termbin.com", "0x0.st", "file.io",
		"bashupload.com", "catbox.moe", "cdn.discordapp.com", "gh-proxy.com", "gist.githubusercontent.com",
		"raw.githubusercontent.com", "hastebin.com", "rentry.co", "temp.sh", "oshi.at", "anonfiles.com", "gofile.io",
		"pastefy.app", "controlc.com", "dpaste.com", "dpaste.org"} {
		if h == s || strings.HasSuffix(h, "."+s) {
			return pasteHost
		}
	}
	return outsideName
}

// host takes the host out of a URL with or without scheme.
func host(u string) string {
	if i := strings.Index(u, "://"); i >= 0 {
		u = u[i+3:]
	}
	if i := strings.IndexAny(u, "/?#"); i >= 0 {
		u = u[:i]
	}
	if i := strings.LastIndexByte(u, '@'); i >= 0 {
		u = u[i+1:]
	}
	if strings.HasPrefix(u, "[") {
		if i := strings.IndexByte(u, ']'); i > 0 {
			return u[1:i]
		}
	}
	if i := strings.LastIndexByte(u, ':'); i >= 0 {
		u = u[:i]
	}
	return u
}

// fetched looks for a file that is downloaded by one command and run by a later one.
func (v *verdict) fetched(where, s string) {
	type file struct{ name, url string }
	var files []file
	for _, cmd := range splitCommands(s) {
		w := words(cmd)
		for len(w) > 0 {
			if len(w) > 1 && isInterpreter(base(w[0])) && strings.HasPrefix(w[1], "-") && strings.HasSuffix(w[1], "c") {
				w = w[2:] // sh -c "curl ..."
			} else if wrapper(w[0]) {
				w = w[1:]
			} else {
				break
			}
		}
		if len(w) == 0 {
			continue
		}
		prog := base(w[0])
		for _, f := range files {
			run := prog == f.name
			made := false
			if !run {
				for _, a := range w[1:] {
					if !strings.HasPrefix(a, "-") && base(a) == f.name {
						switch {
						case prog == "chmod":
							made = true
						case isInterpreter(prog):
							run = true
						}
					}
				}
			}
			if run {
				says := "downloads a file and runs it"
				script := strings.HasPrefix(prog, "python")
				tls := 45
				if script {
					tls = 25
				}
				v.add("fetch_run", v.filePoints(f.url, script, tls), says, where, f.url+" ... "+cmd)
			} else if made {
				v.add("fetch_chmod", v.filePoints(f.url, false, 30)-20, "makes a download executable", where, f.url+" ... "+cmd)
			}
		}
		if !isFetcher(prog) || len(files) >= maxBlobs {
			continue
		}
		u := firstURL(strings.Join(w[1:], " "))
		if u == "" {
			continue
		}
		name := outputOf(prog, w[1:], u)
		if name != "" {
			files = append(files, file{name, u})
		}
		if h := v.class(host(u)); h == outsideIP {
			v.add("fetch_ip", 20, "fetches from an address without a name", where, cmd)
		} else if h == pasteHost {
			v.add("fetch_paste", 10, "fetches from a place where anybody can leave a file", where, cmd)
		}
	}
}

// filePoints rates a downloaded file that is run. tls is for a name with TLS.
func (v *verdict) filePoints(u string, script bool, tls int) int {
	switch v.class(host(u)) {
	case inside:
		return 5
	case outsideIP:
		return 75
	case pasteHost:
		if script {
			return 40
		}
		return 65
	}
	if strings.HasPrefix(strings.ToLower(u), "https://") {
		return tls
	}
	if script {
		return 40
	}
	return 65
}

// outputOf names the file that a downloader writes.
func outputOf(prog string, args []string, u string) string {
	for i, a := range args {
		switch {
		case a == "-o" || a == "-O" && prog == "wget" || a == "--output" || a == "--output-document" || a == ">" || a == ">>" || strings.HasPrefix(a, "-") && !strings.HasPrefix(a, "--") && (strings.HasSuffix(a, "o") && prog == "curl" || strings.HasSuffix(a, "O") && prog == "wget"):
			if i+1 < len(args) && args[i+1] != "-" {
				return base(args[i+1])
			}
		case strings.HasPrefix(a, ">") && len(a) > 1:
			return base(strings.TrimLeft(a, ">"))
		case strings.HasPrefix(a, "-O") && prog == "wget", strings.HasPrefix(a, "-o") && len(a) > 2:
			return base(a[2:])
		case strings.HasPrefix(a, "--output="):
			return base(a[len("--output="):])
		case strings.HasPrefix(a, "--output-document="):
			return base(a[len("--output-document="):])
		}
	}
	for _, a := range args {
		if prog == "wget" || prog == "aria2c" || prog == "axel" || prog == "fetch" || a == "-O" || a == "--remote-name" ||
			strings.HasPrefix(a, "-") && !strings.HasPrefix(a, "--") && strings.Contains(a, "O") {
			if i := strings.IndexAny(u, "?#"); i >= 0 {
				u = u[:i]
			}
			return base(u)
		}
	}
	return ""
}

// splitCommands cuts a shell line at ; & | and newlines. It knows no quotes: a wrong cut yields words that match
// nothing.
func splitCommands(s string) []string {
	var out []string
	for len(out) < 256 {
		i := strings.IndexAny(s, ";&|\n")
		if i < 0 {
			break
		}
		if c := strings.TrimSpace(s[:i]); c != "" {
			out = append(out, c)
		}
		s = s[i+1:]
	}
	if c := strings.TrimSpace(s); c != "" {
		out = append(out, c)
	}
	return out
}

func words(cmd string) []string {
	w := strings.Fields(cmd)
	if len(w) > 256 {
		w = w[:256]
	}
	for i := range w {
		w[i] = strings.Trim(w[i], "\"'`(){}$")
	}
	return w
}

func wrapper(w string) bool {
	switch base(w) {
	case "", "sudo", "nohup", "setsid", "exec", "env", "time", "nice", "then", "do", "else", "!", "busybox", "stdbuf",
		"if", "while", "until":
		return true
	}
	return strings.Contains(w, "=") && !strings.HasPrefix(w, "-") && !strings.Contains(w, "/")
}

func base(p string) string {
	p = strings.Trim(p, "\"'`()")
	if i := strings.LastIndexByte(p, '/'); i >= 0 {
		p = p[i+1:]
	}
	return p
}

func isInterpreter(p string) bool {
	switch p {
	case "sh", "bash", "zsh", "dash", "ksh", "ash", "perl", "ruby", "php", "node", "source", ".", "lua", "java", "rundll32":
		return true
	}
	return strings.HasPrefix(p, "python")
}

func isFetcher(p string) bool {
	switch p {
	case "curl", "wget", "aria2c", "axel", "fetch", "lynx", "lwp-download", "ftpget":
		return true
	}
	return false
}

// uri rates a place from which Ray takes code: working_dir and py_modules.
func (v *verdict) uri(u string) {
	const where = "runtime_env"
	low := strings.ToLower(u)
	if !strings.HasPrefix(low, "http://") && !strings.HasPrefix(low, "https://") {
		return // gcs://_ray_pkg_ is the SDK's, buckets are the owner's
	}
	switch v.class(host(u)) {
	case inside:
	case outsideIP:
		v.add("remote_code", 65, "takes its code from an address without a name", where, u)
	case pasteHost:
		v.add("remote_code", 60, "takes its code from a place where anybody can leave a file", where, u)
	default:
		if strings.HasPrefix(low, "http://") {
			v.add("remote_code", 45, "takes its code over plain HTTP", where, u)
		}
	}
}

// requirement rates a line of pip, conda or uv.
func (v *verdict) requirement(p string) {
	const where = "runtime_env.pip"
	u := reURL.FindString(p)
	if u == "" {
		return
	}
	switch v.class(host(u)) {
	case inside:
	case outsideIP:
		v.add("remote_package", 65, "installs a package from an address without a name", where, p)
	case pasteHost:
		v.add("remote_package", 50, "installs a package from a place where anybody can leave a file", where, p)
	default:
		if strings.HasPrefix(strings.ToLower(u), "http://") {
			v.add("remote_package", 40, "installs a package over plain HTTP", where, p)
		}
	}
}

// load rates a variable that says where code is loaded from.
func (v *verdict) load(p ray.Param) {
	where := "runtime_env.env_vars." + p.Name
	for _, d := range [...]string{"/tmp/", "/var/tmp/", "/dev/shm/"} {
		if strings.Contains(p.Value, d) && strings.ToUpper(p.Name) != "PATH" && strings.ToUpper(p.Name) != "PYTHONPATH" {
			v.add("load_temp", 60, "loads a library from a temporary directory", where, p.Name+"="+p.Value)
		}
	}
	if u := reURL.FindString(p.Value); u != "" && v.class(host(u)) == outsideIP {
		v.add("remote_package", 60, "installs packages from an address without a name", where, p.Name+"="+p.Value)
	}
	if strings.ContainsAny(p.Value, "|;`") || strings.Contains(p.Value, "$(") {
		v.text(where, p.Value, 0)
	}
}

// splitWord says whether a word that matters stands in plain only after s was made plain.
func splitWord(s, plain string) bool {
	for _, w := range [...]string{"curl", "wget", "bash", "base64", "python", "chmod", "/dev/tcp", "xmrig", "nohup", "http"} {
		if strings.Contains(plain, w) && !strings.Contains(s, w) {
			return true
		}
	}
	return false
}

// layers scores what s hides in encodings in turn.
func (v *verdict) layers(where, s string, depth int) {
	if depth >= maxDepth {
		return
	}
	v.wallets(where, s)
	if v.budget <= 0 {
		return
	}
	detectors.Hidden(s, func(t string) bool {
		v.budget -= len(t)
		for _, d := range v.decoded {
			if d == t {
				return v.budget > 0
			}
		}
		before := v.score()
		v.text("decoded "+strings.TrimPrefix(where, "decoded "), t, depth+1)
		if v.score() > before && len(v.decoded) < maxBlobs {
			v.decoded = append(v.decoded, t)
			v.add("hidden_code", 20, "hides commands in an encoding", where, t)
		}
		return v.budget > 0
	})
}

// wallets looks for addresses of coins.
func (v *verdict) wallets(where, s string) {
	for i := 0; i < len(s); {
		j := i
		for j < len(s) && letter(s[j]) {
			j++
		}
		if moneroAddress(s[i:j]) {
			v.add("wallet", 60, "names a Monero wallet", where, s[i:j])
		}
		i = j + 1
	}
}

func letter(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9'
}

// moneroAddress recognises a main network address by its shape: 95 digits of base 58, the first two of a small set.
func moneroAddress(s string) bool {
	if len(s) != 95 || s[0] != '4' && s[0] != '8' || !(s[1] >= '0' && s[1] <= '9' || s[1] == 'A' || s[1] == 'B') {
		return false
	}
	for i := 2; i < len(s); i++ {
		if !letter(s[i]) || s[i] == '0' || s[i] == 'O' || s[i] == 'I' || s[i] == 'l' {
			return false
		}
	}
	return true
}

// around gives s[from:to] with a little of what surrounds it. It begins at a word, two words back at least: what makes
// a secret recognisable ("--token x", "KEY=x") stands in front of it.
func around(s string, from, to int) string {
	const margin, limit = 40, 400
	i, words := from, 0
	for i > 0 && words < 3 {
		i--
		if s[i] == ' ' || s[i] == '\n' || s[i] == '\t' {
			words++
			if words >= 2 && from-i > margin {
				break
			}
		}
		if from-i > limit {
			i = from // one long word: begin behind it
			break
		}
	}
	return s[i:min(to+margin, len(s))]
}

func excerpt(s string) string {
	s = s[:min(len(s), 4*maxShown)]
	s = secrets.Mask(strings.ToValidUTF8(s, "\ufffd"))
	if len(s) <= maxShown {
		return s
	}
	return strings.ToValidUTF8(s[:maxShown], "") + "\u2026"
}
