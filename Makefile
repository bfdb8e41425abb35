# raytap: build, test, measure. Everything needs Go alone; what a target needs besides, it says.

GO      ?= go
VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo unknown)

export CGO_ENABLED = 0

.PHONY: build fleet-load test race cross vuln fuzz evade evade-tcp bench check clean mixes pgo stage deb rpm packages package-lint licenses image install corpus zeek-diff compare wire help deb-version fleet-join

build: ## bin/raytap and bin/raytap-hub, static
	$(GO) build -trimpath -ldflags '-s -w -X main.version=$(VERSION)' -o bin/raytap ./cmd/raytap
	$(GO) build -trimpath -ldflags '-s -w -X main.version=$(VERSION)' -o bin/raytap-hub ./cmd/raytap-hub

# A test that is skipped looks like one that passes; behind the packages stands what was, and why. SKIPS is a file of reasons
# that are fine: for any other it fails.
test: ## all tests; those over the public corpus and against other tools skip where these are missing, and it is told
	@$(GO) test -json $(TESTFLAGS) ./... | $(GO) run ./cmd/testsum $(if $(SKIPS),-allow '$(SKIPS)')

# What has goroutines: the engine and the captures of test/ drive decoders, interpreters and detectors, which have none.
RACE   = . ./capture ./cmd/raytap ./cmd/raytap-hub ./engine ./feeds ./fleet/... ./record ./sinks/files ./sinks/syslog ./sinks/webhook ./sinks/zeek
RACED  = TestSameOutput|TestShunt|TestEvidence|TestTap|TestLive|TestWireTwists|TestInventory|TestFiles

race: ## what has goroutines, under the race detector (needs a C compiler)
	CGO_ENABLED=1 $(GO) test -race -short $(RACE)
	CGO_ENABLED=1 $(GO) test -race -short -run '$(RACED)' ./test

FUZZTIME ?= 20s
# An input that covers something new is made smaller with ten tries and not for a minute, which was all that the targets with
# whole captures did.
fuzz: ## every fuzz target for FUZZTIME
	@for p in $$($(GO) list ./...); do \
	  for f in $$($(GO) test -list '^Fuzz' $$p | grep '^Fuzz'); do \
	    echo "$$p $$f"; $(GO) test $$p -run '^$$' -fuzz "^$$f$$" -fuzztime $(FUZZTIME) -fuzzminimizetime 10x || exit 1; \
	  done; \
	done

fleet-join: ## what a hub joins of three sensors against one replay of the whole, over every labelled capture or CAPTURES="PATTERN ..."; a minute or more
	JOIN_CAPTURES='$(or $(CAPTURES),all)' $(GO) test -count 1 -run '^TestEquivalence$$' -v ./fleet/join | awk '/^(ok|FAIL|panic)|lost:|alien:|equal$$|--- FAIL/ {print} /^(FAIL|panic)/ {bad = 1} END {exit bad}'

evade: ## every way to write a job in testdata/evade, sent to the aiohttp of PYTHON (several: one for each release); skips without it
	python3 testdata/evade/run.py check $(PYTHON)

evade-tcp: ## every way to send a job in testdata/evade/tcp, over network namespaces to the kernel and aiohttp; skips without root or packages
	$(or $(PYTHON),python3) testdata/evade/tcp/tcp.py check

fleet-load: ## a hub under load: 100 sensors, 20 kills, 10,000 strangers, a network cut for minutes; takes a quarter of an hour and two processors
	RAYTAP_FLEET_LOAD=1 $(GO) test -count 1 -timeout 60m -v -run 'TestKill|TestLoad|TestStrangers|TestCut' ./cmd/raytap-hub
	RAYTAP_FLEET_LOAD=1 $(GO) test -count 1 -timeout 60m -v -run 'TestDiskFull|TestThreeServers' ./fleet/hub

bench: ## packets per CPU second and memory per flow
	$(GO) test -run '^$$' -bench . -benchmem ./...

check: ## what a change must pass besides the tests: format, vet, staticcheck, spelling
	@test -z "$$(gofmt -l .)" || { gofmt -l .; exit 1; }
	$(GO) vet ./...
	$(GO) run honnef.co/go/tools/cmd/staticcheck@v0.8.1 ./...
	$(GO) run github.com/golangci/misspell/cmd/misspell@v0.7.0 -error -i mosquitto *.md *.go $(filter-out pcaps/ testdata/ bin/ dist/,$(wildcard */))

cross: ## that it builds for other systems; a sensor runs on Linux alone
	@for t in linux/amd64 linux/arm64 darwin/amd64 darwin/arm64 windows/amd64; do \
	  echo $$t; GOOS=$${t%/*} GOARCH=$${t#*/} $(GO) build -o /dev/null ./cmd/raytap || exit 1; \
	  GOOS=$${t%/*} GOARCH=$${t#*/} $(GO) vet ./... || exit 1; \
	done

GOVULNCHECK ?= golang.org/x/vuln/cmd/govulncheck@v1.1.4
vuln: ## known vulnerabilities in what the program calls
	$(GO) run $(GOVULNCHECK) ./...

deb-version: ## the version that `make deb` gives its package
	@echo $(DEB_VERSION)

clean: ## what was built and written
	rm -rf bin dist raytap-logs

mixes: ## the captures that the benchmarks of docs/performance.md run on, in bin/
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

PREFIX     ?= /usr/local
SYSCONFDIR ?= /etc
UNITDIR    ?= $(PREFIX)/lib/systemd/system
PACKAGING  := cmd/raytap/packaging
STAGE      := dist/stage
MAINTAINER := raytap <raytap@users.noreply.github.com>

# What packages and `make install` have besides the program. The program that prints the completion runs here, whatever it
# is built for.
stage:
	@rm -rf $(STAGE) && mkdir -p $(STAGE)/man $(STAGE)/completion
	@mkdir -p $(STAGE)/doc/packaging && cp -R docs $(STAGE)/doc/docs && cp SECURITY.md CHANGELOG.md config/raytap.yaml $(STAGE)/doc/
	@cp -R $(PACKAGING)/README.md $(PACKAGING)/Dockerfile $(PACKAGING)/kubernetes $(STAGE)/doc/packaging/
	@GO='$(GO)' $(PACKAGING)/licenses.sh > $(STAGE)/doc/third-party-licenses.txt && cp detectors/data/LICENSES.md $(STAGE)/doc/data-licenses.md
	@sed 's|$(PACKAGING)/|packaging/|g; s|](LICENSE)|](/usr/share/common-licenses/Apache-2.0)|' README.md > $(STAGE)/doc/README.md
	@sed 's|../$(PACKAGING)/|../packaging/|g' docs/guide.md > $(STAGE)/doc/docs/guide.md
	@for f in usage reference; do sed 's|(../config/raytap.yaml)|(../raytap.yaml)|' docs/$$f.md > $(STAGE)/doc/docs/$$f.md; done
	@for f in $(PACKAGING)/man/*; do gzip -9nc $$f > $(STAGE)/man/$${f##*/}.gz; done
	@gzip -9nc CHANGELOG.md > $(STAGE)/changelog.gz
	@awk -v version='$(DEB_VERSION)' -v date="$$(TZ=UTC git log -1 --date=format-local:%Y-%m-%dT%H:%M:%SZ --format=%cd 2>/dev/null || date -u +%Y-%m-%dT%H:%M:%SZ)" \
	  -v packager='$(MAINTAINER)' -f $(PACKAGING)/changelog.awk CHANGELOG.md > $(STAGE)/changelog.yaml
	@GOOS= GOARCH= $(GO) build -o $(STAGE)/host/raytap ./cmd/raytap
	@for s in bash zsh fish; do $(STAGE)/host/raytap completion $$s > $(STAGE)/completion/raytap.$$s; done
	@rm -r $(STAGE)/host
	@find $(STAGE) -type d -exec chmod 755 {} + -o -type f -exec chmod 644 {} +

ARCH ?= $(shell $(GO) env GOARCH)
# package KIND: dist/ with what nfpm makes for ARCH.
define package
	GOOS=linux GOARCH=$(ARCH) $(GO) build -trimpath -ldflags '-s -w -X main.version=$(DEB_VERSION)' -o $(STAGE)/raytap ./cmd/raytap
	GOOS=linux GOARCH=$(ARCH) $(GO) build -trimpath -ldflags '-s -w -X main.version=$(DEB_VERSION)' -o $(STAGE)/raytap-hub ./cmd/raytap-hub
	{ cat $(PACKAGING)/nfpm.yaml; cd $(STAGE); \
	  find doc -type f | sort | sed 's|^doc/\(.*\)|  - {src: $(STAGE)/doc/\1, dst: /usr/share/doc/raytap/\1, packager: rpm, type: doc, file_info: {mode: 0644}}|'; \
	  find man -type f | sort | sed 's|^man/\(.*\.\(.\)\.gz\)|  - {src: $(STAGE)/man/\1, dst: /usr/share/man/man\2/\1, packager: rpm, type: doc, file_info: {mode: 0644}}|'; } > $(STAGE)/nfpm.yaml
	DEB_VERSION='$(DEB_VERSION)' ARCH='$(ARCH)' GOFLAGS= $(GO) run $(NFPM) package --config $(STAGE)/nfpm.yaml --packager $(1) --target dist/
endef

deb: stage ## dist/raytap_VERSION_ARCH.deb; ARCH=arm64 for another machine
	$(call package,deb)

rpm: stage ## dist/raytap-VERSION.ARCH.rpm, likewise
	$(call package,rpm)

packages: ## both of them for amd64 and arm64
	for a in amd64 arm64; do $(MAKE) deb ARCH=$$a && $(MAKE) rpm ARCH=$$a || exit 1; done

DOCKER ?= docker
IMAGE  ?= raytap
image: ## the image IMAGE:VERSION by DOCKER (docker or podman), with IMAGE_FLAGS
	$(DOCKER) build -f $(PACKAGING)/Dockerfile $(IMAGE_FLAGS) -t $(IMAGE):$(subst +,-,$(VERSION)) --build-arg VERSION='$(VERSION)' \
	  --build-arg REVISION="$$(git rev-parse HEAD)" --build-arg CREATED="$$(date -u +%Y-%m-%dT%H:%M:%SZ)" .

licenses: ## those of the Go modules that are linked in
	@GO='$(GO)' $(PACKAGING)/licenses.sh

package-lint: ## what lintian and rpmlint, those that are there, say of the packages in dist/
	@command -v lintian >/dev/null || echo "package-lint: no lintian"
	@command -v rpmlint >/dev/null || echo "package-lint: no rpmlint"
	@! command -v lintian >/dev/null || lintian --fail-on error,warning --allow-root dist/*.deb
	@! command -v rpmlint >/dev/null || rpmlint -r $(PACKAGING)/rpmlintrc dist/*.rpm

install: build stage ## program, man pages, completion, documents, systemd unit: PREFIX (/usr/local), DESTDIR, SYSCONFDIR, UNITDIR
	install -d $(DESTDIR)$(PREFIX)/bin $(DESTDIR)$(PREFIX)/share/man/man1 $(DESTDIR)$(PREFIX)/share/man/man5 $(DESTDIR)$(PREFIX)/share/doc/raytap \
	  $(DESTDIR)$(PREFIX)/share/bash-completion/completions $(DESTDIR)$(PREFIX)/share/zsh/site-functions $(DESTDIR)$(PREFIX)/share/fish/vendor_completions.d \
	  $(DESTDIR)$(UNITDIR) $(DESTDIR)$(PREFIX)/lib/sysusers.d $(DESTDIR)$(SYSCONFDIR)/raytap
	install -m 755 bin/raytap $(DESTDIR)$(PREFIX)/bin/raytap
	install -m 755 bin/raytap-hub $(DESTDIR)$(PREFIX)/bin/raytap-hub
	install -m 644 $(STAGE)/man/*.1.gz $(DESTDIR)$(PREFIX)/share/man/man1/
	install -m 644 $(STAGE)/man/*.5.gz $(DESTDIR)$(PREFIX)/share/man/man5/
	install -m 644 $(STAGE)/completion/raytap.bash $(DESTDIR)$(PREFIX)/share/bash-completion/completions/raytap
	install -m 644 $(STAGE)/completion/raytap.zsh $(DESTDIR)$(PREFIX)/share/zsh/site-functions/_raytap
	install -m 644 $(STAGE)/completion/raytap.fish $(DESTDIR)$(PREFIX)/share/fish/vendor_completions.d/raytap.fish
	install -m 644 LICENSE $(DESTDIR)$(PREFIX)/share/doc/raytap/
	cp -R $(STAGE)/doc/. $(DESTDIR)$(PREFIX)/share/doc/raytap/
	sed 's|/usr/bin/raytap|$(PREFIX)/bin/raytap|; s|/etc/raytap|$(SYSCONFDIR)/raytap|' $(PACKAGING)/raytap.service > $(DESTDIR)$(UNITDIR)/raytap.service
	sed 's|/usr/bin/raytap|$(PREFIX)/bin/raytap|' $(PACKAGING)/raytap-hub.service > $(DESTDIR)$(UNITDIR)/raytap-hub.service
	install -m 644 $(PACKAGING)/raytap.sysusers $(DESTDIR)$(PREFIX)/lib/sysusers.d/raytap.conf
	test -e $(DESTDIR)$(SYSCONFDIR)/raytap/raytap.yaml || sed 's|/usr/share|$(PREFIX)/share|' $(PACKAGING)/raytap.yaml > $(DESTDIR)$(SYSCONFDIR)/raytap/raytap.yaml

CORPUS ?= bin/corpus
corpus: ## the public captures that docs/zeek.md is about, in bin/corpus; needs git, python3 and the network
	python3 testdata/corpus/fetch.py $(CORPUS)

# Logs of a real Zeek, a folder for each capture or an archive of such, and a script that makes them: SCRIPT OUTDIR CAPTURE...
PEERS             ?= ../shared/peers
ZEEK              ?= $(PEERS)/zeek.sh
ZEEK_LOGS         ?= $(PEERS)/zeek-dev.tar.zst
ZEEK_LOGS_CHECKED ?= $(PEERS)/zeek-dev-checked.tar.zst
ZEEKDIFF = bin/zeek-diff
zeek-diff: build ## our rows alongside a real Zeek's over the public captures, checksums ignored and checked, as docs/zeek.md has them; needs `make corpus` and Zeek (testdata/corpus/README.md)
	@rm -rf $(ZEEKDIFF) && mkdir -p $(ZEEKDIFF)/zeek $(ZEEKDIFF)/zeek-checked
	@if test -d $(CORPUS)/dev; then ln -s "$$(realpath $(CORPUS)/dev)" $(ZEEKDIFF)/dev; \
	  elif test -e ../shared/corpus/public.tar.zst; then tar --zstd -xf ../shared/corpus/public.tar.zst -C $(ZEEKDIFF); \
	  else echo "zeek-diff: no captures: make corpus"; exit 1; fi
	@unpack() { if test -d "$$1"; then cp -R "$$1/." "$$2"; else tar --zstd -xf "$$1" -C "$$2" 2>/dev/null; fi; }; \
	unpack $(ZEEK_LOGS) $(ZEEKDIFF)/zeek || $(ZEEK) $(ZEEKDIFF)/zeek $(ZEEKDIFF)/dev/* && \
	{ unpack $(ZEEK_LOGS_CHECKED) $(ZEEKDIFF)/zeek-checked || ZEEK_ARGS= $(ZEEK) $(ZEEKDIFF)/zeek-checked $(ZEEKDIFF)/dev/*; } || \
	{ echo "zeek-diff: no logs of Zeek, and no Zeek: testdata/corpus/README.md"; exit 1; }
	@printf 'order: {wait: 0s}\n' > $(ZEEKDIFF)/as-zeek.yaml
	@for f in $(ZEEKDIFF)/dev/*; do \
	  bin/raytap replay --quiet --config $(ZEEKDIFF)/as-zeek.yaml --checksums ignore --format json --out $(ZEEKDIFF)/raytap/$$(basename $$f) $$f; \
	  bin/raytap replay --quiet --config $(ZEEKDIFF)/as-zeek.yaml --checksums strict --format json --out $(ZEEKDIFF)/raytap-checked/$$(basename $$f) $$f; \
	done >/dev/null 2>&1; true
	@for d in $(ZEEKDIFF)/raytap/* $(ZEEKDIFF)/raytap-checked/*; do for l in http:'"version":"2"' files:'"source":"HTTP2"'; do \
	  f=$$d/$${l%%:*}.log; test ! -e $$f || sed -i "/$${l#*:}/d" $$f; done; done # what Zeek has no reader of: docs/zeek.md
	@python3 testdata/corpus/zdiff.py --columns $(ZEEKDIFF)/zeek $(ZEEKDIFF)/raytap | tee $(ZEEKDIFF)/ignored.txt
	@python3 testdata/corpus/zdiff.py --columns $(ZEEKDIFF)/zeek-checked $(ZEEKDIFF)/raytap-checked | tee $(ZEEKDIFF)/checked.txt
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
