package cluster

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/leatbus/leat/core"
	"github.com/leatbus/leat/internal/clock"
	"github.com/leatbus/leat/transport"
)

// inBubble runs a test in virtual time on a network that is closed at its end.
func inBubble(t *testing.T, run func(*testing.T, *network), nodes ...uint16) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		w := newNetwork(t, nodes...)
		run(t, w)
		w.close()
	})
}

func TestNodesMeet(t *testing.T) {
	inBubble(t, func(t *testing.T, w *network) {
		w.all()
		for _, id := range w.nodes {
			p := w.peers[id]
			wantUp(t, p, 1, 2, 7)
			w.wantEqual(id)
			m := p.Map()
			if m.Cluster != "prod" || m.Meta != 1 || len(m.GroupNodes) != core.GroupsPartitions || m.Epoch < 3 {
				t.Errorf("map of node %d: %+v", id, m)
			}
			for _, node := range m.Nodes {
				if node.Address != fmt.Sprintf("public%d:1", node.ID) {
					t.Errorf("node %d is told as %s", node.ID, node.Address)
				}
			}
			answer := p.Answer()
			if answer.Node != id || len(answer.Peers) != 2 {
				t.Errorf("answer of node %d: %+v", id, answer)
			}
			for _, peer := range answer.Peers {
				if !peer.Up || peer.Error != "" || peer.Since == 0 || peer.ID == id {
					t.Errorf("node %d sees %+v", id, peer)
				}
			}
			info := p.Info()
			if info.Name != "prod" || info.Answer != id || info.Meta != 1 || len(info.Nodes) != 3 ||
				!info.Nodes[0].Up {
				t.Errorf("info of node %d: %+v", id, info)
			}
			if w.shells[id].changes < 2 {
				t.Errorf("node %d was told %d changes of the map", id, w.shells[id].changes)
			}
		}
	}, 1, 2, 7)
}

// TestChangesArrive: what is created on the meta node is known to the others when Await returns, in single
// messages or, when many come at once, together.
func TestChangesArrive(t *testing.T) {
	inBubble(t, func(t *testing.T, w *network) {
		w.all()
		for i := range 50 {
			version := w.create(fmt.Sprint("t", i))
			began := time.Now()
			w.peers[1].Await(t.Context(), version)
			if waited := time.Since(began); waited > 0 {
				t.Errorf("Await took %v", waited)
			}
			w.wantEqual(2)
			w.wantEqual(3)
		}
		hang := make(chan struct{})
		w.shells[2].set(func(s *shell) { s.hang, s.snapshots, s.follows = hang, 0, 0 })
		for i := range queueMax {
			w.create(fmt.Sprint("together", i))
		}
		began := time.Now()
		w.peers[1].Await(t.Context(), w.shells[1].Version())
		if waited := time.Since(began); waited != storeWait {
			t.Errorf("Await gave up on a node that hangs after %v, want %v", waited, storeWait)
		}
		wantUp(t, w.peers[1], 1, 2, 3) // it is slow, not gone
		w.wantEqual(3)
		close(hang)
		synctest.Wait()
		w.wantEqual(2)
		if s := w.shells[2]; s.follows > 2 || s.snapshots != 0 {
			t.Errorf("%d messages of changes and %d snapshots, want them together", s.follows, s.snapshots)
		}
		hang = make(chan struct{})
		w.shells[2].set(func(s *shell) { s.hang = hang })
		for i := range 3 * queueMax {
			w.create(fmt.Sprint("many", i))
		}
		close(hang)
		synctest.Wait()
		w.wantEqual(2)
		// One that was taken while the changes still came may be followed by another.
		if s := w.shells[2]; s.snapshots < 1 || s.snapshots > 3 {
			t.Errorf("%d snapshots after more changes than fit the queue", s.snapshots)
		}
	}, 1, 2, 3)
}

// TestNodeComesBack: while a node is down the others are served, and it misses nothing.
func TestNodeComesBack(t *testing.T) {
	inBubble(t, func(t *testing.T, w *network) {
		w.all()
		w.down(2)
		synctest.Wait()
		wantUp(t, w.peers[1], 1, 3) // told by the end of the connection, at once
		wantUp(t, w.peers[3], 1, 3)
		began := time.Now()
		w.peers[1].Await(t.Context(), w.create("meanwhile"))
		if waited := time.Since(began); waited > 0 {
			t.Errorf("Await waited %v for a node that is down", waited)
		}
		w.wantEqual(3)
		if got := w.peers[1].PlaceOn(); !slices.Equal(got, []uint16{1, 3}) {
			t.Errorf("topics are placed on %v", got)
		}
		w.up(2)
		pass(pauseMax)
		wantUp(t, w.peers[2], 1, 2, 3)
		wantUp(t, w.peers[3], 1, 2, 3)
		w.wantEqual(2)
	}, 1, 2, 3)
}

// TestMetaNodeComesBack: the others stay together without it and find it by themselves.
func TestMetaNodeComesBack(t *testing.T) {
	inBubble(t, func(t *testing.T, w *network) {
		w.all()
		w.down(1)
		pass(time.Minute)
		wantUp(t, w.peers[2], 2, 3)
		wantUp(t, w.peers[3], 2, 3)
		if peer := w.peers[3].Answer().Peers[0]; peer.Up || !strings.Contains(peer.Error, "nobody listens") {
			t.Errorf("node 3 sees the meta node as %+v", peer)
		}
		w.up(1)
		pass(pauseMax)
		for _, id := range w.nodes {
			wantUp(t, w.peers[id], 1, 2, 3)
		}
		w.peers[1].Await(t.Context(), w.create("after"))
		w.wantEqual(2)
		w.wantEqual(3)
	}, 1, 2, 3)
}

// TestSilence: a peer whose frames no longer come is down soon, though nothing ended the connection.
func TestSilence(t *testing.T) {
	inBubble(t, func(t *testing.T, w *network) {
		var mute *muted
		w.setCarry(func(conn transport.Conn) transport.Conn {
			mute = &muted{Conn: conn}
			return mute
		})
		w.all()
		w.setCarry(func(conn transport.Conn) transport.Conn {
			conn.Close(core.CodeUnavailable, "unplugged")
			return conn
		})
		pass(time.Minute)
		wantUp(t, w.peers[1], 1, 2)
		mute.on.Store(true)
		pass(900 * time.Millisecond)
		wantUp(t, w.peers[1], 1, 2)
		pass(600 * time.Millisecond)
		wantUp(t, w.peers[1], 1)
		if err := w.peers[1].Answer().Peers[0].Error; !strings.Contains(err, "silent for 1") {
			t.Errorf("node 2 is down for %q", err)
		}
		w.setCarry(nil)
		pass(pauseMax + dialWait)
		wantUp(t, w.peers[1], 1, 2)
		wantUp(t, w.peers[2], 1, 2)
	}, 1, 2)
}

// TestDialPauses: a node that cannot be reached is tried again soon, then less often, never less than every
// second.
func TestDialPauses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var tries []time.Duration
		began := time.Now()
		p := Start(Config{Cluster: "prod", Node: 2, Peers: map[uint16]string{1: "a:1", 2: "b:1"}, Advertise: "b:1",
			Shell: &shell{catalogue: core.NewCatalogue()}, Clock: clock.System,
			Dial: func(context.Context, uint16, string) (transport.Conn, error) {
				tries = append(tries, time.Since(began))
				return nil, core.NewError(core.CodeUnavailable, "dial", nil)
			}})
		pass(time.Minute)
		p.Close()
		if len(tries) < 60 || len(tries) > 125 || tries[1] > pauseMin {
			t.Errorf("%d tries in a minute, the second after %v", len(tries), tries[1])
		}
		for i := range tries[1:] {
			if pause := tries[i+1] - tries[i]; pause > pauseMax {
				t.Errorf("pause of %v", pause)
			}
		}
	})
}

// TestPlaceOn: nodes that start together count before they have met; one that does not come does not.
func TestPlaceOn(t *testing.T) {
	inBubble(t, func(t *testing.T, w *network) {
		p := w.up(1)
		if got := p.PlaceOn(); !slices.Equal(got, []uint16{1, 2, 3}) {
			t.Errorf("at the start topics are placed on %v", got)
		}
		w.up(2)
		pass(newcomerWait)
		if got := p.PlaceOn(); !slices.Equal(got, []uint16{1, 2}) {
			t.Errorf("without node 3 topics are placed on %v", got)
		}
	}, 1, 2, 3)
}

// TestFollowFails: a node that cannot store the catalogue stays in touch, says why, and gets a snapshot
// until it can.
func TestFollowFails(t *testing.T) {
	inBubble(t, func(t *testing.T, w *network) {
		w.all()
		w.shells[2].set(func(s *shell) {
			s.refuse = core.NewError(core.CodeStorageFull, "store", errors.New("no room"))
		})
		w.peers[1].Await(t.Context(), w.create("a"))
		pass(10 * time.Second)
		wantUp(t, w.peers[1], 1, 2)
		peer := w.peers[1].Answer().Peers[0]
		if peer.Catalog >= w.shells[1].Version() {
			t.Errorf("node 2 counts as one that has version %d", peer.Catalog)
		}
		if seen := w.peers[2].Answer().Peers[0]; !strings.Contains(seen.Error, "no room") || !seen.Up {
			t.Errorf("node 2 does not say why: %+v", seen)
		}
		w.shells[2].set(func(s *shell) { s.refuse, s.snapshots = nil, 0 })
		pass(2 * againWait)
		w.wantEqual(2)
		pass(time.Minute)
		if s := w.shells[2]; s.snapshots != 1 {
			t.Errorf("%d snapshots, want 1", s.snapshots)
		}
		if seen := w.peers[2].Answer().Peers[0]; seen.Error != "" {
			t.Errorf("node 2 still complains: %q", seen.Error)
		}
	}, 1, 2)
}

// TestLargeSnapshot passes in several frames.
func TestLargeSnapshot(t *testing.T) {
	inBubble(t, func(t *testing.T, w *network) {
		for i := range 4000 {
			w.create(strings.Repeat("n", 200) + fmt.Sprint(i))
		}
		w.all()
		w.wantEqual(2)
		if s := w.shells[2]; s.snapshots != 1 {
			t.Errorf("%d snapshots, want 1", s.snapshots)
		}
	}, 1, 2)
}

// TestClose: nothing of a closed node goes on, wherever it was.
func TestClose(t *testing.T) {
	inBubble(t, func(t *testing.T, w *network) {
		w.all()
		hang := make(chan struct{})
		w.shells[2].set(func(s *shell) { s.hang = hang })
		w.create("hangs")
		synctest.Wait()
		w.down(2)
		a, b := w.pair(3, 1)
		p := w.peers[1]
		w.down(1)
		p.Serve(t.Context(), b)
		if a.Err() == nil {
			t.Error("a closed node serves a connection")
		}
		p.Await(t.Context(), 1<<60)
	}, 1, 2)
}

func TestJitter(t *testing.T) {
	var j jitter
	least, most := time.Hour, time.Duration(0)
	for range 1000 {
		d := j.of(time.Second)
		least, most = min(least, d), max(most, d)
	}
	const near = 10 * time.Millisecond
	if least < time.Second/2 || most > time.Second || least > time.Second/2+near || most < time.Second-near {
		t.Errorf("of a second between %v and %v", least, most)
	}
}
