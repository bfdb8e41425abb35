package jobsubmit

import (
	"net/netip"
	"strings"

	"github.com/raytap/raytap/detectors/command"
	"github.com/raytap/raytap/interpreters/ray"
)

const (
	// threshold is the score from which a job is called a dropper.
	threshold = command.Suspicious
	// lowest is the score from which it is worth a line. From somebody outside that is enough to be called a dropper: who
	// has no business there needs no second sign.
	lowest = 40
)

// assess judges everything of a call that Ray would run or fetch.
func assess(j *command.Judge, c *ray.Call) *command.Report {
	var who netip.Addr
	if c.Flow != nil {
		who = c.Flow.Orig.Addr().Unmap()
	}
	r := j.Metered(c.At.Time, who)
	e := &c.RuntimeEnv
	env := map[string]string{}
	for _, x := range e.Loads {
		env[x.Name] = x.Value
	}
	for _, x := range e.Commands {
		env[x.Name] = x.Value
	}
	delete(env, "PATH")
	r.Shell("entrypoint", c.Entrypoint, env)
	for _, u := range e.URIs {
		uri(j, r, u)
	}
	for _, p := range e.Packages {
		requirement(j, r, p)
	}
	for _, l := range e.Loads {
		load(j, r, l)
	}
	for _, x := range e.Commands {
		r.Code("runtime_env.env_vars."+x.Name, x.Value)
	}
	if w := strings.Fields(e.PyExec); len(w) > 0 {
		r.Shell("runtime_env.py_executable", e.PyExec, nil)
		if !j.Runs(e.PyExec) && !plainPython(w[0]) {
			r.Add("py_executable", 30, "replaces Python by another program", "runtime_env.py_executable", e.PyExec)
		}
	}
	if e.SetupHook != "" {
		r.Python("runtime_env.worker_process_setup_hook", e.SetupHook)
	}
	for _, p := range c.Pods {
		r.Joined("command of "+p.Name, p.Command)
		image(j, r, "image of "+p.Name, p.Image)
	}
	image(j, r, "runtime_env.image_uri", e.Image)
	if r.Short && r.Score() < lowest {
		// Nobody's honest job: those are read out of what their own bytes are worth and a little. What was not read is not
		// passed over, it is said a step lower than what it may be.
		r.Add("unread", lowest, "asks for more work to be read than its length is worth", "entrypoint", c.Entrypoint)
	}
	return r
}

// image rates where a container's image lies. Registries by address are common; what lies in one is not seen.
func image(j *command.Judge, r *command.Report, where, name string) {
	if h, _, path := strings.Cut(name, "/"); h == "" || !path {
		return
	}
	switch j.Place(name).Kind {
	case command.Bare:
		r.Add("image", 35, "runs in an image from an address outside", where, name)
	case command.Hostile, command.Anybodys:
		r.Add("image", 60, "runs in an image from a place where anybody can leave one", where, name)
	}
}

func plainPython(w string) bool {
	if i := strings.LastIndexByte(w, '/'); i >= 0 {
		w = w[i+1:]
	}
	return strings.HasPrefix(w, "python") || strings.HasPrefix(w, "pypy")
}

// uri rates a place from which Ray takes code: working_dir and py_modules.
func uri(j *command.Judge, r *command.Report, u string) {
	const where = "runtime_env"
	low := strings.ToLower(u)
	if !strings.HasPrefix(low, "http://") && !strings.HasPrefix(low, "https://") {
		return // gcs://_ray_pkg_ is the SDK's, buckets are the owner's
	}
	switch j.Place(u).Kind {
	case command.Bare:
		r.Add("remote_code", 65, "takes its code from an address without a name", where, u)
	case command.Hostile:
		r.Add("remote_code", 85, "takes its code from a place that reports of attacks name", where, u)
	case command.Anybodys:
		r.Add("remote_code", 60, "takes its code from a place where anybody can leave a file", where, u)
	case command.Clear:
		r.Add("remote_code", 45, "takes its code over plain HTTP", where, u)
	}
}

// requirement rates a line of pip, conda or uv.
func requirement(j *command.Judge, r *command.Report, p string) {
	if u := urlIn(p); u != "" {
		points, says := j.Place(u).Package()
		r.Add("remote_package", points, says, "runtime_env.pip", p)
	}
}

// urlIn finds the first URL in a line.
func urlIn(s string) string {
	low := strings.ToLower(s)
	for _, scheme := range [...]string{"http://", "https://", "ftp://"} {
		if i := strings.Index(low, scheme); i >= 0 {
			u := s[i:]
			if k := strings.IndexAny(u, " \t\n'\",;<>"); k >= 0 {
				u = u[:k]
			}
			return u
		}
	}
	return ""
}

// load rates a variable that says where code is loaded from.
func load(j *command.Judge, r *command.Report, p ray.Param) {
	where := "runtime_env.env_vars." + p.Name
	name := strings.ToUpper(p.Name)
	for _, d := range [...]string{"/tmp/", "/var/tmp/", "/dev/shm/"} {
		if strings.Contains(p.Value, d) && name != "PATH" && !strings.HasSuffix(name, "PATH") {
			r.Add("load_temp", 60, "loads a library from a temporary directory", where, p.Name+"="+p.Value)
		}
	}
	if u := urlIn(p.Value); u != "" && j.Place(u).Kind == command.Bare {
		r.Add("remote_package", 60, "installs packages from an address without a name", where, p.Name+"="+p.Value)
	}
	switch name {
	case "GIT_SSH_COMMAND", "GIT_ASKPASS", "PROMPT_COMMAND", "BASH_ENV", "ENV":
		r.Code(where, p.Value)
	default:
		if strings.ContainsAny(p.Value, "|;`") || strings.Contains(p.Value, "$(") {
			r.Code(where, p.Value)
		}
	}
}
