package stratum

import (
	"encoding/hex"
	"strings"
	"testing"
)

func TestWallets(t *testing.T) {
	tests := []struct {
		login string
		want  Address
	}{
		{wallet, Address{"XMR", wallet, true}},
		{wallet + ".rig1+5000", Address{"XMR", wallet, true}},
		{wallet[:94] + "2", Address{"XMR", wallet[:94] + "2", false}},                                         // one character off
		{strings.Repeat("4", 11) + wallet[11:], Address{"XMR", strings.Repeat("4", 11) + wallet[11:], false}}, // same
		{wallet[:94], Address{}},
		{wallet[:90] + "0OIl1", Address{}}, // not in the alphabet
		{eth, Address{"ETH", eth, false}},
		{eth + "/rig/mail@example.org", Address{"ETH", eth, false}},
		{"SHIB:" + eth + ".w#ref", Address{"SHIB", eth, false}},
		{eth[:41], Address{}},
		{"1BoatSLRHtKNngkdXEeobR76b53LETtpyT.ray01", Address{"BTC", "1BoatSLRHtKNngkdXEeobR76b53LETtpyT", true}},
		{"1BoatSLRHtKNngkdXEeobR76b53LETtpyU", Address{}},
		{"bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t4.w", Address{"BTC", "bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t4", true}}, // BIP 173
		{"bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t5", Address{"BTC", "bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t5", false}},
		{"RXBurnXXXXXXXXXXXXXXXXXXXXXXWUo9FV", Address{"RVN", "RXBurnXXXXXXXXXXXXXXXXXXXXXXWUo9FV", true}},
		{kaspa + ".w", Address{"KAS", kaspa, false}},
		{"user.worker", Address{}},
		{"x", Address{}},
		{"", Address{}},
		{":", Address{}},
		{"averylongusernamethatisnowallet", Address{}},
		{strings.Repeat("4", 4096), Address{}},
	}
	for _, tt := range tests {
		if got := Wallet(tt.login); got != tt.want {
			t.Errorf("Wallet(%.60q) = %+v, want %+v", tt.login, got, tt.want)
		}
	}
}

// Known answers of Keccak-256 before it was SHA-3: the empty string and "abc".
func TestKeccak256(t *testing.T) {
	for in, want := range map[string]string{
		"":    "c5d2460186f7233c927e7db2dcc703c0e500b653ca82273b7bfad8045d85a470",
		"abc": "4e03657aea45a94fc7d47ba826c8d667c0d1e6e33a64a036ec44f58fa12d6c45",
	} {
		sum := keccak256([]byte(in))
		if got := hex.EncodeToString(sum[:]); got != want {
			t.Errorf("keccak256(%q) = %s", in, got)
		}
	}
}

func TestShort(t *testing.T) {
	for in, want := range map[string]string{
		wallet:                       "45MinZ6E…Nz5X1",
		"user.worker":                "user.worker",
		"ééééé0123456789012345ééééé": "éééé…éé",
	} {
		if got := Short(in); got != want {
			t.Errorf("Short(%q) = %q, want %q", in, got, want)
		}
	}
}

func FuzzWallet(f *testing.F) {
	f.Add(wallet)
	f.Add("SHIB:" + eth + ".w#ref")
	f.Add("bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t4")
	f.Fuzz(func(t *testing.T, login string) {
		a := Wallet(login)
		if (a.Coin == "") != (a.Wallet == "") || !strings.Contains(login, a.Wallet) || len(a.Wallet) > maxWallet {
			t.Errorf("Wallet(%q) = %+v", login, a)
		}
		Short(login)
	})
}
