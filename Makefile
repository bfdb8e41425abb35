# raytap: build, test, measure. Everything needs Go alone; what a target needs besides, it says.

GO      ?= go
VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo unknown)

export CGO_ENABLED = 0

.PHONY: build test race fuzz evade evade-tcp bench check clean mixes pgo deb zeek-diff compare wire help deb-version

build: ## bin/raytap, static
	$(GO) build -trimpath -ldflags '-s -w -X main.version=$(VERSION)' -o bin/raytap ./cmd/raytap

test: ## all tests; those over the public corpus and against other tools skip with a message where these are missing
	$(GO) test ./...

race: ## the engine under the race detector (needs a C compiler)
	CGO_ENABLED=1 $(GO) test -race -short ./...

FUZZTIME ?= 20s
# An input that covers something new is made smaller with ten tries and not for a minute, which was all that the targets with
# whole captures did.
fuzz: ## every fuzz target for FUZZTIME
	@for p in $$($(GO) list ./...); do \
	  for f in $$($(GO) test -list '^Fuzz' $$p | grep '^Fuzz'); do \
	    echo "$$p $$f"; $(GO) test $$p -run '^$$' -fuzz "^$$f$$" -fuzztime $(FUZZTIME) -fuzzminimizetime 10x || exit 1; \
	  done; \
	done

evade: ## every way to write a job in testdata/evade, sent to the aiohttp of PYTHON (several: one for each release); skips without it
	python3 testdata/evade/run.py check $(PYTHON)

evade-tcp: ## every way to send a job in testdata/evade/tcp, over network namespaces to the kernel and aiohttp; skips without root or packages
	$(or $(PYTHON),python3) testdata/evade/tcp/tcp.py check

bench: ## packets per CPU second and memory per flow
	$(GO) test -run '^$$' -bench . -benchmem ./...

check: ## what a change must pass besides the tests
	@test -z "$$(gofmt -l .)" || { gofmt -l .; exit 1; }
	$(GO) vet ./...
	$(GO) run honnef.co/go/tools/cmd/staticcheck@v0.8.1 ./...

deb-version: ## the version that `make deb` gives its package
	@echo $(DEB_VERSION)

clean: ## what was built and written
	rm -rf bin dist raytap-logs

mixes: ## the captures that the benchmarks of the README run on, in bin/
	$(GO) build -o bin/mixgen ./cmd/mixgen
	for m in http churn bulk; do bin/mixgen -mix $$m -packets 2000000 > bin/$$m.pcap; done

pgo: build mixes ## a new cmd/raytap/default.pgo, which the build uses
	for m in http churn bulk; do for i in 1 2 3 4; do bin/raytap replay --quiet --workers 1 --cpuprofile bin/$$m.$$i.prof --out bin/logs bin/$$m.pcap; done; done
	$(GO) tool pprof -proto bin/*.prof > cmd/raytap/default.pgo

NFPM        ?= github.com/goreleaser/nfpm/v2/cmd/nfpm@v2.45.2
# It sorts: v1.2.0 is 1.2.0; three commits behind it 1.2.0+git20261129.3.f4dfe08; without any release 0.0.0+git20261129.N.f4dfe08,
# where N counts all commits, since a day may have several.
DEB_VERSION ?= $(or $(shell git describe --tags --match 'v[0-9]*' --exact-match 2>/dev/null | sed 's/^v//; s/-/~/'),$(shell \
  tag=$$(git describe --tags --match 'v[0-9]*' --abbrev=0 2>/dev/null); \
  echo $${tag:-v0.0.0} | sed 's/^v//; s/-/~/' | tr -d '\n'; \
  TZ=UTC git log -1 --date=format-local:%Y%m%d --format=+git%cd | tr -d '\n'; \
  echo .$$(git rev-list --count $${tag:+$$tag..}HEAD).$$(git rev-parse --short HEAD)))
DEB_ARCH    ?= $(shell $(GO) env GOARCH)
deb: build ## dist/raytap_VERSION_ARCH.deb
	mkdir -p dist
	DEB_VERSION='$(DEB_VERSION)' DEB_ARCH='$(DEB_ARCH)' $(GO) run $(NFPM) package --config cmd/raytap/packaging/nfpm.yaml --packager deb --target dist/
PEERS ?= ../shared/peers
CORPUS ?= ../shared/corpus/public.tar.zst
ZEEKDIFF = bin/zeek-diff
zeek-diff: build ## our rows beside a real Zeek's over the public captures, checksums ignored and checked, as docs/zeek.md has them; needs both of them there
	@test -e $(PEERS)/zdiff.py && test -e $(CORPUS) || { echo "zeek-diff: $(PEERS) or $(CORPUS) is not there"; exit 1; }
	@rm -rf $(ZEEKDIFF) && mkdir -p $(ZEEKDIFF)/zeek $(ZEEKDIFF)/zeek-checked
	@tar --zstd -xf $(CORPUS) -C $(ZEEKDIFF)
	@tar --zstd -xf $(PEERS)/zeek-dev.tar.zst -C $(ZEEKDIFF)/zeek 2>/dev/null || $(PEERS)/zeek.sh $(ZEEKDIFF)/zeek $(ZEEKDIFF)/dev/*
	@tar --zstd -xf $(PEERS)/zeek-dev-checked.tar.zst -C $(ZEEKDIFF)/zeek-checked 2>/dev/null || ZEEK_ARGS= $(PEERS)/zeek.sh $(ZEEKDIFF)/zeek-checked $(ZEEKDIFF)/dev/*
	@printf 'order: {wait: 0s}\n' > $(ZEEKDIFF)/as-zeek.yaml
	@for f in $(ZEEKDIFF)/dev/*; do \
	  bin/raytap replay --quiet --config $(ZEEKDIFF)/as-zeek.yaml --checksums ignore --format json --out $(ZEEKDIFF)/raytap/$$(basename $$f) $$f; \
	  bin/raytap replay --quiet --config $(ZEEKDIFF)/as-zeek.yaml --checksums strict --format json --out $(ZEEKDIFF)/raytap-checked/$$(basename $$f) $$f; \
	done >/dev/null 2>&1; true
	@for d in $(ZEEKDIFF)/raytap/* $(ZEEKDIFF)/raytap-checked/*; do for l in http:'"version":"2"' files:'"source":"HTTP2"'; do \
	  f=$$d/$${l%%:*}.log; test ! -e $$f || sed -i "/$${l#*:}/d" $$f; done; done # what Zeek has no reader of: docs/zeek.md
	@python3 $(PEERS)/zdiff.py --columns $(ZEEKDIFF)/zeek $(ZEEKDIFF)/raytap | tee $(ZEEKDIFF)/ignored.txt
	@python3 $(PEERS)/zdiff.py --columns $(ZEEKDIFF)/zeek-checked $(ZEEKDIFF)/raytap-checked | tee $(ZEEKDIFF)/checked.txt
	@echo "| log | rows of Zeek | agree, checksums ignored | rows of Zeek | agree, checksums checked |"; echo "|---|---|---|---|---|"
	@awk '/of rows agree/ { row = $$1; pct = $$2; sub(/.*agree  zeek /, ""); sub(/,.*/, ""); n[row, FNR == NR] = $$0; p[row, FNR == NR] = pct; if (FNR == NR) o[++k] = row } \
	  END { for (i = 1; i <= k; i++) printf "| %s | %s | %s | %s | %s |\n", o[i], n[o[i], 1], p[o[i], 1], n[o[i], 0], p[o[i], 0] }' $(ZEEKDIFF)/ignored.txt $(ZEEKDIFF)/checked.txt
compare: ## CPU time a packet beside suricata, zeek, ndpiReader, tshark and tcpdump, those that are there
	cmd/mixgen/compare.sh
wire: ## rates and CPU time of the sensor beside suricata on a cable; takes root, tcpreplay, suricata
	cmd/mixgen/wire.sh
	cmd/mixgen/record.sh
help: ## this list
	@awk -F ':[^#]*## ' '/^[a-z-]+:.*## / { printf "  %-10s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))
