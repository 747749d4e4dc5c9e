# Tandem. `make demo` and `make test` do all their own set-up on a Debian machine with Go and make.

GO      ?= go
VERSION := $(shell git describe --tags --always --dirty 2>/dev/null || echo devel)
LDFLAGS := -ldflags '-X main.version=$(VERSION)'

FUZZTIME  ?= 10s
BENCHTIME ?= 1s

.PHONY: build demo run test lint fuzz bench quick soak gobench peers clean

build: ## bin/tandem, bin/tandem-bench
	@mkdir -p bin
	CGO_ENABLED=0 $(GO) build $(LDFLAGS) -o bin/ ./cmd/...

demo: build ## a real call through Tandem, on loopback
	./bin/tandem demo $(DEMO)

run: build ## both planes on loopback, waiting for a call
	./bin/tandem run $(RUN)

peers: ## the Debian packages that serve as real peers, where they are missing
	@./bench/peers/install && ./bench/calls/install

test: peers build ## everything, twice: as built, and under the race detector
	$(GO) run ./internal/suite

lint: ## gofmt, go vet, staticcheck
	@test -z "$$(gofmt -l .)" || { echo 'gofmt would change:'; gofmt -l .; exit 1; }
	$(GO) vet ./...
	$(GO) tool staticcheck ./...

fuzz: ## every fuzz target, FUZZTIME each
	@$(GO) list ./... | while read -r package; do \
		for target in $$($(GO) test -list '^Fuzz' "$$package" | grep '^Fuzz'); do \
			echo "== $$package $$target"; \
			$(GO) test -run '^$$' -fuzz "^$$target\$$" -fuzztime $(FUZZTIME) -fuzzminimizetime 20x "$$package" || exit 1; \
		done; \
	done

bench: peers build ## the rig's whole set, beside rtpengine and Kamailio, into BENCHMARKS.md and bench/results: root, two processors, two hours of quiet
	./bin/tandem-bench all

quick: peers build ## the rig at a modest rate: does it run, and by the path it should?
	./bin/tandem-bench relay --engine sockets --mode both --streams 200 --rate 10000 --quick
	./bin/tandem-bench relay --engine funnel --mode both --streams 200 --rate 10000 --quick --rival rtpengine

soak: build ## 500 calls up with audio, 50 begun and ended a second, for 20 minutes (SOAK='--seconds 60': a minute): nothing lost, nothing left
	./bin/tandem-bench soak $(SOAK)

gobench: ## the Go benchmark suite, in a form that benchstat compares
	$(GO) test -run '^$$' -bench . -benchtime $(BENCHTIME) -benchmem ./...

clean:
	rm -rf bin
