// Package certs makes and loads the certificates of servers, clients and peers.
//
//	this machine:   Development(dir) ──▶ ca.crt, ca.key of the user ──▶ DevelopmentServer, DevelopmentClient
//	a deployment:   NewAuthority ──▶ Issue ──▶ files ──▶ ServerTLS, ClientTLS, PeerTLS
//
// The development CA belongs to one user of one machine. Whoever comes first creates it, server or client, so
// that a client that starts before the server trusts it all the same; processes that start together agree on
// one. It can sign only for this machine: names and addresses other than localhost and loopback are outside
// of its name constraints (RFC 5280 §4.2.1.10), so a lost ca.key endangers nobody else.
//
// Invariant: where ca.crt exists, ca.key was complete before it. The key is written first, both by rename.
//
// Private keys that other users may read are refused, and so are files of trust that others may write. Keys
// are ECDSA on P-256, connections are TLS 1.3. ServerTLS and ClientTLS take up replaced files by themselves;
// a broken replacement is reported and the last good one stays in use. Failures are *core.Error and say what
// to do. Nothing here starts a goroutine, and everything may be called by any.
package certs
