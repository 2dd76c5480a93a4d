// Package conformance is one suite of tests of what a bus promises, run over everything that carries a bus:
// embedded, one node over QUIC, three nodes over QUIC, and one node behind a relay that loses, delays,
// reorders and doubles datagrams and cuts the line.
//
//	cases (TestBus…) ──▶ carrier ──▶ *leat.Bus ──▶ embedded │ QUIC │ three nodes │ relay
//
// A case knows only the public API; what it asks for holds for every carrier. The package has tests only.
package conformance
