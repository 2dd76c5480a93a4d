package cluster

import (
	"sync"

	"github.com/leatbus/leat/core"
	"github.com/leatbus/leat/internal/clock"
	"github.com/leatbus/leat/transport/wire"
)

// feed is what the meta node has to tell one peer. Full-policy: beyond queueMax changes it is told all, by
// a snapshot.
type feed struct {
	wake chan struct{} // capacity 1
	acks chan uint64   // capacity 1: one message is on its way at a time

	mu      sync.Mutex // guards the following
	queue   []core.CatalogueRecord
	all     bool // the next message is a snapshot
	awaited bool // an answer is
	sent    uint64
}

func newFeed() *feed {
	return &feed{wake: make(chan struct{}, 1), acks: make(chan uint64, 1), all: true}
}

// push queues a change. It does not block.
func (f *feed) push(r core.CatalogueRecord) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.queue) >= queueMax {
		f.all = true
	}
	if f.all {
		f.queue = nil // the snapshot is taken later, and has it
	} else {
		f.queue = append(f.queue, r)
	}
	select {
	case f.wake <- struct{}{}:
	default:
	}
}

// next gives what is to be sent now: everything, some changes, or nothing.
func (f *feed) next() (changes []core.CatalogueRecord, all bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	changes, all = f.queue, f.all
	f.queue, f.all = nil, false
	for len(changes) > 0 && changes[0].Version <= f.sent {
		changes = changes[1:] // a snapshot had it
	}
	return changes, all
}

// sending notes the version of what goes out.
func (f *feed) sending(version uint64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.sent, f.awaited = version, true
}

// sendCatalogue tells the peer the catalogue and its changes until the link ends.
func (l *link) sendCatalogue() error {
	f := l.feed
	for {
		changes, all := f.next()
		var err error
		switch {
		case all:
			if changes, err = l.peers.cfg.Shell.Snapshot(l.ctx); err != nil {
				return err
			}
		case len(changes) == 0:
			select {
			case <-f.wake:
				continue
			case <-l.ctx.Done():
				return nil
			}
		}
		version := changes[len(changes)-1].Version
		f.sending(version)
		if err := l.sendRecords(changes, all, version); err != nil {
			return err
		}
		select {
		case stored := <-f.acks:
			if stored >= version {
				continue
			}
			// It could not store it, or had another state than its messages said: from the start.
			if clock.Sleep(l.ctx, l.peers.cfg.Clock, againWait) != nil {
				return nil
			}
			f.again()
		case <-l.ctx.Done():
			return nil
		}
	}
}

func (f *feed) again() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.all, f.queue = true, nil
}

// sendRecords sends records in frames of about frameBytes.
func (l *link) sendRecords(records []core.CatalogueRecord, snapshot bool, version uint64) error {
	h := wire.Header{Type: wire.Catalogue, Arg: version}
	if snapshot {
		h.Aux = wire.CatalogueSnapshot
	}
	var payload []byte
	for i := range records {
		payload = wire.AppendCatalogue(payload, &records[i])
		if len(payload) < frameBytes && i < len(records)-1 {
			continue
		}
		h.Length = uint32(len(payload))
		// Send waits for room, so a snapshot of any size passes.
		if err := l.lane.Send(append(h.Append(nil), payload...)); err != nil {
			return err
		}
		h.Aux, payload = 0, payload[:0]
	}
	return nil
}

// takeOK takes a peer's answer: the version it has stored.
func (l *link) takeOK(version uint64) error {
	f := l.feed
	if f == nil {
		return wire.Errorf("CATALOGUE_OK to a node that has sent no catalogue")
	}
	f.mu.Lock()
	awaited, sent := f.awaited, f.sent
	f.awaited = false
	f.mu.Unlock()
	if !awaited || version > sent {
		return wire.Errorf("CATALOGUE_OK of version %d, sent was %d", version, sent)
	}
	l.peers.noteStored(l, version)
	f.acks <- version // one is awaited, so there is room
	return nil
}
