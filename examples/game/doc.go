// Command game is a room server that tells its players the state of the world 30 times a second: 200
// players on 25 connections, one of them behind a link that loses packets, is slow, and breaks for a
// while.
//
//	room ──▶ topic room ──▶ node.Serve ══QUIC══════════▶ 24 connections, 199 players
//	                                   ══QUIC══ relay ══▶ 1 connection, 1 player
//	                                  5 % lost, 40 ms, broken for a second
//
// It ends with the latency of every tick as the players saw it, and with an error if any player missed
// one. The player behind the bad link gets what it missed when the link is back: it reads the log like
// everyone else, and holds up nobody.
package main
