// Command bench measures Leat beside its peers and floors, compares two measurements and draws them.
//
//	bench list ─────────────────────────────▶ suites and scenarios
//	bench run ring bus/throughput ──────────▶ table, JSON, Markdown; with -out: files and plots
//	bench compare base.json new.json ───────▶ what is worse, exit code 1 if anything of ours is
//	bench selftest ─────────────────────────▶ does the harness find what it should?
//	bench plot -out folder report.json … ───▶ SVG and PNG
//
// Results go to standard output, progress to standard error. Exit codes: 0 all well; 1 a run is invalid,
// something got worse, or an error; 2 a wrong command line; 130 interrupted, with nothing left behind.
//
// Run it from the folder bench: go run ./cmd/bench help
package main
