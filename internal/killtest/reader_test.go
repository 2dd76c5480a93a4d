package killtest

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/leatbus/leat"
	"github.com/leatbus/leat/node"
)

// publishSome publishes to one partition of a bus that is closed then, and returns its folder and what
// was acknowledged.
func publishSome(t *testing.T, records int) (data string, h *history) {
	t.Helper()
	data = filepath.Join(t.TempDir(), "data")
	config := leat.TopicConfig{Partitions: 1, Ack: leat.AckPage, SegmentBytes: 256 << 10}
	bus, err := node.Open(t.Context(), data, node.WithTopic(topicName, config))
	if err != nil {
		t.Fatal(err)
	}
	p, err := bus.Producer(topicName)
	if err != nil {
		t.Fatal(err)
	}
	h = &history{started: map[uint64]uint64{7: uint64(records)}}
	var mu sync.Mutex
	for i := range records {
		value := putPayload(nil, 7, uint64(i), payloadHeader+i%3000)
		a := ack{producer: 7, sequence: uint64(i), hash: recordHash(nil, value)}
		p.PublishAsync(leat.Message{Value: value, Headers: []leat.Header{{Key: "h", Value: []byte("v")}}},
			func(r leat.Receipt, err error) {
				if err != nil {
					t.Error(err)
				}
				a.offset = r.Offset
				mu.Lock()
				defer mu.Unlock()
				h.acks = append(h.acks, a)
			})
	}
	if err := bus.Close(); err != nil {
		t.Fatal(err)
	}
	return data, h
}

// segmentFiles lists the segments of partition 0, oldest first.
func segmentFiles(t *testing.T, data string) []string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(data, "t", "16", "0", "*.seg"))
	if err != nil || len(files) < 3 {
		t.Fatalf("segments %q, %v, want at least 3", files, err)
	}
	return files
}

// TestReaderAndCheckerSeeDamage: what the run after a kill relies on fails on a real folder that was
// tampered with.
func TestReaderAndCheckerSeeDamage(t *testing.T) {
	const records = 2000
	data, h := publishSome(t, records)
	if len(h.acks) != records {
		t.Fatalf("%d acknowledgements of %d", len(h.acks), records)
	}
	files := segmentFiles(t, data)
	newest, middle := files[len(files)-1], files[1]
	tests := []struct {
		name   string
		tamper func(t *testing.T)
		want   string // part of the reader's error, or the kind of the first finding; "" if all is well
	}{
		{"nothing", func(*testing.T) {}, ""},
		{"a byte of the newest segment", func(t *testing.T) { edit(t, newest, 4096+200, flip) }, "lost"},
		{"a byte of an older segment", func(t *testing.T) { edit(t, middle, 4096+200, flip) }, "checksum"},
		{"a frame header", func(t *testing.T) { edit(t, middle, 4096+16, flip) }, "checksum"},
		{"a segment header", func(t *testing.T) { edit(t, middle, 64, flip) }, "checksum"},
		{"the newest segment is empty", func(t *testing.T) { edit(t, newest, 4096, zero) }, "lost"},
		{"an older segment is empty", func(t *testing.T) { edit(t, middle, 4096, zero) }, "starts at frame"},
		{"the newest segment is gone", func(t *testing.T) { remove(t, newest) }, "lost"},
		{"an older segment is gone", func(t *testing.T) { remove(t, middle) }, "follows segment"},
		{"the oldest segment is gone", func(t *testing.T) { remove(t, files[0]) }, "gap"},
		{"the folder is gone", func(t *testing.T) {
			for _, file := range files {
				remove(t, file)
			}
		}, "lost"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			tt.tamper(t)
			views, err := readTopic(data, topicID, 1)
			if err != nil {
				if tt.want == "" || !strings.Contains(err.Error(), tt.want) {
					t.Errorf("readTopic = %v, want %q", err, tt.want)
				}
				return
			}
			findings := check(h, [][]record{views[0].records})
			if tt.want == "" && len(findings) > 0 ||
				tt.want != "" && (len(findings) == 0 || string(findings[0].kind) != tt.want) {
				t.Errorf("check found %v, want %q", findings, tt.want)
			}
		})
	}
}

// TestCheckerMissesNoRecord: dropping any one acknowledged record from what the reader saw is found.
func TestCheckerMissesNoRecord(t *testing.T) {
	data, h := publishSome(t, 1500)
	views, err := readTopic(data, topicID, 1)
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(h.acks); i += 7 {
		log := slices.Delete(slices.Clone(views[0].records), i, i+1)
		if i+1 < len(h.acks) {
			// With the offsets closed up only the comparison with the acknowledgements can see it.
			for j := i; j < len(log); j++ {
				log[j].offset--
			}
		}
		if len(check(h, [][]record{log})) == 0 {
			t.Errorf("check without offset %d found nothing", i)
		}
	}
}

func flip(b []byte) { b[0] ^= 0x20 }
func zero(b []byte) { clear(b) }

// edit changes a file from a position on, and puts it back at the end of the test.
func edit(t *testing.T, path string, position int, change func([]byte)) {
	t.Helper()
	b := restore(t, path)
	change(b[position:])
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
}

func remove(t *testing.T, path string) {
	t.Helper()
	restore(t, path)
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
}

// restore returns the content of a file, which it gets back at the end of the test.
func restore(t *testing.T, path string) []byte {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	original := slices.Clone(b)
	t.Cleanup(func() {
		if err := os.WriteFile(path, original, 0o600); err != nil {
			t.Error(err)
		}
	})
	return b
}
