# make demo, make test: everything from nothing, on Debian with Go, make and git.

GO ?= go

# Each example of a sink is a module of its own.
EXAMPLES := $(dir $(wildcard examples/*/go.mod))

.PHONY: all build demo test setup lint matrix soak fuzz bench race proto clean

all: build

build:
	$(GO) build -o bin/walplex ./host/cmd/walplex

# A throwaway cluster, three sinks, a load, and the proof that nothing was lost.
demo: setup build
	./bin/walplex demo

# What CI runs.
test: setup lint
	$(GO) test -timeout 29m ./...
	@set -e; for d in $(EXAMPLES); do (set -x; cd $$d && $(GO) test ./...); done

# PostgreSQL and Node.js from the distribution's packages, where they are missing.
setup:
	@sh .ci/setup

lint:
	@test -z "$$(gofmt -l $$(git ls-files '*.go'))" || { gofmt -l $$(git ls-files '*.go'); echo 'run gofmt -w on these'; exit 1; }
	$(GO) vet ./...
	@set -e; for d in $(EXAMPLES); do (set -x; cd $$d && $(GO) vet ./...); done

# The race detector over everything that has goroutines, the walplex program included.
race: setup
	$(GO) test -race -timeout 30m ./sdk/... ./host/... ./plugins/... ./config/...

# Servers of PostgreSQL 14 to 18, from the npm registry: the workload, the reader,
# pg_walinspect, all three sinks, a backup restored, redo after each record, pages and
# rows of the past, against each.
matrix: setup
	$(GO) test -tags matrix -count=1 -v -timeout 1h ./host/internal/matrix ./host/internal/consistency ./host/internal/tablerecover
	$(GO) test -tags matrix -count=1 -v -timeout 1h -run OfMajors ./host/internal/e2e

# ROUNDS of kill -9 over host, sink and server under load; `make test` has 5. The
# seed is printed, and WALPLEX_SOAK_SEED repeats it.
ROUNDS ?= 50
soak: setup
	WALPLEX_SOAK_ROUNDS=$(ROUNDS) $(GO) test -count=1 -v -timeout 2h -run TestKillRounds ./host/internal/e2e

# Every fuzz target for FUZZTIME each.
FUZZTIME ?= 30s
fuzz:
	@set -e; for p in $$($(GO) list ./...); do \
		for f in $$($(GO) test -list '^Fuzz' $$p | grep '^Fuzz' || true); do \
			echo "$$p $$f"; $(GO) test -run '^$$' -fuzz "^$$f$$" -fuzztime $(FUZZTIME) $$p; \
		done; \
	done

# The benchmarks of go test, and tables of ratios against peers: see `go doc
# ./host/internal/bench`. TABLES=waldump makes that table alone.
TABLES ?=
bench: setup
ifeq ($(strip $(TABLES)),)
	$(GO) test -run '^$$' -bench . -benchmem ./sdk/... ./plugins/... ./host/internal/replication ./host/internal/waldump
endif
	$(GO) run ./host/internal/bench $(TABLES)

# Generated protobuf code; needs protoc (Debian: protobuf-compiler).
proto:
	$(GO) generate ./...

clean:
	rm -rf bin
