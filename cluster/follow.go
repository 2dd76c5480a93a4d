package cluster

import (
	"sync/atomic"

	"github.com/leatbus/leat/core"
	"github.com/leatbus/leat/internal/clock"
	"github.com/leatbus/leat/transport"
	"github.com/leatbus/leat/transport/wire"
)

// incoming is a message of the meta node as it arrives: a snapshot in several frames, which ends with its
// mark, or changes in one.
type incoming struct {
	busy     atomic.Bool // the message before is still being stored
	open     bool        // a snapshot has begun and not ended
	snapshot bool
	bytes    int
	records  []core.CatalogueRecord
}

// takeCatalogue takes a CATALOGUE frame. The meta node sends the next message only when the one before was
// answered, so one is in memory at most.
func (l *link) takeCatalogue(r *transport.Reader, h *wire.Header) error {
	in := &l.incoming
	begins := h.Aux == wire.CatalogueSnapshot
	switch {
	case l.peer.id != l.peers.meta():
		return wire.Errorf("CATALOGUE of node %d, which is not the meta node", l.peer.id)
	case in.busy.Load():
		return wire.Errorf("CATALOGUE before the one before was answered")
	case begins && in.open:
		return wire.Errorf("a snapshot within a snapshot")
	case h.Aux > wire.CatalogueSnapshot:
		return wire.Errorf("CATALOGUE with aux %d", h.Aux)
	}
	if in.bytes += int(h.Length); in.bytes > snapshotMax {
		return wire.Errorf("a catalogue of more than %d bytes", snapshotMax)
	}
	payload, err := r.Payload(nil)
	if err != nil {
		return err
	}
	if in.records, err = wire.DecodeCatalogue(payload, in.records); err != nil {
		return err
	}
	in.snapshot = in.snapshot || begins
	in.open = in.snapshot && in.records[len(in.records)-1].Kind != core.CatalogueMark
	if in.open {
		return nil
	}
	records, snapshot := in.records, in.snapshot
	in.records, in.snapshot, in.bytes = nil, false, 0
	in.busy.Store(true)
	l.work.Go(func() { l.store(records, snapshot) })
	return nil
}

// store has the shell follow and answers the version it has stored then. What it could not store the meta
// node sends again, all of it; the pause keeps that from being a storm.
func (l *link) store(records []core.CatalogueRecord, snapshot bool) {
	cfg := &l.peers.cfg
	version, err := cfg.Shell.Follow(l.ctx, records, snapshot)
	l.peers.noteFollowing(l, err)
	if err != nil {
		version = min(cfg.Shell.Version(), records[len(records)-1].Version-1)
		if clock.Sleep(l.ctx, cfg.Clock, againWait) != nil {
			return
		}
	}
	l.incoming.busy.Store(false)
	ok := wire.Header{Type: wire.CatalogueOK, Arg: version}
	l.end(l.lane.Queue(ok.Append(nil)))
}
