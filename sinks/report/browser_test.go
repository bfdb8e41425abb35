package report_test

import (
	"context"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"

	"github.com/raytap/raytap/sinks/zeek"
)

// browser is a real one, with an ear on what goes wrong in it and on what it loads.
type browser struct {
	ctx      context.Context
	mu       sync.Mutex
	errors   []string
	requests []string
}

// browse opens a page from a file, as a mail's reader would.
func browse(t *testing.T, page []byte, width int64) *browser {
	t.Helper()
	if testing.Short() {
		t.Skip("a browser takes seconds")
	}
	path := ""
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome", "chrome"} {
		if p, err := exec.LookPath(name); err == nil {
			path = p
			break
		}
	}
	if path == "" {
		t.Skip("no chromium here")
	}
	file := filepath.Join(t.TempDir(), "report.html")
	if err := os.WriteFile(file, page, 0o644); err != nil {
		t.Fatal(err)
	}
	opts := append(chromedp.DefaultExecAllocatorOptions[:], chromedp.ExecPath(path), chromedp.NoSandbox)
	alloc, cancel := chromedp.NewExecAllocator(context.Background(), opts...)
	t.Cleanup(cancel)
	ctx, cancel := chromedp.NewContext(alloc)
	t.Cleanup(cancel)
	b := &browser{ctx: ctx}
	hear := func(ev any) {
		b.mu.Lock()
		defer b.mu.Unlock()
		switch ev := ev.(type) {
		case *runtime.EventExceptionThrown:
			b.errors = append(b.errors, ev.ExceptionDetails.Text)
		case *log.EventEntryAdded:
			b.errors = append(b.errors, ev.Entry.Text)
		case *network.EventRequestWillBeSent:
			b.requests = append(b.requests, ev.Request.URL)
		}
	}
	if err := chromedp.Listen(ctx, hear); err != nil {
		t.Fatal(err)
	}
	if _, err := chromedp.Call(ctx, network.Enable, network.EnableParams{}); err != nil {
		t.Fatal(err)
	}
	if _, err := chromedp.Call(ctx, log.Enable, cdp.Empty{}); err != nil {
		t.Fatal(err)
	}
	size := chromedp.EmulateViewport(width, 900)
	if width < 600 {
		size = chromedp.EmulateViewport(width, 900, chromedp.EmulateMobile)
	}
	b.do(t, size, chromedp.Navigate((&url.URL{Scheme: "file", Path: file}).String()))
	return b
}

func (b *browser) do(t *testing.T, actions ...chromedp.Action[chromedp.Void]) {
	t.Helper()
	if err := chromedp.Do(b.ctx, actions...); err != nil {
		t.Fatal(err)
	}
}

func eval[T any](t *testing.T, b *browser, js string) T {
	t.Helper()
	v, err := chromedp.Run(b.ctx, chromedp.Evaluate[T](js))
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// quiet says that nothing went wrong, nothing but the file was loaded, and no text became markup.
func (b *browser) quiet(t *testing.T) {
	t.Helper()
	if eval[bool](t, b, `window.pwned !== undefined`) {
		t.Error("text from the wire was executed")
	}
	if n := eval[int](t, b, `document.querySelectorAll('script').length`); n != 1 {
		t.Errorf("%d scripts", n)
	}
	if n := eval[int](t, b, `document.querySelectorAll('img, iframe, object, embed, link, base, form[action]').length`); n != 0 {
		t.Errorf("%d elements that are none of ours", n)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, e := range b.errors {
		t.Errorf("the browser says: %s", e)
	}
	if len(b.requests) != 1 || !strings.HasPrefix(b.requests[0], "file://") {
		t.Errorf("loaded %q", b.requests)
	}
}

const shownRows = `[...document.querySelectorAll('#ft tbody tr')].filter(r => r.getClientRects().length > 0)`

func (b *browser) shown(t *testing.T) []string {
	t.Helper()
	return eval[[]string](t, b, shownRows+`.map(r => r.dataset.rule)`)
}

func TestBrowserFiltersAndSorts(t *testing.T) {
	b := browse(t, page(t, read(t, replay(t, "../../pcaps/shadowray.pcap.gz", zeek.TSV))), 1280)
	all := b.shown(t)
	if len(all) < 6 || all[0] != "jobsubmit/external" {
		t.Fatalf("rows %q", all)
	}
	search := func(q string) []string {
		eval[string](t, b, `document.getElementById('q').value = ''`)
		b.do(t, chromedp.SendKeys(chromedp.CSS("#q"), q))
		return b.shown(t)
	}
	for q, want := range map[string]string{
		"looks supportxmr.com": "mining/pool",        // an indicator as it is, though it is shown in brackets
		"pool[.]supportxmr 97": "mining/stratum",     // and as it is shown
		"rayapi/EXPOSED":       "rayapi/exposed",     // a rule
		"score 200":            "jobsubmit/dropper",  // detail that is folded away
		"no such thing":        "",                   //
		"x-ray ":               "",                   // no part of "ray"
		"fetches a miner":      "jobsubmit/external", // its detail; the dropper's sentence has it too
	} {
		got := search(q)
		if want == "" && len(got) != 0 || want != "" && (!slices.Contains(got, want) || len(got) > 3) {
			t.Errorf("%q finds %q, want %s", q, got, want)
		}
		if status := eval[string](t, b, `document.getElementById('shown').textContent`); status != fmt.Sprintf("%d of %d findings shown", len(got), len(all)) {
			t.Errorf("%q: status %q", q, status)
		}
	}
	search(" ")
	b.press(t, `input[name=sev][value=critical]`)
	if got := b.shown(t); len(got) < 3 || len(got) >= len(all) || slices.Contains(got, "jobsubmit/external") {
		t.Errorf("without critical: %q", got)
	}
	b.press(t, `input[name=sev][value=critical]`)
	// The keyboard sorts: Tab to the header's button, Enter.
	b.do(t, chromedp.Focus(chromedp.CSS(`button[data-key=time]`)), chromedp.SendKeys(chromedp.CSS(`button[data-key=time]`), "\r"))
	times := eval[[]string](t, b, shownRows+`.map(r => r.dataset.time)`)
	for i := 1; i < len(times); i++ {
		if times[i] < times[i-1] {
			t.Errorf("times %q", times)
		}
	}
	if s := eval[[]string](t, b, `[...document.querySelectorAll('#ft th')].map(h => h.getAttribute('aria-sort') || '')`); strings.Join(s, ",") != ",ascending,,," {
		t.Errorf("aria-sort %q", s)
	}
	b.press(t, "#open")
	if n := eval[int](t, b, `document.querySelectorAll('#ft details[open]').length`); n != len(all) {
		t.Errorf("%d open", n)
	}
	eval[bool](t, b, `document.getElementById('rule').value = 'mining/pool', document.getElementById('rule').dispatchEvent(new Event('change'))`)
	if got := b.shown(t); len(got) != 1 || got[0] != "mining/pool" {
		t.Errorf("by rule: %q", got)
	}
	b.quiet(t)
}

// TestBrowserFitsTheScreen: nothing sticks out of the page, on a desk or on a telephone, and everything that can be
// pressed has a name.
func TestBrowserFitsTheScreen(t *testing.T) {
	got := page(t, read(t, replay(t, "../../pcaps/shadowray.pcap.gz", zeek.TSV)))
	for _, width := range []int64{1280, 400} {
		b := browse(t, got, width)
		if w := eval[int64](t, b, `document.documentElement.scrollWidth`); w > width {
			t.Errorf("%d wide at %d: %q", w, width, eval[[]string](t, b, fmt.Sprintf(`[...document.querySelectorAll('body *')].filter(e =>
				e.getBoundingClientRect().right > %d && !e.closest('.scroll, nav ul')).map(e => e.tagName + '.' + e.getAttribute('class'))`, width)))
		}
		if n := eval[int](t, b, `[...document.querySelectorAll('button, input, select, a')].filter(e => !(e.getAttribute('aria-label') || e.textContent.trim() || e.labels && e.labels[0].textContent.trim())).length`); n != 0 {
			t.Errorf("%d controls without a name", n)
		}
		b.quiet(t)
	}
}

func TestBrowserRunsNothingFromTheWire(t *testing.T) {
	b := browse(t, page(t, read(t, replay(t, hostile(t), zeek.TSV))), 1280)
	b.press(t, "#open")
	b.do(t, chromedp.SendKeys(chromedp.CSS("#q"), "<script>"))
	if len(b.shown(t)) == 0 {
		t.Error("markup is not found as text")
	}
	eval[int](t, b, `[...document.querySelectorAll('button')].map(b => b.click()).length`)
	b.quiet(t)
}

func TestBrowserOpensALargeReport(t *testing.T) {
	b := browse(t, page(t, read(t, many(t, 100_000, 15_000))), 1280)
	ms := eval[float64](t, b, `performance.getEntriesByType('navigation')[0].loadEventEnd`)
	t.Logf("open after %.0f ms", ms)
	before := len(b.shown(t))
	b.do(t, chromedp.SendKeys(chromedp.CSS("#q"), "h44.example"))
	if n := len(b.shown(t)); before < 100 || n != 1 {
		t.Errorf("%d rows, %d of them found", before, n)
	}
	b.quiet(t)
}

// press clicks by script: findings are laid out when they come into view, and a pointer aimed at a place would miss what
// has moved since.
func (b *browser) press(t *testing.T, selector string) {
	t.Helper()
	eval[bool](t, b, fmt.Sprintf("(document.querySelector(%q).click(), true)", selector))
}
