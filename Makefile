# Needs Go and make, nothing else. The race detector also needs a C compiler, and the models of the ring
# need spin; without them they are skipped with a line that says so. ARGS is passed on:
# make run ARGS='--for 5s'.
.PHONY: run build test race models schemathesis mutants bench bench-full fuzz lint

run:
	go run ./cmd/leat demo $(ARGS)

build:
	CGO_ENABLED=0 go build -trimpath -o bin/leat ./cmd/leat

test:
	@go run ./internal/lint/check test

race:
	@go run ./internal/lint/check race

models:
	@go run ./internal/lint/check models

# Needs Python; it is installed for this user the first time.
schemathesis:
	@go run ./internal/lint/check schemathesis

# Plants known defects in a copy and runs the tests that are to catch them; some minutes.
mutants:
	go run ./internal/mutants $(ARGS)

# A hundred thousand inputs per target; make fuzz ARGS='-fuzzruns 10000000' for more.
fuzz:
	@go run ./internal/lint/check fuzz -fuzzruns 100000 $(ARGS)

# A few minutes: the instruments, the ring beside its peers, the bus. docs/benchmarking.md says how to read it.
bench:
	cd bench && go run ./cmd/bench selftest
	cd bench && go run ./cmd/bench run -for 200ms $(ARGS) ring
	cd bench && go run ./cmd/bench run -for 2s $(ARGS) bus

# An hour or so, on a machine that does nothing else; results and plots go to bench/results.
bench-full:
	cd bench && go run ./cmd/bench selftest
	cd bench && go run ./cmd/bench run -rounds 11 -out auto $(ARGS)
	go run ./cmd/leat bench log
	go run ./cmd/leat bench idle
	go run ./cmd/leat bench open
	cd bench && go run ./net
	cd bench && go test -run '^$$' -bench . ./...

lint:
	go vet ./...
	go test -count=1 -skip '^TestReadmeRuns' ./internal/lint/...
