// Command check runs the checks of the repository by name. make calls it, so that only Go is needed
// where a shell script would need more.
//
//	check test    vet, fuzz for seconds, race on the heap seam, models, then every test: what CI runs
//	check race    the tests of the packages with shared memory, under the race detector
//	check fuzz    every fuzz target with -fuzzruns inputs each
//	check models  the models of ringbuf, with spin: each must hold, and fail with its fix switched off
//	check schemathesis
//	              the OpenAPI document of the HTTP door, fuzzed, with Python
//
//	make test ──▶ check ──▶ go vet ──▶ go test -fuzz … ──▶ go test -race … ──▶ spin … ──▶ go test ./... ──▶
//	summary
//
// Invariants: a step that fails never keeps later steps from running, and always makes the exit code
// 1. A step that this machine cannot run is skipped with a line that says why and is named in the
// summary. Nothing is retried. Fuzz targets are asked of the test binaries, so none can be forgotten.
//
// Ownership: each command is a child that check waits for; an interrupt reaches both.
package main
