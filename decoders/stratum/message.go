package stratum

// What one line says, whoever sent it: probe and decoder read lines with the same eyes.

// act is what a line does in a session.
type act uint8

const (
	actNone       act = iota // JSON-RPC, but nothing of mining
	actSubscribe             // client: here I am
	actLogin                 // client: this is my wallet
	actSubmit                // client: a share
	actGetWork               // client: give me work
	actTalk                  // client: anything else a miner says
	actJob                   // server: work
	actLoginOK               // server: logged in, with the first work
	actDifficulty            // server: how hard
	actTarget                // server: how hard, as a number to stay below
	actServerTalk            // server: anything else a pool says
	actAnswer                // server: result or error of a request
	actCount                 // server: "so many shares accepted"
	actForeign               // not JSON-RPC at all
)

// side says who speaks.
type side uint8

const (
	anyone side = iota
	client
	server
)

// message is one line, by position.
type message struct {
	b       []byte
	id      value
	method  value
	params  value
	result  value
	err     value
	worker  value // ETHPROXY has it beside params
	typed   bool  // method came as "type" or "identifier": browser miners
	flat    bool  // parameters stand beside the method: Beam, webminerpool, Dero
	rpc     bool  // at least one key that JSON-RPC or a browser miner has
	repeats bool  // method or params occurred twice
}

// top gives the whole line as an object.
func (m *message) top() value { return value{start: 0, end: len(m.b), kind: object} }

// parse reads one framed object. With lenient it takes what is there of an object that is not complete.
func parse(b []byte, m *message, lenient bool) bool {
	*m = message{b: b}
	var buf [maxName]byte
	it := members{cursor: cursor{b, 1}, depth: 1}
	for it.next() {
		switch string(name(b, it.key, &buf)) {
		case "id":
			m.id, m.rpc = it.val, true
		case "method":
			m.repeats = m.repeats || (m.method.some() && !m.typed)
			m.method, m.typed, m.rpc = it.val, false, true
		case "type", "identifier":
			if m.method.kind == absent && it.val.kind == text {
				m.method, m.typed, m.rpc = it.val, true, true
			}
		case "params":
			m.repeats = m.repeats || m.params.some()
			m.params, m.rpc = it.val, true
		case "result":
			m.result, m.rpc = it.val, true
		case "error":
			m.err, m.rpc = it.val, true
		case "worker":
			m.worker = it.val
		case "jsonrpc", "jobid":
			m.rpc = true
		}
	}
	return lenient || !it.bad && it.i == len(b)
}

// sight is what a message shows.
type sight struct {
	act     act
	from    side
	sure    bool // alone enough to call the flow mining
	dialect Dialect
}

// view classifies a message. sure asks for the method and for the shape of its arguments, since names like "login"
// and "submit" belong to everybody.
func (m *message) view() sight {
	b := m.b
	var buf [maxName]byte
	if m.method.kind == text {
		method := name(b, m.method, &buf)
		if m.typed {
			if s, ok := m.viewTyped(method); ok {
				return s
			}
		}
		if m.params.kind == absent && (m.result.some() || m.err.some()) {
			// Grin's servers repeat the method in the answer.
			return m.viewAnswer()
		}
		return m.viewMethod(method)
	}
	if m.result.kind != absent || m.err.kind != absent {
		return m.viewAnswer()
	}
	if s, ok := m.viewDero(); ok {
		return s
	}
	if !m.rpc {
		return sight{act: actForeign}
	}
	if m.id.some() && m.method.kind == absent && m.params.kind == absent {
		return sight{act: actAnswer, from: server} // EthereumStratum 2.0.0: the bare id is the yes
	}
	return sight{}
}

// viewMethod judges a message by its method.
// It is whole because it is one table of the methods.
func (m *message) viewMethod(method []byte) sight {
	b := m.b
	list := m.params.kind == array
	switch string(method) {
	case "mining.subscribe":
		s := sight{act: actSubscribe, from: client, sure: list || m.params.kind == object || m.params.kind == absent || m.params.kind == null, dialect: Bitcoin}
		var word [maxName]byte
		it := elementsOf(b, m.params)
		for it.next() {
			switch string(decoded(b, it.val, word[:])) {
			case "EthereumStratum/1.0.0":
				s.dialect = NiceHash
			case "EthereumStratum/2.0.0":
				s.dialect = EthereumStratum2
			}
		}
		return s
	case "mining.authorize", "mining.auth":
		return sight{act: actLogin, from: client, sure: list, dialect: m.loginDialect()}
	case "mining.submit":
		return sight{act: actSubmit, from: client, sure: list, dialect: m.submitDialect()}
	case "mining.hello":
		return sight{act: actSubscribe, from: client, sure: m.params.kind == object, dialect: EthereumStratum2}
	case "mining.hashrate":
		return sight{act: actTalk, from: client, sure: true, dialect: EthereumStratum2}
	case "mining.configure", "mining.extranonce.subscribe", "mining.suggest_difficulty", "mining.suggest_target",
		"mining.get_transactions", "mining.get_upstream_transactions", "mining.multi_version", "mining.capabilities",
		"mining.term":
		return sight{act: actTalk, from: client, sure: true, dialect: Bitcoin}

	case "mining.notify":
		return sight{act: actJob, from: server, sure: list || m.params.kind == object, dialect: m.notifyDialect()}
	case "mining.set_difficulty":
		return sight{act: actDifficulty, from: server, sure: list || m.params.kind == number, dialect: Bitcoin}
	case "mining.set_target":
		// Equihash and KawPow use it alike; the work that follows tells them apart.
		return sight{act: actTarget, from: server, sure: list, dialect: Bitcoin}
	case "mining.set_extranonce", "mining.set_version_mask", "mining.set_goal", "mining.ping":
		return sight{act: actServerTalk, from: server, sure: true, dialect: Bitcoin}
	case "mining.subscribed", "mining.noop", "mining.bye", "mining.reconnect":
		return sight{act: actServerTalk, from: server, sure: true, dialect: EthereumStratum2}
	case "mining.set":
		return sight{act: actTarget, from: server, sure: m.params.kind == object, dialect: EthereumStratum2}
	case "set_extranonce", "set_difficulty", "client.reconnect", "client.show_message", "client.get_version":
		return sight{act: actServerTalk, from: server, dialect: Bitcoin}

	case "eth_submitlogin", "eth_login":
		return sight{act: actLogin, from: client, sure: list, dialect: EthProxy}
	case "eth_getwork":
		return sight{act: actGetWork, from: client, sure: true, dialect: EthProxy}
	case "eth_submitwork":
		return sight{act: actSubmit, from: client, sure: list, dialect: EthProxy}
	case "eth_submithashrate":
		return sight{act: actTalk, from: client, sure: true, dialect: EthProxy}

	case "login":
		return m.viewLogin(m.params)
	case "submit":
		s := sight{act: actSubmit, from: client}
		switch f := m.fields(m.params); {
		case f&(fJobID|fNonce|fResult) == fJobID|fNonce|fResult:
			s.sure, s.dialect = true, CryptoNote
		case f&(fJobID|fNonce|fPow) == fJobID|fNonce|fPow:
			s.sure, s.dialect = true, Grin
		default:
			s.act, s.from = actNone, anyone
		}
		return s
	case "getjob":
		return sight{act: actGetWork, from: client, dialect: CryptoNote}
	case "getjobtemplate":
		return sight{act: actGetWork, from: client, sure: true, dialect: Grin}
	case "keepalived":
		return sight{act: actTalk, from: client, sure: m.params.kind == object, dialect: CryptoNote}
	case "job":
		from := m.params
		if from.kind == absent {
			from = m.top() // Beam
		}
		if d, ok := m.job(from); ok {
			return sight{act: actJob, from: server, sure: true, dialect: d}
		}
	case "solution":
		if f := m.fields(m.top()); f&(fNonce|fOutput) == fNonce|fOutput {
			m.flat = true
			return sight{act: actSubmit, from: client, sure: true, dialect: Beam}
		}
	}
	return sight{}
}

// viewLogin reads {"login":...,"pass":...,"agent":...,"algo":[...]}. A login and a password alone may be anybody's: then
// the wallet must look like one, or the server must speak of work.
func (m *message) viewLogin(from value) sight {
	f := m.fields(from)
	switch {
	case f&fLogin == 0:
		if m.params.kind == absent && m.fields(m.top())&fAPIKey != 0 {
			return sight{act: actLogin, from: client, dialect: Beam}
		}
		return sight{}
	case f&(fAgent|fAlgo|fRig) != 0 && f&(fPass|fAlgo|fRig) != 0, f&fWallet != 0:
		return sight{act: actLogin, from: client, sure: true, dialect: CryptoNote}
	case f&fPass != 0:
		return sight{act: actLogin, from: client, dialect: CryptoNote}
	}
	return sight{}
}

// viewTyped reads what browser miners say: {"type":"auth","params":{"site_key":...}} and {"identifier":"handshake",...}.
func (m *message) viewTyped(method []byte) (sight, bool) {
	from := m.params
	if from.kind == absent {
		from, m.flat = m.top(), true
	}
	f := m.fields(from)
	switch string(method) {
	case "auth":
		return sight{act: actLogin, from: client, sure: f&fSiteKey != 0, dialect: Coinhive}, f&fSiteKey != 0
	case "handshake":
		return sight{act: actLogin, from: client, sure: true, dialect: Coinhive}, f&(fLogin|fPool) == fLogin|fPool
	case "authed":
		return sight{act: actServerTalk, from: server, dialect: Coinhive}, f&fHashes != 0
	case "job":
		_, ok := m.job(from)
		return sight{act: actJob, from: server, sure: true, dialect: Coinhive}, ok
	case "submit", "solved":
		ok := f&(fJobID|fNonce|fResult) == fJobID|fNonce|fResult
		return sight{act: actSubmit, from: client, sure: true, dialect: Coinhive}, ok
	case "hash_accepted", "hashsolved":
		return sight{act: actCount, from: server, sure: f&fHashes != 0, dialect: Coinhive}, true
	}
	m.flat = false
	return sight{}, false
}

// viewDero reads Dero's getwork over WebSocket, which has neither method nor id.
func (m *message) viewDero() (sight, bool) {
	f := m.fields(m.top())
	switch {
	case f&(fJobID|fBlob) == fJobID|fBlob:
		m.flat = true
		return sight{act: actJob, from: server, sure: true, dialect: Dero}, true
	case f&(fJobID|fMiniBlob) == fJobID|fMiniBlob:
		m.flat = true
		return sight{act: actSubmit, from: client, sure: true, dialect: Dero}, true
	}
	return sight{}, false
}

// viewAnswer reads results. Most say nothing by themselves (true, null); these do:
//
//	{"job":{"blob":...}}                            CryptoNote login
//	{"status":"KEEPALIVED"}
//	["0x<64>","0x<64>","0x<64>"]                    ETHPROXY work
//	[[["mining.notify","..."],...],"b617a3",4]      subscribe
//	["mining.notify"...,"EthereumStratum/1.0.0"]
//	{"difficulty":..,"pre_pow":..,"job_id":..}      Grin getjobtemplate
func (m *message) viewAnswer() sight {
	b := m.b
	s := sight{act: actAnswer, from: server}
	switch m.result.kind {
	case object:
		if m.fields(m.result)&fKeepalived != 0 {
			s.sure, s.dialect = true, CryptoNote
			return s
		}
		if d, ok := m.job(m.result); ok {
			return sight{act: actJob, from: server, sure: true, dialect: d}
		}
		if job, ok := m.member(m.result, "job"); ok {
			if d, ok := m.job(job); ok {
				return sight{act: actLoginOK, from: server, sure: true, dialect: d}
			}
		}
	case array:
		hashes, others := 0, 0
		it := elementsOf(b, m.result)
		for it.next() {
			switch {
			case isHash(b, it.val):
				hashes++
			case it.val.kind == array:
				others++
				if d, ok := m.names(it.val, 0); ok {
					s.sure, s.dialect = true, d
					return s
				}
			default:
				others++
			}
		}
		if hashes == 3 && others <= 1 {
			return sight{act: actJob, from: server, sure: true, dialect: EthProxy}
		}
		if d, ok := m.names(m.result, 0); ok {
			s.sure, s.dialect = true, d
		}
	}
	return s
}

// isHash is 0x and 64 digits, as every word of Ethereum work is.
func isHash(b []byte, v value) bool {
	return v.kind == text && v.end-v.start == 66 && isHex(b, v, 64, 64)
}

// names looks for the words of a subscribe answer in an array, two levels deep.
func (m *message) names(v value, depth int) (Dialect, bool) {
	d, found := Dialect(""), false
	it := elementsOf(m.b, v)
	for n := 0; n < 8 && it.next(); n++ {
		switch it.val.kind {
		case text:
			var buf [maxName]byte
			switch string(decoded(m.b, it.val, buf[:])) {
			case "mining.notify", "mining.set_difficulty", "mining.set_target", "mining.set_extranonce":
				if !found {
					d, found = Bitcoin, true
				}
			case "EthereumStratum/1.0.0":
				d, found = NiceHash, true
			case "EthereumStratum/2.0.0":
				d, found = EthereumStratum2, true
			}
		case array:
			if depth < 2 {
				if dd, ok := m.names(it.val, depth+1); ok && !found {
					d, found = dd, true
				}
			}
		}
	}
	return d, found
}

// member finds a member of an object by its name in lower case.
func (m *message) member(v value, key string) (value, bool) {
	var buf [maxName]byte
	out, ok := value{}, false
	it := membersOf(m.b, v)
	for it.next() {
		if string(name(m.b, it.key, &buf)) == key {
			out, ok = it.val, true
		}
	}
	return out, ok
}

// What an object of parameters has, with the right kind of value.
const (
	fLogin = 1 << iota
	fPass
	fAgent
	fAlgo
	fRig
	fWallet
	fJobID
	fNonce
	fResult
	fPow
	fBlob
	fMiniBlob
	fTarget
	fHeight
	fPrePow
	fInput
	fOutput
	fAPIKey
	fSiteKey
	fHashes
	fKeepalived
	fPool
)

// fields reads the members of an object that matter.
// It is whole because it is one table of the members.
func (m *message) fields(v value) uint32 {
	b := m.b
	var buf [maxName]byte
	f := uint32(0)
	it := membersOf(b, v)
	for it.next() {
		val := it.val
		str := val.kind == text
		switch string(name(b, it.key, &buf)) {
		case "login":
			if str {
				f |= fLogin
				if looksLikeWallet(b, val) {
					f |= fWallet
				}
			}
		case "pass", "password":
			f |= fPass
		case "agent":
			if str {
				f |= fAgent
			}
		case "algo", "algos":
			if val.kind == array {
				f |= fAlgo
			}
		case "rigid":
			f |= fRig
		case "pool":
			f |= fPool
		case "job_id", "jobid":
			if str || val.kind == number {
				f |= fJobID
			}
		case "nonce":
			if str || val.kind == number {
				f |= fNonce
			}
		case "result":
			if isHex(b, val, 64, 64) {
				f |= fResult
			}
		case "pow":
			if val.kind == array {
				f |= fPow
			}
		case "blob", "blockhashing_blob":
			if isHex(b, val, 16, maxLine) {
				f |= fBlob
			}
		case "mbl_blob":
			if isHex(b, val, 16, maxLine) {
				f |= fMiniBlob
			}
		case "target", "difficulty":
			f |= fTarget
		case "height":
			f |= fHeight
		case "pre_pow":
			if isHex(b, val, 16, maxLine) {
				f |= fPrePow
			}
		case "input":
			if isHex(b, val, 16, maxLine) {
				f |= fInput
			}
		case "output":
			if isHex(b, val, 16, maxLine) {
				f |= fOutput
			}
		case "api_key":
			if str {
				f |= fAPIKey
			}
		case "site_key":
			if str {
				f |= fSiteKey
			}
		case "hashes":
			f |= fHashes
		case "status":
			var sb [maxName]byte
			if string(name(b, val, &sb)) == "keepalived" {
				f |= fKeepalived
			}
		}
	}
	return f
}

// job says whether an object is work to be done.
func (m *message) job(v value) (Dialect, bool) {
	switch f := m.fields(v); {
	case f&(fBlob|fJobID|fTarget) == fBlob|fJobID|fTarget:
		return CryptoNote, true
	case f&(fPrePow|fJobID|fTarget) == fPrePow|fJobID|fTarget, f&(fPrePow|fHeight|fTarget) == fPrePow|fHeight|fTarget:
		return Grin, true
	case f&(fInput|fTarget|fHeight) == fInput|fTarget|fHeight, f&(fInput|fTarget) == fInput|fTarget && m.id.some():
		m.flat = true
		return Beam, true
	}
	return "", false
}

// loginDialect tells Kaspa by its addresses.
func (m *message) loginDialect() Dialect {
	it := elementsOf(m.b, m.params)
	if it.next() && it.val.kind == text {
		if s := it.val.raw(m.b); len(s) > 6 && string(s[:6]) == "kaspa:" {
			return Kaspa
		}
	}
	return Bitcoin
}

// submitDialect reads the shape of a share.
//
//	bitcoin   worker, job, extranonce2, ntime, nonce[, version bits]
//	equihash  worker, job, time, nonce2, solution of 100 to 1344 bytes with its length in front
//	kawpow    worker, job, 0x nonce of 8 bytes, 0x header hash, 0x mix hash
//	kaspa     worker, job, 0x nonce of 8 bytes
//	nicehash  worker, job, nonce without 0x
//	2.0.0     job, nonce, worker id ("w-123")
func (m *message) submitDialect() Dialect {
	b := m.b
	var a [6]value
	n := 0
	it := elementsOf(b, m.params)
	for it.next() {
		if n < len(a) {
			a[n] = it.val
		}
		n++
	}
	kaspa := a[0].kind == text && a[0].end-a[0].start > 6 && string(b[a[0].start:a[0].start+6]) == "kaspa:"
	switch {
	case kaspa:
		return Kaspa
	case n == 5 && isHash(b, a[3]) && isHash(b, a[4]):
		return KawPow
	case n == 5 && isHex(b, a[4], 100, maxLine):
		return Equihash
	case n == 3 && a[2].kind == text && a[2].end-a[2].start == 18 && isHex(b, a[2], 16, 16) && b[a[2].start+1] == 'x':
		return Kaspa
	case n == 3 && a[2].kind == text && a[2].end-a[2].start > 2 && b[a[2].start] == 'w' && b[a[2].start+1] == '-':
		return EthereumStratum2
	case n == 3:
		return NiceHash
	}
	return Bitcoin
}

// notifyDialect reads the shape of work.
//
//	bitcoin   job, prev, coinb1, coinb2, [branch], version, nbits, ntime, clean
//	equihash  job, version, prev, merkle root, reserved, time, bits, clean
//	kawpow    job, header, seed, target, clean, height, bits
//	kaspa     job, [4 numbers], timestamp
//	nicehash  job, seed, header, clean
func (m *message) notifyDialect() Dialect {
	b := m.b
	var a [8]value
	n := 0
	it := elementsOf(b, m.params)
	for it.next() {
		if n < len(a) {
			a[n] = it.val
		}
		n++
	}
	clean := a[4].kind == yes || a[4].kind == no
	switch {
	case n >= 2 && n <= 4 && a[1].kind == array:
		return Kaspa
	case n >= 6 && isHex(b, a[1], 64, 64) && isHex(b, a[3], 64, 64) && clean:
		return KawPow
	case n >= 7 && isHex(b, a[1], 8, 8) && isHex(b, a[2], 64, 64) && isHex(b, a[3], 64, 64):
		return Equihash
	case n == 4 && isHex(b, a[1], 64, 64) && isHex(b, a[2], 64, 64):
		return NiceHash
	}
	return Bitcoin
}

// looksLikeWallet is the cheap test of the hot path: a long run of letters and digits in front of the first separator.
// Every wallet of section "coins" of wallet.go passes; few user names are that long.
func looksLikeWallet(b []byte, v value) bool {
	var buf [256]byte
	coin := Wallet(string(decoded(b, v, buf[:])))
	return coin.Coin != ""
}
