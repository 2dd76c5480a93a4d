package mmaplog

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/leatbus/leat/core"
	"github.com/leatbus/leat/internal/clock"
)

// openTest opens a store that is closed at the end of the test.
func openTest(t testing.TB, fs FS, dir string, o Options) *Store {
	t.Helper()
	s, err := Open(fs, dir, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

func openLog(t testing.TB, s *Store, level core.Ack) *Log {
	t.Helper()
	l, err := s.OpenLog(16, 0, LogOptions{Level: level, SegmentBytes: core.MinSegmentBytes})
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// appendValues publishes each value in a batch of its own.
func appendValues(t testing.TB, l *Log, values ...string) {
	t.Helper()
	for _, v := range values {
		if err := appendValue(l, v); err != nil {
			t.Fatal(err)
		}
	}
}

func appendValue(l *Log, value string) error {
	l.Begin(1)
	if _, err := l.Add(encodeRecord(value), 1); err != nil {
		return err
	}
	_, err := l.Publish()
	return err
}

func wantValues(t testing.TB, l *Log, want ...string) {
	t.Helper()
	got, err := readValues(l)
	if err != nil {
		t.Fatal(err)
	}
	if len(got) != len(want) {
		t.Fatalf("read %d records, want %d", len(got), len(want))
	}
	for i := range got {
		if got[i] != want[i] {
			t.Fatalf("record %d = %.40q, want %.40q", i, got[i], want[i])
		}
	}
}

func wantCode(t testing.TB, what string, err error, code core.Code) {
	t.Helper()
	var ours *core.Error
	if !errors.As(err, &ours) || ours.Code != code {
		t.Fatalf("%s: error %v, want code %v", what, err, code)
	}
}

// syncNow waits until everything published is durable.
func syncNow(l *Log) {
	l.store.syncer.drain([]*Log{l})
}

// eventually reports whether what the background goroutines do makes holds true, within a time that only a
// failure takes.
func eventually(holds func() bool) bool {
	for deadline := time.Now().Add(20 * time.Second); !holds(); {
		if time.Now().After(deadline) {
			return false
		}
		<-time.After(200 * time.Microsecond)
	}
	return true
}

// numbered gives n values of about size bytes.
func numbered(n, size int) []string {
	values := make([]string, n)
	for i := range values {
		values[i] = fmt.Sprintf("%d-%0*d", i, size, i)
	}
	return values
}

// scaled is n, or a part of it where the race detector makes everything slow.
func scaled(n int) int {
	if raceEnabled {
		return max(1, n/12)
	}
	return n
}

// pause lets d of a test bubble's virtual time pass.
func pause(d time.Duration) { _ = clock.Sleep(context.Background(), clock.System, d) }

// readValues reads the whole log.
func readValues(l *Log) ([]string, error) {
	r := l.Reader(l.Start())
	defer r.Close()
	var values []string
	for {
		run, err := r.Next(l.End())
		if err != nil || run == nil {
			return values, err
		}
		for len(run) > 0 {
			h := core.ParseFrameHeader(run)
			if due := l.Start() + int64(len(values)); h.BaseOffset != due {
				return values, fmt.Errorf("frame of offset %d where %d is due", h.BaseOffset, due)
			}
			payload := run[core.FrameHeaderSize:h.Length]
			for range h.Records {
				record, n, err := core.DecodeRecord(payload)
				if err != nil {
					return values, err
				}
				values = append(values, string(record.Value))
				payload = payload[n:]
			}
			run = run[h.Size():]
		}
	}
}
