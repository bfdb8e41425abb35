package payload

import (
	"strings"

	"github.com/raytap/raytap/decoders/file"
	"github.com/raytap/raytap/decoders/http"
	"github.com/raytap/raytap/detectors/command"
)

// layouts are paths under which servers for packages keep what machines at work fetch, by address as often as by name:
// Nexus, Artifactory, GitLab, Gitea, Pulp, ProGet, Harbor.
var layouts = [...]string{
	"/repository/", "/content/repositories/", "/artifactory/", "/api/v4/projects/", "/api/packages/", "/pulp/content/", "/endpoints/", "/chartrepo/",
}

// seeds are what machines fetch as they boot: NoCloud (cloud-init), kickstart, preseed, Ignition.
var seeds = [...]string{"/user-data", "/vendor-data", "/meta-data", "/ks.cfg", "/preseed.cfg", "/config.ign"}

// installers are beginnings of the names that people give to scripts that set something up.
var installers = [...]string{"install", "setup", "bootstrap", "get-", "deploy", "provision", "configure"}

// ordinary says how a file is what machines at work fetch without a name and by the command line all day, "" if it is not.
// That is no proof, so that what is ordinary is still said, and nothing is after a job from outside.
func ordinary(judge *command.Judge, t *http.Transaction, f *file.File, path string) string {
	path, _, _ = strings.Cut(path, "?")
	for _, l := range layouts {
		if strings.HasPrefix(path, l) {
			return "from what looks like a server of packages"
		}
	}
	if f.Kind != file.Script {
		return ""
	}
	agent := t.Request.Header.Get("User-Agent")
	for _, s := range seeds {
		if strings.HasSuffix(path, s) && (strings.HasPrefix(agent, "Cloud-Init/") || strings.HasPrefix(agent, "Ignition/") || strings.HasPrefix(agent, "anaconda/")) {
			return "a machine's settings as it boots"
		}
	}
	head := string(f.Head)
	if strings.Contains(head[:min(len(head), 512)], "generated using Makeself") {
		return "an archive that unpacks itself (Makeself)"
	}
	name := strings.ToLower(path[strings.LastIndexByte(path, '/')+1:])
	for _, i := range installers {
		if strings.HasPrefix(name, i) {
			if f.Missing > 0 || f.Seen > int64(len(f.Head)) {
				return "" // what it does was not seen
			}
			r := judge.Metered(f.At.Time, t.Flow.Resp.Addr().Unmap())
			r.Code("script", head)
			if !r.Cut && r.Score() < command.Suspicious && strings.Count(strings.TrimSpace(head), "\n") >= minLines {
				return "an installer that does nothing else"
			}
		}
	}
	return ""
}

// minLines: an installer has some; what only calls the next thing has one or two.
const minLines = 3
