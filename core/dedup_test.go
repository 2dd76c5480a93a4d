package core

import (
	"fmt"
	"math/rand"
	"testing"
	"time"
)

// modelID is a record with an id, as the model of TestDedupModel knows it.
type modelID struct{ offset, time int64 }

// TestDedupModel holds the table against a map that forgets nothing, through writes that succeed and that
// fail, saving and loading.
func TestDedupModel(t *testing.T) {
	for seed := range int64(50) {
		random := rand.New(rand.NewSource(seed))
		window := time.Duration(1+random.Intn(20)) * time.Second
		p := NewPartition(AckPage, 0, 0)
		p.SetDedupWindow(window)
		stored, pending := map[MessageID]modelID{}, map[MessageID]modelID{}
		now, offset, written := int64(0), int64(0), int64(0)
		for step := range 2_000 {
			id := MessageIDOf(fmt.Append(nil, random.Intn(60)))
			want, known := pending[id]
			if !known {
				want, known = stored[id]
			}
			known = known && now-want.time < int64(window)
			at, appended, found := p.FindID(id, now)
			if found != known || known && (at != want.offset || appended != want.time) {
				t.Fatalf("seed %d, step %d: FindID = %d, %d, %v; want %+v, %v", seed, step, at, appended, found,
					want, known)
			}
			if !found {
				p.AddID(id, offset, now)
				pending[id] = modelID{offset, now}
				offset++
			}
			var out Effects
			switch random.Intn(6) {
			case 0:
				p.Step(&PartitionInput{Kind: InputWritten, Offset: offset}, now, &out)
				for id, m := range pending {
					stored[id] = m
				}
				clear(pending)
				written = offset
			case 1:
				p.Step(&PartitionInput{Kind: InputDropped}, now, &out)
				for id := range pending {
					delete(stored, id) // it was out of the window
				}
				clear(pending)
				offset = written
			case 2:
				if random.Intn(20) == 0 && len(pending) == 0 {
					state := p.EncodeProducers(nil)
					p = NewPartition(AckPage, offset, 0)
					p.SetDedupWindow(window)
					if err := p.LoadProducers(state); err != nil {
						t.Fatalf("seed %d: %v", seed, err)
					}
				}
			}
			now += random.Int63n(int64(time.Second) / 4)
		}
		if n := p.IDCount(); n > 400 {
			t.Errorf("seed %d: %d ids are kept", seed, n)
		}
	}
}

// TestDedupIsBounded: beyond the most ids the oldest is forgotten, whatever the window.
func TestDedupIsBounded(t *testing.T) {
	table := dedupTable{window: int64(MaxDedupWindow)}
	for i := range int64(MaxDedupIDs + 100) {
		table.add(storedID{id: MessageID{uint64(i), 1}, offset: i, time: i})
		table.settle()
	}
	if table.len() != MaxDedupIDs || len(table.index) != MaxDedupIDs {
		t.Errorf("%d ids, %d in the index", table.len(), len(table.index))
	}
	for i, want := range map[int64]bool{99: false, 100: true, MaxDedupIDs + 99: true} {
		s, known := table.find(MessageID{uint64(i), 1}, i)
		if known != want || known && s.offset != i {
			t.Errorf("find(%d) = %+v, %v", i, s, known)
		}
	}
}

func TestMessageIDs(t *testing.T) {
	seen := map[MessageID]string{}
	for i := range 10_000 {
		text := fmt.Sprint(i)
		id := MessageIDOf([]byte(text))
		if other, ok := seen[id]; ok || id[0] == id[1] {
			t.Fatalf("%s has the id of %q, %x", text, other, id)
		}
		seen[id] = text
	}
	wantNoAllocs(t, "MessageIDOf", func() { MessageIDOf([]byte("order-1")) })
}
