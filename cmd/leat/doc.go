// Command leat is the event bus on the command line.
//
//	leat topic …     create, list, describe, change and remove topics
//	leat group …     the same for consumer groups, with their lag
//	leat pub         publish a message, or one per line of standard input
//	leat sub         print messages
//	leat cluster …   the nodes
//	leat log …       look into a data folder: check, print, sum up, repair
//	leat completion  scripts for shells, which complete names of topics and groups too
//	leat demo        an embedded node under load, checked message by message
//	leat bench …     figures beside their floors
//	leat cert …      a CA, certificates for nodes and clients, what a certificate says
//	leat config …    the settings of leat serve and where they come from
//	leat version     what this build is
//
// Data goes to standard output, everything else to standard error, control bytes escaped. Exit codes:
// 0 ok, 1 failed, 2 usage, 3 not found, 4 unreachable, 5 denied, 130 interrupted. An error is one
// line, followed by a line that says what to do where that is known.
//
// Every command is a method of app, whose dial is the only way to a server: tests replace it by a bus in
// their process. Interrupts reach a command through its context alone; what may block without looking at
// one (reading standard input, writing to a pipe) has a goroutine of its own.
//
// The command holds no policy: demo is in cmd/leat/internal/demo, the benchmarks in
// internal/benchkit. SIGINT and SIGTERM end a command in order, and temporary folders are removed; a
// second signal ends it at once.
package main
