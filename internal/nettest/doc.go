// Package nettest proves what the server promises with whole processes: it builds the command, starts
// `leat serve`, kills and stops it under load, and compares what a log holds with what was acknowledged.
//
//	publishers (command, client) ──▶ leat serve ──SIGKILL, SIGTERM──▶ leat serve again, same folder and port
//	             │ acknowledged                          │
//	             └────────────▶ checker ◀── everything read back
//
// It has tests only. They are short by default; LEAT_LONG=1 runs them at full length, LEAT_SEED repeats the
// random moments of a run.
package nettest
