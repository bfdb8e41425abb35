package stratum

// Recognising wallets: whose money it is. A login is a wallet, a wallet with a worker behind it, or a user name of
// the pool. A shape alone is a guess (Checked is false); with a checksum that fits it is a fact.

import (
	"crypto/sha256"
	"math/big"
	"math/bits"
	"strings"

	"github.com/raytap/raytap/decoders/chars"
)

// Address is a wallet found in a login.
type Address struct {
	Coin    string // XMR, BTC, ETH, ...; "" if the login is none
	Wallet  string // the address without worker, difficulty and the like
	Checked bool   // its checksum fits
}

// maxWallet bounds what is looked at: the longest address, a Zephyr integrated one, has under 150 characters.
const maxWallet = 160

// Wallet looks for a wallet in a login as miners send it: ADDRESS, ADDRESS.worker, ADDRESS+difficulty,
// ADDRESS/worker/mail, COIN:ADDRESS.worker#referral.
func Wallet(login string) Address {
	coin := ""
	if i := strings.IndexByte(login, ':'); i > 0 && i <= 8 && !strings.EqualFold(login[:i], "http") {
		if p := strings.ToLower(login[:i]); p == "kaspa" || p == "nexa" || p == "bitcoincash" {
			addr, _ := splitLogin(login[i+1:])
			if len(addr) >= 40 && len(addr) <= 70 && lowerAlnum(addr) {
				return Address{Coin: map[string]string{"kaspa": "KAS", "nexa": "NEXA", "bitcoincash": "BCH"}[p], Wallet: login[:i+1+len(addr)]}
			}
			return Address{}
		}
		if alnum(login[:i]) && login[:i] == strings.ToUpper(login[:i]) {
			coin, login = login[:i], login[i+1:] // unMineable: paid in another coin than mined
		}
	}
	addr, _ := splitLogin(login)
	if len(addr) > maxWallet {
		return Address{}
	}
	a := shape(addr)
	if a.Coin != "" && coin != "" {
		a.Coin = coin
	}
	return a
}

// splitLogin cuts a login into address or user and worker.
func splitLogin(s string) (addr, worker string) {
	i := strings.IndexAny(s, ".+/#@$%")
	if i < 0 {
		return s, ""
	}
	w := s[i+1:]
	if s[i] != '.' && s[i] != '/' {
		w = "" // a difficulty or a referral
	}
	if j := strings.IndexAny(w, "/#+"); j >= 0 {
		w = w[:j]
	}
	return s[:i], w
}

// shape tells the coin of an address by its length and letters.
// It is whole because it is one table of the shapes, the surer ones first.
func shape(s string) Address {
	n := len(s)
	switch {
	case n < 26 || n > maxWallet:
		return Address{}
	case (n == 95 || n == 106) && (s[0] == '4' || s[0] == '8') && base58(s):
		return Address{Coin: "XMR", Wallet: s, Checked: moneroChecksum(s)}
	case n == 42 && (strings.HasPrefix(s, "0x") || strings.HasPrefix(s, "0X")) && hexOnly(s[2:]):
		return Address{Coin: "ETH", Wallet: s}
	case n >= 94 && (strings.HasPrefix(s, "ZEPH") || strings.HasPrefix(s, "SC")) && alnum(s):
		if s[0] == 'Z' {
			return Address{Coin: "ZEPH", Wallet: s}
		}
		return Address{Coin: "SAL", Wallet: s}
	case n >= 95 && (strings.HasPrefix(s, "Zx") || strings.HasPrefix(s, "iZ")) && base58(s):
		return Address{Coin: "ZANO", Wallet: s}
	case n >= 95 && n <= 110 && base58(s):
		return Address{Coin: "CryptoNote", Wallet: s}
	case strings.HasPrefix(s, "bc1") && n >= 42 && n <= 62 && lowerAlnum(s):
		return Address{Coin: "BTC", Wallet: s, Checked: bech32(s)}
	case strings.HasPrefix(s, "ltc1") && n >= 43 && n <= 63 && lowerAlnum(s):
		return Address{Coin: "LTC", Wallet: s, Checked: bech32(s)}
	case strings.HasPrefix(s, "grin1") && n == 63 && lowerAlnum(s):
		return Address{Coin: "GRIN", Wallet: s, Checked: bech32(s)}
	case s[0] == '9' && n == 51 && base58(s):
		return Address{Coin: "ERG", Wallet: s}
	case n <= 36 && base58(s):
		if coin := base58Check(s); coin != "" {
			return Address{Coin: coin, Wallet: s, Checked: true}
		}
	}
	return Address{}
}

// Short gives a wallet or login as sentences have it: the first eight and the last five bytes.
func Short(s string) string {
	if len(s) <= 20 {
		return s
	}
	return strings.ToValidUTF8(s[:8], "") + "…" + strings.ToValidUTF8(s[len(s)-5:], "")
}

const base58Digits = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"

func base58(s string) bool {
	for i := range len(s) {
		if strings.IndexByte(base58Digits, s[i]) < 0 {
			return false
		}
	}
	return true
}

func alnum(s string) bool {
	for i := range len(s) {
		c := s[i]
		if (c < '0' || c > '9') && (c|0x20 < 'a' || c|0x20 > 'z') {
			return false
		}
	}
	return s != ""
}

func lowerAlnum(s string) bool { return alnum(s) && strings.ToLower(s) == s }

func hexOnly(s string) bool {
	for i := range len(s) {
		if _, ok := chars.Hex(s[i]); !ok {
			return false
		}
	}
	return true
}

// base58Check decodes a Bitcoin-style address (version, 20 bytes, the first 4 of a double SHA-256) and names the coin
// by its version; "" if the checksum does not fit or the version is not known.
func base58Check(s string) string {
	if len(s) < 26 || len(s) > 36 {
		return ""
	}
	v, radix := new(big.Int), big.NewInt(58)
	zeros := 0
	for i := range len(s) {
		if s[i] == '1' && i == zeros {
			zeros++
		}
		v.Mul(v, radix).Add(v, big.NewInt(int64(strings.IndexByte(base58Digits, s[i]))))
	}
	raw := append(make([]byte, zeros), v.Bytes()...)
	if len(raw) != 25 && len(raw) != 26 {
		return ""
	}
	body, sum := raw[:len(raw)-4], raw[len(raw)-4:]
	h := sha256.Sum256(body)
	h = sha256.Sum256(h[:])
	if string(h[:4]) != string(sum) {
		return ""
	}
	if len(raw) == 26 {
		if v := int(raw[0])<<8 | int(raw[1]); v == 0x1cb8 || v == 0x1cbd {
			return "ZEC"
		}
		return ""
	}
	switch raw[0] {
	case 0x00, 0x05:
		return "BTC"
	case 0x30, 0x32:
		return "LTC"
	case 0x1e, 0x16:
		return "DOGE"
	case 0x3c, 0x7a:
		return "RVN"
	case 0x4c, 0x10:
		return "DASH"
	}
	return ""
}

// bech32 checks the checksum of BIP 173 or BIP 350.
func bech32(s string) bool {
	const digits = "qpzry9x8gf2tvdw0s3jn54khce6mua7l"
	sep := strings.LastIndexByte(s, '1')
	if sep < 1 || len(s)-sep < 8 {
		return false
	}
	sum := uint32(1)
	step := func(v byte) {
		top := sum >> 25
		sum = (sum&0x1ffffff)<<5 ^ uint32(v)
		for i, g := range [5]uint32{0x3b6a57b2, 0x26508e6d, 0x1ea119fa, 0x3d4233dd, 0x2a1462b3} {
			if top>>i&1 == 1 {
				sum ^= g
			}
		}
	}
	for i := range sep {
		step(s[i] >> 5)
	}
	step(0)
	for i := range sep {
		step(s[i] & 31)
	}
	for i := sep + 1; i < len(s); i++ {
		d := strings.IndexByte(digits, s[i])
		if d < 0 {
			return false
		}
		step(byte(d))
	}
	return sum == 1 || sum == 0x2bc830a3
}

// moneroChecksum decodes Monero's base58 (blocks of 8 bytes in 11 characters, the last one shorter) and compares the
// last four bytes with the Keccak-256 of the rest.
func moneroChecksum(s string) bool {
	// Characters of a block to its bytes; 0 where no block has that length.
	sizes := [12]int{0, 0, 1, 2, 0, 3, 4, 5, 0, 6, 7, 8}
	var raw [80]byte
	n := 0
	for len(s) > 0 {
		block := s[:min(11, len(s))]
		s = s[len(block):]
		size := sizes[len(block)]
		if size == 0 || n+size > len(raw) {
			return false
		}
		var v uint64
		for i := range len(block) {
			d := strings.IndexByte(base58Digits, block[i])
			hi, lo := bits.Mul64(v, 58)
			lo, carry := bits.Add64(lo, uint64(max(d, 0)), 0)
			if d < 0 || hi+carry != 0 {
				return false
			}
			v = lo
		}
		if size < 8 && v>>(8*size) != 0 {
			return false
		}
		for i := size - 1; i >= 0; i-- {
			raw[n+i] = byte(v)
			v >>= 8
		}
		n += size
	}
	if n < 5 {
		return false
	}
	sum := keccak256(raw[:n-4])
	return string(sum[:4]) == string(raw[n-4:n])
}

// keccak256 is Keccak as it was before it became SHA-3 (padding 0x01), which is what Monero uses and the standard
// library does not have. In is at most one block (135 bytes), as every address is.
func keccak256(in []byte) [32]byte {
	const rate = 136
	var block [rate]byte
	copy(block[:rate-1], in)
	block[min(len(in), rate-1)] ^= 0x01
	block[rate-1] ^= 0x80
	var a [25]uint64
	for i := range rate / 8 {
		for j := range 8 {
			a[i] |= uint64(block[i*8+j]) << (8 * j)
		}
	}
	// FIPS 202, 3.2: round constants from the LFSR of rc(t), rotation offsets and lane order from rho and pi.
	lfsr := byte(1)
	for range 24 {
		var c [5]uint64
		for x := range 5 {
			c[x] = a[x] ^ a[x+5] ^ a[x+10] ^ a[x+15] ^ a[x+20]
		}
		for x := range 5 {
			d := c[(x+4)%5] ^ bits.RotateLeft64(c[(x+1)%5], 1)
			for y := 0; y < 25; y += 5 {
				a[x+y] ^= d
			}
		}
		x, y := 1, 0
		lane := a[1]
		for t := range 24 {
			x, y = y, (2*x+3*y)%5
			lane, a[x+5*y] = a[x+5*y], bits.RotateLeft64(lane, (t+1)*(t+2)/2)
		}
		for y := 0; y < 25; y += 5 {
			r := [5]uint64(a[y : y+5])
			for x := range 5 {
				a[x+y] = r[x] ^ ^r[(x+1)%5]&r[(x+2)%5]
			}
		}
		for j := range 7 {
			if lfsr&1 == 1 {
				a[0] ^= 1 << (1<<j - 1)
			}
			carry := lfsr & 0x80
			lfsr <<= 1
			if carry != 0 {
				lfsr ^= 0x71
			}
		}
	}
	var out [32]byte
	for i := range out {
		out[i] = byte(a[i/8] >> (8 * (i % 8)))
	}
	return out
}
