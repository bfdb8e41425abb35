package command

import (
	"strconv"
	"strings"
)

// callCode judges what runs code: interpreters, loaders of objects, of libraries and of memory.
func (p *py) callCode(c pycall) (pv, bool) {
	switch c.ref {
	case "exec", "eval", "execfile", "code.interact", "runpy.run_path", "InteractiveInterpreter.runsource":
		return p.evaluate(c), true
	case "pickle.loads", "pickle.load", "cloudpickle.loads", "cloudpickle.load", "dill.loads", "dill.load", "joblib.load", "torch.load", "marshal.load", "yaml.load", "yaml.unsafe_load", "jsonpickle.decode", "numpy.load", "np.load":
		return p.unpickle(c), true
	case "ctypes.CDLL", "ctypes.cdll.LoadLibrary", "ctypes.PyDLL", "importlib.machinery.ExtensionFileLoader", "imp.load_dynamic":
		return p.library(c), true
	case "os.memfd_create", "~lib.memfd_create":
		p.w.add("memfd", 60, "runs a program that is nowhere on disk", c.src)
		return pv{ref: "~file", value: text("memfd")}, true
	case "~lib.syscall":
		if n := str(c.args, 0); n == "319" || n == "279" {
			p.w.add("memfd", 60, "runs a program that is nowhere on disk", c.src)
		}
		return pv{value: unknown}, true
	case "codecs.getdecoder", "cryptography.fernet.Fernet", "Fernet", "AES.new", "Crypto.Cipher.AES.new":
		return pv{ref: "~cipher"}, true
	case "~cipher.decrypt", "~cipher":
		return p.decode(c.args, func(string) (string, bool) { return "", false }), true
	}
	return pv{}, false
}

// callName follows what names something by text, or calls what it is given.
func (p *py) callName(c pycall) (pv, bool) {
	switch c.ref {
	case "getattr":
		if len(c.args) > 1 && c.args[1].known() && c.args[1].s != "" {
			return p.attr(c.args[0], c.args[1].s), true
		}
		return pv{value: unknown}, true
	case "__import__", "importlib.import_module", "importlib.__import__":
		if s := str(c.args, 0); s != "" && !strings.Contains(s, hole) {
			return pv{ref: s}, true
		}
		return pv{value: unknown}, true
	case "globals", "locals", "vars":
		if len(c.args) == 1 && c.args[0].ref != "" {
			return pv{ref: c.args[0].ref + ".__dict__"}, true
		}
		return pv{ref: "builtins.__dict__"}, true
	case "map":
		return p.mapped(c), true
	}
	return pv{}, false
}

// callText follows what makes text of text.
func (p *py) callText(c pycall) (pv, bool) {
	switch c.ref {
	case "compile", "types.CodeType", "types.FunctionType", "str", "bytes", "bytearray", "memoryview", "io.StringIO", "io.BytesIO", "StringIO", "BytesIO", "tempfile.gettempdir", "copy.copy", "six.ensure_str", "repr", "textwrap.dedent", "shlex.quote", "inspect.cleandoc", "tuple", "list", "set", "sorted":
		return p.converted(c), true
	case "dict":
		if len(c.args) > 0 {
			return c.args[0], true
		}
		return pv{value: c.all, dict: c.kw}, true
	case "chr", "unichr":
		if n, ok := number(str(c.args, 0)); ok && n > 0 && n < 0x110000 {
			return pv{value: value{s: string(rune(n)), from: fromText | fromDecode}}, true
		}
		return pv{value: value{s: hole, from: c.all.from | fromDecode | fromOpaque | fromText}}, true
	case "ord":
		if s := str(c.args, 0); len(s) == 1 && s != hole {
			return pv{value: text(strconv.Itoa(int(s[0]))), num: true}, true
		}
		return pv{value: unknown}, true
	case "int":
		return p.integer(c), true
	case "reversed":
		if len(c.args) > 0 && !c.args[0].seq {
			s, _ := reversed(c.args[0].s)
			v := c.args[0].value.with(s)
			v.from |= fromDecode
			return pv{value: v}, true
		}
		if len(c.args) > 0 {
			l := append([]pv(nil), c.args[0].list...)
			for i, j := 0, len(l)-1; i < j; i, j = i+1, j-1 {
				l[i], l[j] = l[j], l[i]
			}
			return flat(pv{seq: true, list: l}), true
		}
	case "range", "zip", "enumerate", "len", "min", "max", "sum", "any", "all", "isinstance", "hasattr", "type", "id", "super", "hash", "round", "abs", "divmod", "pow", "bool", "float":
		if c.ref == "enumerate" || c.ref == "zip" {
			return pv{value: c.all.blur()}, true
		}
		return pv{value: unknown, num: false}, true
	}
	return pv{}, false
}

// callDecode follows what decodes or unpacks.
func (p *py) callDecode(c pycall) (pv, bool) {
	switch c.ref {
	case "base64.b64decode", "base64.urlsafe_b64decode", "base64.standard_b64decode", "base64.decodebytes", "base64.decodestring", "binascii.a2b_base64":
		return p.decode(c.args, unBase64), true
	case "base64.b32decode":
		return p.decode(c.args, unBase32), true
	case "base64.b16decode", "binascii.unhexlify", "binascii.a2b_hex", "bytes.fromhex", "bytearray.fromhex":
		return p.decode(c.args, unHex), true
	case "base64.b85decode", "base64.a85decode", "base64.z85decode", "marshal.loads", "lzma.decompress", "uu.decode", "zlib.decompressobj", "binascii.a2b_uu", "quopri.decodestring":
		return p.decode(c.args, func(string) (string, bool) { return "", false }), true
	case "zlib.decompress", "gzip.decompress", "bz2.decompress":
		return p.decode(c.args, unzip), true
	case "codecs.decode", "codecs.encode":
		return p.codec(c.args, str(c.args, 1)), true
	case "zipfile.ZipFile", "tarfile.open", "tarfile.TarFile", "shutil.unpack_archive":
		return p.archive(c), true
	}
	return pv{}, false
}

// callStream follows input, output and files.
func (p *py) callStream(c pycall) (pv, bool) {
	switch c.ref {
	case "print", "sys.stdout.write", "sys.stdout.buffer.write", "logging.info", "logger.info":
		p.w.py.printed = p.w.r.join(p.w.py.printed, c.all)
		return pv{}, true
	case "input", "raw_input":
		return pv{value: value{s: hole, from: fromEnv}}, true
	case "sys.stdin.read", "sys.stdin.readline", "sys.stdin.buffer.read", "fileinput.input":
		if p.w.py.hasIn {
			return pv{value: p.w.py.in}, true
		}
		return pv{value: value{s: hole, from: fromEnv}}, true
	case "open", "io.open", "codecs.open", "gzip.open", "pathlib.Path", "Path", "os.fdopen", "pathlib.PosixPath", "tempfile.NamedTemporaryFile", "os.open", "aiofiles.open":
		return p.opened(c), true
	case "os.path.expanduser", "os.path.expandvars", "os.path.join", "os.path.abspath", "os.path.realpath", "os.path.normpath", "os.fspath":
		return p.pathOf(c), true
	case "os.dup2", "os.dup":
		if len(c.args) > 0 && (c.args[0].from&fromSocket != 0 || strings.HasPrefix(c.args[0].ref, "~socket")) && p.w.py.sock != nil {
			p.w.py.dup = true
		}
		return pv{}, true
	case "os.getcwd", "os.listdir", "glob.glob", "os.walk":
		return pv{value: unknown}, true
	case "shutil.copyfileobj":
		if len(c.args) > 1 && strings.HasPrefix(c.args[1].ref, "~file") {
			p.w.write(c.args[1].s, c.args[0].data(), false)
		}
		return pv{}, true
	}
	return pv{}, false
}

// callSystem follows what the machine is asked and what is changed on it.
func (p *py) callSystem(c pycall) (pv, bool) {
	switch c.ref {
	case "os.getenv", "os.environ.get", "os.environ.pop", "os.environ.setdefault":
		if v := p.w.vars[str(c.args, 0)]; v != nil {
			return pv{value: *v}, true
		}
		if len(c.args) > 1 {
			return c.args[1], true
		}
		return pv{value: value{s: hole, from: fromEnv}}, true
	case "os.environ.items", "os.environ.copy":
		return pv{value: value{s: hole, from: fromRecon, what: "the environment"}}, true
	case "socket.gethostname", "socket.getfqdn", "platform.platform", "platform.uname", "platform.node", "getpass.getuser", "os.getlogin", "os.uname", "os.getuid":
		return pv{value: value{s: hole, from: fromRecon}}, true
	case "os.chmod":
		return p.chmod(c), true
	case "os.remove", "os.unlink", "pathlib.Path.unlink":
		if len(c.args) > 0 && (c.args[0].ref == "__file__" || c.args[0].s == "$0") {
			p.w.add("hide", 40, "removes its traces", c.src)
		}
		return pv{}, true
	case "os.rename", "shutil.move", "shutil.copy", "shutil.copyfile", "shutil.copy2", "os.replace", "os.symlink":
		if len(c.args) > 1 {
			p.w.program(&call{name: "cp", args: []value{c.args[0].data(), c.args[1].data()}, src: c.src})
		}
		return pv{}, true
	case "os.mkfifo":
		return pv{}, true
	case "pip.main", "pip._internal.main", "pip._internal.cli.main.main":
		if len(c.args) > 0 {
			p.w.packages(&call{name: "pip", args: values(c.args[0]), src: c.src})
		}
		return pv{}, true
	case "os.fork", "os.setsid", "os.umask", "time.sleep", "os.chdir", "os.makedirs", "os.mkdir":
		return pv{}, true
	}
	return pv{}, false
}

// callNetwork judges connections, downloads and clients of Ray.
func (p *py) callNetwork(c pycall) (pv, bool) {
	switch c.ref {
	case "socket.gethostbyname", "socket.getaddrinfo", "dns.resolver.resolve", "dns.resolver.query":
		host := str(c.args, 0)
		p.w.calls(p.w.r.judge.Place(host), c.src)
		return pv{value: unknown}, true
	case "socket.socket", "socket.create_connection", "ssl.wrap_socket", "socks.socksocket", "socket.socketpair":
		v := pv{ref: "~socket"}
		if c.ref == "socket.create_connection" && len(c.args) > 0 {
			return p.socket(v, "connect", c.args, c.src), true
		}
		return v, true
	case "http.client.HTTPConnection", "http.client.HTTPSConnection", "httplib.HTTPConnection", "httplib.HTTPSConnection", "HTTPConnection", "HTTPSConnection":
		return p.connection(c), true
	case "urllib.request.urlretrieve", "urllib.urlretrieve", "urlretrieve", "wget.download", "request.urlretrieve", "gdown.download":
		return p.download(c), true
	case "urllib.request.Request", "urllib2.Request", "Request", "yarl.URL", "httpx.URL":
		return p.prepared(c), true
	case "JobSubmissionClient", "ray.job_submission.JobSubmissionClient", "ray.dashboard.modules.job.sdk.JobSubmissionClient":
		if pl := p.w.r.judge.Place(str(c.args, 0)); pl.Kind == Bare {
			p.w.add("spread", 45, "submits jobs to other clusters", c.src)
		}
		return pv{value: text("client")}, true
	case "ray.init":
		for _, a := range c.args {
			if pl := p.w.r.judge.Place(a.s); isURL(a.s) || strings.HasPrefix(a.s, "ray://") {
				if pl.Kind == Bare {
					p.w.add("spread", 30, "submits jobs to other clusters", c.src)
				}
			}
		}
		return pv{}, true
	}
	return pv{}, false
}

// evaluate judges exec and its like.
func (p *py) evaluate(c pycall) pv {
	if c.ref == "execfile" || c.ref == "runpy.run_path" {
		p.w.runFile("python", value{s: str(c.args, 0)}, &call{name: "python", src: c.src}, false)
		return pv{}
	}
	if len(c.args) > 0 {
		v := c.args[0].data()
		if v.from&^(fromText|fromEnv|fromFile) != 0 || v.from&fromText != 0 {
			p.w.run("python", v, "runs", c.src)
		}
	}
	return pv{value: unknown}
}

// unpickle judges what loads objects, which may be code.
func (p *py) unpickle(c pycall) pv {
	if c.all.from&fromNet != 0 && c.all.at != nil {
		points := c.all.at.kept(true, false)
		if c.ref == "torch.load" || c.ref == "joblib.load" || strings.HasSuffix(c.ref, "np.load") || c.ref == "numpy.load" {
			points = points * 3 / 4
		}
		p.w.add("fetch_run", points, "downloads a pickle and loads it", c.src)
	}
	if c.all.from&fromSocket != 0 {
		p.w.add("socket_shell", 70, "runs what comes over a connection", c.src)
	}
	return pv{value: c.all.blur()}
}

// library judges what loads a native library.
func (p *py) library(c pycall) pv {
	name := str(c.args, 0)
	if c.ref == "imp.load_dynamic" {
		name = str(c.args, 1)
	}
	if tempDir(name) {
		p.w.add("load_temp", 35, "loads a library from a temporary directory", c.src)
	}
	if f := p.w.files[base(name)]; f != nil && name != "" && f.from&fromNet != 0 && f.at != nil {
		p.w.add("fetch_run", f.at.kept(false, false), "downloads a library and loads it", c.src)
	}
	return pv{ref: "~lib"}
}

// mapped calls the first argument with the others, one by one where they are a list.
func (p *py) mapped(c pycall) pv {
	if len(c.args) > 1 && c.args[1].seq {
		out := pv{seq: true}
		for _, x := range c.args[1].list {
			if !p.w.r.charge(8) {
				break
			}
			out.list = append(out.list, p.call(c.args[0], []pv{x}, nil, c.from))
		}
		return flat(out)
	}
	if len(c.args) > 1 {
		return p.call(c.args[0], c.args[1:], nil, c.from)
	}
	return pv{value: unknown}
}

// converted follows what gives its argument back in another type.
func (p *py) converted(c pycall) pv {
	if len(c.args) > 0 {
		v := c.args[0]
		if (c.ref == "bytes" || c.ref == "bytearray") && v.seq {
			return numbers(v)
		}
		if v.ref != "" && v.self == nil {
			return pv{value: v.data()}
		}
		return pv{value: v.value, seq: v.seq, list: v.list, num: false}
	}
	return pv{value: text("")}
}

// integer follows int of a text, of base 10 or the one it is told.
func (p *py) integer(c pycall) pv {
	if len(c.args) > 0 {
		base := 10
		if len(c.args) > 1 {
			base, _ = number(c.args[1].s)
		}
		if base >= 2 && base <= 36 {
			if n, err := strconv.ParseInt(strings.TrimPrefix(c.args[0].s, "0x"), base, 64); err == nil {
				return pv{value: text(strconv.FormatInt(n, 10)), num: true}
			}
		}
	}
	return pv{value: unknown}
}

// archive follows what unpacks files: a download remembers what came out of it.
func (p *py) archive(c pycall) pv {
	v := c.all
	if len(c.args) > 0 {
		if f := p.w.files[base(c.args[0].s)]; f != nil && c.args[0].s != "" {
			v = *f
		}
	}
	if v.from&fromNet != 0 {
		p.w.packed = worse(p.w.packed, v.at)
	}
	return pv{value: v.blur()}
}

// opened gives a file, whose value is its path.
func (p *py) opened(c pycall) pv {
	v := value{}
	if len(c.args) > 0 {
		v = c.args[0].data()
	}
	if c.ref == "os.fdopen" || c.ref == "tempfile.NamedTemporaryFile" {
		v = text("/tmp/tmp.x")
	}
	return pv{value: v, ref: "~file"}
}

// pathOf joins the parts of a path.
func (p *py) pathOf(c pycall) pv {
	out := value{}
	for i, a := range c.args {
		if i > 0 && !strings.HasSuffix(out.s, "/") {
			out = p.w.r.join(out, text("/"))
		}
		out = p.w.r.join(out, a.data())
	}
	out.s = strings.ReplaceAll(strings.ReplaceAll(out.s, "${HOME}", "~"), "$HOME", "~")
	return pv{value: out}
}

// chmod judges a change of a mode, as the program of that name is.
func (p *py) chmod(c pycall) pv {
	mode := str(c.args, 1)
	if n, ok := number(mode); ok {
		mode = strconv.FormatInt(int64(n), 8)
	} else if strings.Contains(mode, "S_IX") || strings.Contains(mode, hole) || len(c.args) > 1 && strings.Contains(c.args[1].ref, "S_I") {
		mode = "755"
	}
	if len(c.args) > 0 {
		p.w.program(&call{name: "chmod", args: []value{text(mode), c.args[0].data()}, src: c.src})
	}
	return pv{}
}

// connection gives a connection of http.client, whose value is the server.
func (p *py) connection(c pycall) pv {
	scheme := "http://"
	if strings.HasSuffix(c.ref, "SConnection") {
		scheme = "https://"
	}
	host := text(scheme).plus(value{s: str(c.args, 0), from: fromText})
	if len(c.args) > 1 && c.args[1].num {
		host = host.plus(text(":" + c.args[1].s))
	}
	return pv{ref: "~http", value: host}
}

// download judges what fetches into a file.
func (p *py) download(c pycall) pv {
	v := p.fetch(c.args, c.kw, 0, c.src)
	name := str(c.args, 1)
	if x, ok := c.kw["filename"]; ok {
		name = x.s
	}
	if x, ok := c.kw["out"]; ok {
		name = x.s
	}
	if x, ok := c.kw["output"]; ok {
		name = x.s
	}
	if name == "" && v.at != nil {
		name = base(v.at.Path)
	}
	p.w.write(name, v, false)
	return pv{value: text(name)}
}

// prepared follows a request that is made now and sent later: its value is the URL.
func (p *py) prepared(c pycall) pv {
	v := pv{value: c.all}
	if len(c.args) > 0 {
		v.value = c.args[0].value
	}
	v.dict = c.kw
	if len(c.args) > 1 {
		if v.dict == nil {
			v.dict = map[string]pv{}
		}
		v.dict["data"] = c.args[1]
	}
	v.list = nil
	return v
}
