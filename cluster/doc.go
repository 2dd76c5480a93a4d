// Package cluster keeps the nodes of a cluster in touch: who is there, and the catalogue of topics.
//
//	              node 1 (the lowest id: meta node)
//	               ▲                 ▲
//	PEER_HELLO     │                 │      one connection a pair: the higher id dials
//	◀── CATALOGUE  │                 │
//	CATALOGUE_OK ─▶│                 │
//	               │                 │
//	            node 2 ◀──────────  node 3
//
// The list of nodes is static. Each pair of nodes has one connection (ALPN leat-peer/1), on which both show
// a certificate that names them; it carries PING and PONG, and from the meta node the catalogue: a snapshot
// when a peer connects, then each change. A peer answers what it has stored. One message is on its way at a
// time, so what comes meanwhile goes together with the next.
//
// What a catalogue means and where it is stored is behind Shell, which package node implements.
//
// Invariants. A link serves a node only after its certificate and PEER_HELLO named this cluster and the node
// expected. A peer has one link: a new one replaces the old. Queues are bounded: beyond queueMax changes a
// peer gets a snapshot instead; a peer that sends faster than the protocol allows loses its link. A link that
// is silent for Config.Silence has ended.
//
// Ownership. Peers owns a goroutine for each peer that it dials, and a link those that serve it. Close waits
// for all of them.
//
// Failure. Nothing here fails for good: a peer that is lost is dialed again, with a pause that grows to 1 s,
// and then gets a snapshot, so that it misses nothing.
package cluster
