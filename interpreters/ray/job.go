package ray

import (
	"cmp"
	"strings"

	"github.com/raytap/raytap/decoders/http"
)

// jobBody is what a body says of a job (JobSubmitRequest, section 2.1 of Ray's job API).
type jobBody struct {
	has        bool   // a string "entrypoint", or its beginning where the body was cut
	hidden     bool   // the body could not be read (lost, or in a coding that nobody here knows)
	unread     string // why there is no entrypoint: see Call.Unread
	cut        bool
	entrypoint string
	submission string
	job        string
	keys       []string
	known      int // different keys of Ray's, nulls included
	foreign    int // keys that Ray refuses
	all        bool
	nulls      bool
	escapedKey bool
	escaped    bool // letters or digits of the entrypoint were \u escapes
	duplicate  bool // a key that matters came more than once
	padding    int  // bytes before the key "entrypoint"
	charset    string
	env        Env
}

// The keys of a JobSubmitRequest in any release.
var jobKeys = [...]string{
	"entrypoint", "submission_id", "job_id", "runtime_env", "metadata", "entrypoint_num_cpus", "entrypoint_num_gpus",
	"entrypoint_memory", "entrypoint_resources", "entrypoint_label_selector",
	// Ray 1.4 to 1.8
	"language", "url", "driver_entry", "driver_args", "virtual_cluster_id",
}

func jobKey(k string) int {
	for i, n := range jobKeys {
		if n == k {
			return i
		}
	}
	return -1
}

// readJob reads a body with the charset that Ray takes, and where that gives no job, with others that it may take.
func readJob(q *http.Request) (j jobBody) {
	for i, charset := range charsets(q.Header.Get("Content-Type")) {
		x := parseJob(q, charset)
		if i == 0 || x.has {
			j = x
		}
		if j.has {
			break
		}
	}
	if b := &q.Body; !j.has || b.Missing > 0 || b.Cut || b.Truncated && q.Beyond == nil {
		j.unread = unread(q)
	}
	return j
}

// unread says why a body does not show what it asks for, or all of it.
func unread(q *http.Request) string {
	b := &q.Body
	switch {
	case b.Undecoded:
		return "its coding could not be removed"
	case b.Missing > 0:
		return "a part of its body was lost"
	case b.Cut:
		return "its body expands further than is followed"
	case !b.Complete:
		return "the rest of the request was not captured"
	case b.Truncated && q.Beyond == nil:
		return "it is not within the part of the body that is kept"
	}
	return "its body has none"
}

func parseJob(q *http.Request, charset string) (j jobBody) {
	b := q.Body.Data
	var beyond []byte
	if f, ok := q.Beyond.(*follower); ok {
		beyond = f.text(charset, &j)
	}
	if (len(b) == 0 || q.Body.Undecoded) && beyond == nil {
		j.hidden = q.Body.Len > 0 || q.Body.Missing > 0 || !q.Body.Complete
		if len(b) == 0 {
			return j
		}
	}
	if beyond != nil {
		b = beyond
	} else {
		b, j.charset = decodeText(b, charset)
	}
	r := &jsonReader{b: b}
	var seen uint32
	isObject := r.object(func(key string, kt text) {
		at := r.i
		i := jobKey(key)
		if kt.cut && i < 0 && len(key) >= 5 && strings.HasPrefix("entrypoint", key) {
			i = 0 // the bound fell into the key itself
		}
		if i < 0 {
			j.foreign++
			return
		}
		if kt.escaped {
			j.escapedKey = true
		}
		if seen&(1<<i) != 0 {
			j.duplicate = true
		} else {
			j.known++
			if len(j.keys) < len(jobKeys) {
				j.keys = append(j.keys, jobKeys[i])
			}
		}
		seen |= 1 << i
		null := r.peek() == 'n'
		j.nulls = j.nulls || null
		j.value(r, jobKeys[i], kt.cut, at)
	})
	// Some clients send the object as a JSON string within JSON, or an array around it: Ray takes neither.
	if !isObject {
		j.hidden = j.hidden || q.Body.Undecoded
		return j
	}
	if (q.Body.Truncated || q.Body.Missing > 0) && !j.has {
		j.hidden = true
	}
	j.all = j.nulls && j.known >= 8
	return j
}

// value reads the value of a key that Ray knows, which begins at byte at. cut says that the key itself was.
func (j *jobBody) value(r *jsonReader, key string, cut bool, at int) {
	switch key {
	case "entrypoint":
		if r.peek() != '"' {
			j.has, j.entrypoint = cut || r.cut, ""
			j.cut = j.has
			return
		}
		head, tail, t := r.ends(maxEntrypoint/2, maxEntrypoint/2)
		if t.cut && tail != "" {
			head += " \u2026 "
		}
		j.entrypoint, j.cut, j.has = head+tail, t.cut, true
		j.escaped = t.escaped
		j.padding = max(j.padding, at)
	case "submission_id":
		j.submission, _ = r.str(maxID)
	case "job_id":
		j.job, _ = r.str(maxID)
	case "runtime_env":
		j.env = Env{}
		readEnv(r, &j.env, 0)
	}
}

// readEnv reads a runtime_env. What is not an object is skipped by the caller.
func readEnv(r *jsonReader, e *Env, depth int) {
	if depth > maxDepth {
		return
	}
	r.object(func(key string, _ text) {
		if r.peek() == 'n' { // null: not given
			return
		}
		e.Keys = addOnce(e.Keys, key)
		switch key {
		case "working_dir":
			s, _ := r.str(maxItem)
			e.URIs = addOnce(e.URIs, s)
		case "py_modules", "java_jars":
			r.array(func(int) {
				s, _ := r.str(maxItem)
				e.URIs = addOnce(e.URIs, s)
			})
		case "pip", "uv", "conda":
			readPackages(r, e, depth+1)
		case "env_vars":
			r.object(func(name string, _ text) {
				e.EnvNames = addOnce(e.EnvNames, name)
				v, _ := r.str(maxEnvText)
				e.code(name, v)
			})
		case "py_executable":
			e.PyExec, _ = r.str(maxEnvText)
		case "image_uri":
			e.Image, _ = r.str(maxItem)
		case "container":
			r.object(func(k string, _ text) {
				if k == "image" {
					e.Image, _ = r.str(maxItem)
				}
			})
		case "worker_process_setup_hook":
			e.SetupHook, _ = r.str(maxEnvText)
		}
	})
}

// code keeps a variable that makes a process load code, or is code.
func (e *Env) code(name, v string) {
	switch {
	case v == "":
	case loadsCode(name):
		if len(e.Loads) < maxList {
			e.Loads = append(e.Loads, Param{strings.Clone(name), v})
		}
	case looksLikeCode(v):
		if len(e.Commands) < maxList {
			e.Commands = append(e.Commands, Param{strings.Clone(name), v})
		}
	}
}

// variable notes a variable.
func (e *Env) variable(name, v string) {
	if name != "" {
		e.EnvNames = addOnce(e.EnvNames, name)
		e.code(name, v)
	}
}

// merge adds what o has to e.
func (e *Env) merge(o *Env) {
	for _, x := range []struct {
		to   *[]string
		from []string
	}{{&e.Keys, o.Keys}, {&e.URIs, o.URIs}, {&e.Packages, o.Packages}, {&e.EnvNames, o.EnvNames}} {
		for _, s := range x.from {
			*x.to = addOnce(*x.to, s)
		}
	}
	e.Loads = append(e.Loads, o.Loads[:min(len(o.Loads), maxList-min(len(e.Loads), maxList))]...)
	e.Commands = append(e.Commands, o.Commands[:min(len(o.Commands), maxList-min(len(e.Commands), maxList))]...)
	e.PyExec, e.Image, e.SetupHook = cmp.Or(e.PyExec, o.PyExec), cmp.Or(e.Image, o.Image), cmp.Or(e.SetupHook, o.SetupHook)
}

// readPackages takes every string below pip, uv or conda: a list, a file's text, or an object with packages,
// dependencies and options. Strings are bounded in number and length.
func readPackages(r *jsonReader, e *Env, depth int) {
	if depth > maxDepth {
		return
	}
	switch r.peek() {
	case '"':
		s, _ := r.str(maxItem)
		e.Packages = addOnce(e.Packages, s)
	case '[':
		r.array(func(int) { readPackages(r, e, depth+1) })
	case '{':
		r.object(func(string, text) { readPackages(r, e, depth+1) })
	}
}

func addOnce(list []string, s string) []string {
	if s == "" || len(list) >= maxList {
		return list
	}
	for _, x := range list {
		if x == s {
			return list
		}
	}
	return append(list, strings.Clone(s)) // it may be a key, which is not kept
}

// loadsCode says that a variable tells a process where to load code from: its value is a place, not a secret.
func loadsCode(name string) bool {
	switch strings.ToUpper(name) {
	case "LD_PRELOAD", "LD_AUDIT", "LD_LIBRARY_PATH", "DYLD_INSERT_LIBRARIES", "PYTHONPATH", "PYTHONSTARTUP",
		"PYTHONHOME", "PYTHONUSERBASE", "BASH_ENV", "ENV", "PATH", "PERL5OPT", "PERL5LIB", "RUBYOPT", "NODE_OPTIONS",
		"PIP_INDEX_URL", "PIP_EXTRA_INDEX_URL", "PIP_FIND_LINKS", "UV_INDEX_URL", "UV_EXTRA_INDEX_URL", "UV_INDEX",
		"UV_DEFAULT_INDEX", "GIT_SSH_COMMAND", "GIT_ASKPASS", "PROMPT_COMMAND", "JAVA_TOOL_OPTIONS",
		"RAY_RUNTIME_ENV_HOOK", "RAY_WORKER_PROCESS_SETUP_HOOK":
		return true
	}
	return false
}

// looksLikeCode says that a value is a command line or a piece of Python rather than data. It errs on the side of
// silence: a value that is kept is held in memory.
func looksLikeCode(v string) bool {
	if strings.ContainsAny(v, " \t\n$") && strings.ContainsAny(v, "|;&`(") {
		for _, w := range []string{"curl", "wget", "sh ", "bash", "/dev/tcp", "python", "exec", "eval", "import ", "base64", "|sh", "nc "} {
			if strings.Contains(v, w) {
				return true
			}
		}
	}
	return false
}

// readServe reads a ServeDeploySchema (and the older single application form).
func readServe(q *http.Request) (apps []App, e Env) {
	b, _ := decodeText(q.Body.Data, charsets(q.Header.Get("Content-Type"))[0])
	return serveConfig(&jsonReader{b: b})
}

func serveConfig(r *jsonReader) (apps []App, e Env) {
	var whole App
	r.object(func(key string, _ text) {
		if key == "applications" {
			apps = nil
			r.array(func(int) {
				var a App
				r.object(func(k string, _ text) { readApp(r, k, &a, &e) })
				if len(apps) < maxList {
					apps = append(apps, a)
				}
			})
			return
		}
		readApp(r, key, &whole, &e)
	})
	if len(apps) == 0 && whole.Import != "" {
		apps = []App{whole}
	}
	return apps, e
}

func readApp(r *jsonReader, key string, a *App, e *Env) {
	switch key {
	case "name":
		a.Name, _ = r.str(maxID)
	case "import_path":
		a.Import, _ = r.str(maxItem)
	case "route_prefix":
		a.Prefix, _ = r.str(maxItem)
	case "runtime_env":
		readEnv(r, e, 2)
	case "deployments":
		r.array(func(int) {
			r.object(func(k string, _ text) {
				if k != "ray_actor_options" {
					return
				}
				r.object(func(k string, _ text) {
					if k == "runtime_env" {
						readEnv(r, e, 4)
					}
				})
			})
		})
	}
}

// readEnvRequest reads GetOrCreateRuntimeEnvRequest, protobuf: field 1 is the runtime_env as JSON.
func readEnvRequest(q *http.Request) (e Env) {
	b := q.Body.Data
	if len(b) < 2 || b[0] != 1<<3|2 { // field 1, length-delimited
		return e
	}
	n, i := 0, 1
	for shift := 0; i < len(b) && shift < 28; shift += 7 {
		c := b[i]
		i++
		n |= int(c&0x7f) << shift
		if c < 0x80 {
			break
		}
	}
	b = b[i:]
	if n < len(b) {
		b = b[:n]
	}
	readEnv(&jsonReader{b: b}, &e, 0)
	return e
}
