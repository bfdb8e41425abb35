package raygrpc

import (
	"slices"
	"strings"
)

const (
	// Bounds of a pickle. A cloudpickled actor class of Ray has under 3,000 opcodes, 60 names and a stack of 100; a
	// pickle that has more is read as far as these go.
	maxOps     = 1 << 16
	maxStack   = 1 << 12
	maxMemo    = 1 << 13
	maxNested  = 3  // pickles inside bytes of pickles
	maxGlobals = 64 // names kept
	maxStrings = 2048
	maxText    = 4 << 10 // of one string
	maxTuple   = 4       // elements that a call's arguments are kept of
)

// Pickle is what a pickle names, read without executing any of it.
type Pickle struct {
	Proto   int
	Globals []string // module.name, in order of first use
	Calls   []string // those that loading it calls
	Code    bool     // it makes functions out of code objects: cloudpickle
	Strings []string // texts, bounded: names and constants of code objects are among them
	Broken  bool     // not well-formed, or longer than what was kept
	ops     int
}

type kind uint8

const (
	other kind = iota
	mark
	text
	global // s is module.name
	module // s is its name
	tuple
)

type item struct {
	kind kind
	s    string
	args []item // of a tuple
}

// readPickle walks a pickle. What it does not follow (attributes of objects, data that becomes code elsewhere) it does
// not see.
func readPickle(b []byte) *Pickle {
	p := &Pickle{Proto: -1}
	p.walk(b, 0)
	return p
}

// isPickle says that b begins like one of protocol 2 to 5, which is what Python writes, or like the oldest, which it
// still loads: a global or a mark.
func isPickle(b []byte) bool {
	if len(b) < 2 {
		return false
	}
	if b[0] == 0x80 {
		return b[1] >= 2 && b[1] <= 5
	}
	return b[0] == 'c' && strings.Count(string(b[:min(len(b), 256)]), "\n") >= 2
}

// keep copies the first elements of a call's arguments. Tuples in tuples lose theirs, so that nothing nests.
func keep(args []item) []item {
	n := min(len(args), maxTuple)
	if n == 0 {
		return nil
	}
	out := make([]item, n)
	for i := range n {
		out[i] = item{kind: args[i].kind, s: args[i].s}
	}
	return out
}

func (p *Pickle) global(mod, name string) item {
	s := mod + "." + name
	if len(s) > 256 {
		s = s[:256]
	}
	s = strings.ToValidUTF8(s, "\ufffd")
	if len(p.Globals) < maxGlobals && !slices.Contains(p.Globals, s) {
		p.Globals = append(p.Globals, s)
	}
	if strings.HasSuffix(s, "._make_function") || strings.HasSuffix(s, ".CodeType") || strings.HasSuffix(s, "._builtin_type") {
		p.Code = true
	}
	return item{kind: global, s: s}
}

// call notes that f is called, and follows the ways in which a name is got by calling something.
func (p *Pickle) call(f item, args []item) item {
	if f.kind != global {
		return item{}
	}
	str := func(i int) (string, bool) {
		if i < len(args) && args[i].kind == text {
			return args[i].s, true
		}
		return "", false
	}
	note := func() {
		if len(p.Calls) < maxGlobals && !slices.Contains(p.Calls, f.s) {
			p.Calls = append(p.Calls, f.s)
		}
	}
	switch {
	case f.s == "builtins.getattr" || f.s == "__builtin__.getattr" || f.s == "operator.getitem":
		if n, ok := str(1); ok && (args[0].kind == module || args[0].kind == global) {
			return p.global(args[0].s, n)
		}
	case f.s == "builtins.__import__" || f.s == "__builtin__.__import__" || f.s == "importlib.import_module":
		note()
		if n, ok := str(0); ok {
			return item{kind: module, s: n}
		}
	case strings.HasSuffix(f.s, "cloudpickle.subimport") || strings.HasSuffix(f.s, ".dynamic_subimport"):
		// How cloudpickle refers to a module that a function uses.
		if n, ok := str(0); ok {
			return item{kind: module, s: n}
		}
	case strings.HasSuffix(f.s, "._builtin_type"):
		if n, ok := str(0); ok {
			return p.global("types", n)
		}
	}
	note()
	return item{}
}

// danger tells what a name of Python does when it is called; "" for what is harmless or common.
func danger(name string) string {
	mod, fn, ok := cutLast(name)
	if !ok {
		return ""
	}
	switch mod {
	case "os", "posix", "nt":
		switch {
		case fn == "system" || fn == "popen" || strings.HasPrefix(fn, "exec") || strings.HasPrefix(fn, "spawn") || strings.HasPrefix(fn, "posix_spawn") || fn == "startfile":
			return "runs a command"
		case fn == "fork" || fn == "forkpty":
			return "starts a process"
		}
	case "subprocess", "commands", "popen2", "pexpect", "asyncio.subprocess", "_posixsubprocess":
		switch fn {
		case "PIPE", "STDOUT", "DEVNULL", "CalledProcessError", "TimeoutExpired", "CompletedProcess", "list2cmdline":
			return ""
		}
		return "runs a command"
	case "pty":
		return "opens a terminal"
	case "socket", "_socket":
		switch fn {
		case "socket", "create_connection", "create_server", "socketpair", "SocketType":
			return "opens a socket"
		}
	case "builtins", "__builtin__":
		switch fn {
		case "eval", "exec", "compile", "execfile", "__import__", "open":
			return "runs code"
		}
	case "runpy", "code", "codeop", "timeit", "pdb", "bdb", "cProfile", "profile":
		return "runs code"
	case "ctypes", "_ctypes", "cffi":
		switch fn {
		case "CDLL", "PyDLL", "WinDLL", "cdll", "windll", "LoadLibrary", "dlopen", "string_at", "memmove", "mmap":
			return "loads native code"
		}
	case "pickle", "_pickle", "cPickle", "marshal", "dill", "shelve", "torch":
		switch fn {
		case "loads", "load":
			return "loads more code"
		}
	case "importlib", "imp", "importlib.util":
		switch fn {
		case "import_module", "load_module", "load_source", "load_dynamic", "module_from_spec", "spec_from_file_location":
			return "loads a module"
		}
	case "urllib.request", "urllib", "urllib2", "requests", "http.client", "httplib", "ftplib":
		switch fn {
		case "urlopen", "urlretrieve", "get", "post", "request", "HTTPConnection", "FTP":
			return "fetches from the network"
		}
	case "shutil", "webbrowser", "platform", "pip", "pip._internal":
		switch fn {
		case "rmtree", "move", "open", "popen", "main":
			return "changes the machine"
		}
	}
	return ""
}

func cutLast(s string) (before, after string, ok bool) {
	i := strings.LastIndexByte(s, '.')
	if i < 0 {
		return "", "", false
	}
	return s[:i], s[i+1:], true
}

// inCode names what a function's code uses, by the names and constants of its code object: a module and one of its
// functions that both occur. It is no proof that one is called of the other.
func (p *Pickle) inCode() []string {
	if !p.Code {
		return nil
	}
	has := func(s string) bool { return slices.Contains(p.Strings, s) }
	var out []string
	for _, m := range [...]struct {
		mod   string
		names []string
	}{
		{"os", []string{"system", "popen", "execv", "execve", "execvp", "execl", "execlp", "spawnv", "spawnl", "fork", "dup2"}},
		{"subprocess", []string{"run", "Popen", "call", "check_output", "check_call", "getoutput", "getstatusoutput"}},
		{"pty", []string{"spawn", "fork"}},
		{"socket", []string{"create_connection", "connect", "AF_INET", "SOCK_STREAM"}},
		{"ctypes", []string{"CDLL", "cdll"}},
		{"urllib.request", []string{"urlopen", "urlretrieve"}},
		{"requests", []string{"get", "post"}},
	} {
		if !has(m.mod) {
			continue
		}
		for _, n := range m.names {
			if has(n) {
				out = append(out, m.mod+"."+n)
				break
			}
		}
	}
	for _, n := range [...]string{"exec", "__import__"} { // eval and compile are methods of models, too
		if has(n) {
			out = append(out, "builtins."+n)
		}
	}
	return out
}
