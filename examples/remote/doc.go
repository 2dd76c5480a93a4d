// Command remote is a bus in one process and its users in another: it replays a real week of earthquakes
// to a server over QUIC, follows it with a group, and prints an alert for every quake of magnitude 4 and
// more.
//
//	this process                      remote serve, a process of its own
//	  publisher ──▶ PublishAsync ──QUIC──▶ node.Serve ──▶ topic quakes on disk
//	  alerts    ◀── group "alerts" ◀─QUIC──────┘
//
// Without arguments it starts the server itself, on a free port, and stops it at the end. With -connect it
// uses one that runs: "remote serve", or "leat serve". The calls are those of a bus inside the process;
// only leat.Dial stands where node.Open would.
package main
