package cluster

import (
	"context"
	"log/slog"
	"time"

	"github.com/leatbus/leat/core"
	"github.com/leatbus/leat/internal/clock"
	"github.com/leatbus/leat/transport"
)

// Shell is the node around the peers. Its methods may be called from any goroutine.
type Shell interface {
	// Version is that of the catalogue that the node has stored.
	Version() uint64
	// Snapshot gives records that rebuild the catalogue; the last is a mark, which has the version.
	Snapshot(ctx context.Context) ([]core.CatalogueRecord, error)
	// Follow stores and carries out what the meta node has sent, its whole catalogue or single changes,
	// and gives the version reached. It may take long.
	Follow(ctx context.Context, records []core.CatalogueRecord, snapshot bool) (uint64, error)
	// GroupNodes has the node of each partition of __groups; nil if that is not known yet.
	GroupNodes() []uint16
	// MapChanged says that Map gives something new. It must not block.
	MapChanged()
}

// Config says which node this is and how it reaches the others.
type Config struct {
	Cluster   string
	Node      uint16
	Peers     map[uint16]string // addresses by id, this node among them
	Advertise string            // address that clients of this node are told
	Start     string            // names this run of the node
	Shell     Shell
	// Dial connects to a node. The connection must have verified the certificate of the other side.
	Dial    func(ctx context.Context, node uint16, address string) (transport.Conn, error)
	Clock   clock.Clock
	Logger  *slog.Logger
	Silence time.Duration // after which a peer that says nothing is down; 0: 1 s
	Epoch   uint64        // that of the first Map is higher
}

const (
	defaultSilence = time.Second
	helloWait      = 5 * time.Second        // for PEER_HELLO and PEER_WELCOME
	dialWait       = 2 * time.Second        // for one attempt to connect
	pauseMin       = 50 * time.Millisecond  // between attempts
	pauseMax       = time.Second            //
	againWait      = 500 * time.Millisecond // before a catalogue that was not taken is sent again
	storeWait      = 2 * time.Second        // Await gives up on peers that are connected
	newcomerWait   = 3 * time.Second        // a node never seen counts as there for so long after the start
	laneBytes      = 1 << 20                // queued for one peer
	frameBytes     = 256 << 10              // of a CATALOGUE frame, about
	frameMax       = 1 << 20                // of any frame
	snapshotMax    = 64 << 20               // of all frames of one snapshot
	queueMax       = 256                    // changes that wait for one peer
	greetingMax    = 64                     // connections that have not said who they are
	addressMax     = 512                    // bytes of an address
)
