// Command leat is the event bus on the command line.
//
//	leat demo        an embedded node under load, checked message by message
//	leat bench …     figures beside their floors
//	leat cert …      a CA, certificates for nodes and clients, what a certificate says
//	leat version     what this build is
//
// Data goes to standard output, everything else to standard error, control bytes escaped. Exit codes:
// 0 ok, 1 failed, 2 usage, 3 not found, 4 unreachable, 5 denied, 130 interrupted. An error is one
// line, followed by a line that says what to do where that is known.
//
// The command holds no policy: demo is in cmd/leat/internal/demo, the benchmarks in
// internal/benchkit. SIGINT and SIGTERM end a command in order, and temporary folders are removed; a
// second signal ends it at once.
package main
