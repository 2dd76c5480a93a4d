# Needs Go and make, nothing else. The race detector also needs a C compiler, and the models of the ring
# need spin; without them they are skipped with a line that says so. ARGS is passed on:
# make run ARGS='--for 5s'.
.PHONY: run build test race models bench fuzz lint

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

# Thirty seconds per target; make fuzz ARGS='-fuzztime 10m' for longer.
fuzz:
	@go run ./internal/lint/check fuzz -fuzztime 30s $(ARGS)

bench:
	go run ./cmd/leat bench log $(ARGS)
	go run ./cmd/leat bench bus $(ARGS)
	@if [ -f bench/go.mod ]; then set -x; cd bench && go test -run '^$$' -bench . ./...; fi

lint:
	go vet ./...
	go test -count=1 -skip '^TestReadmeRuns' ./internal/lint/...
