package data

import "testing"

func TestSites(t *testing.T) {
	for host, want := range map[string]Site{
		"transfer.sh": Share, "TRANSFER.sh.": Share, "x.pastebin.com": Paste, "a.b.trycloudflare.com": Tunnel, "cdn-lfs.huggingface.co": Hub,
		"bucket.s3.eu-central-1.amazonaws.com": Store, "archive.ubuntu.com": Packages, "github.com": Forge, "gist.github.com": Code, "checkip.amazonaws.com": WhoAmI,
		"nottransfer.sh": "", "transfer.sh.example": "", "sh": "", "": "", ".": "",
	} {
		if got := SiteOf(host); got != want {
			t.Errorf("%s: %q, want %q", host, got, want)
		}
	}
	for domain, class := range sites() {
		switch class {
		case Share, Paste, Tunnel, Code, Forge, WhoAmI, Hub, Store, Packages:
		default:
			t.Errorf("%s: %q is no class", domain, class)
		}
	}
	if len(sites()) < 90 {
		t.Errorf("only %d sites", len(sites()))
	}
}
