package mmaplog

import (
	"errors"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"

	"github.com/leatbus/leat/core"
)

// hangOn makes every operation op on a file whose path begins with prefix wait until release is called;
// reached is closed when the first one waits.
func hangOn(fs *MemFS, op, prefix string) (reached <-chan struct{}, release func()) {
	hung, wait := make(chan struct{}), make(chan struct{})
	once := sync.OnceFunc(func() { close(hung) })
	fs.Hook(func(o, name string) {
		if o == op && strings.HasPrefix(name, prefix) {
			once()
			<-wait
		}
	})
	return hung, sync.OnceFunc(func() { close(wait) })
}

// readyLog is a log whose writer never waits for a file.
type readyLog struct {
	*Log
	ready chan struct{}
}

func openReady(t *testing.T, s *Store, topic uint64, level core.Ack) *readyLog {
	t.Helper()
	r := &readyLog{ready: make(chan struct{}, 8)}
	l, err := s.OpenLog(topic, 0, LogOptions{Level: level, SegmentBytes: core.MinSegmentBytes,
		Ready: func() { r.ready <- struct{}{} }})
	if err != nil {
		t.Fatal(err)
	}
	r.Log = l
	return r
}

// put appends value if there is room, else it waits for room as a writer that has nothing else to do.
func (r *readyLog) put(t *testing.T, value string) {
	t.Helper()
	need := int64(core.FrameHeaderSize + len(encodeRecord(value)))
	for r.Room() < need {
		if err := r.Await(need); err != nil {
			t.Fatal(err)
		}
		<-r.ready
	}
	if err := appendValue(r.Log, value); err != nil {
		t.Fatal(err)
	}
}

// goroutine names the goroutine it is called on.
func goroutine() string {
	var b [64]byte
	line, _, _ := strings.Cut(string(b[:runtime.Stack(b[:], false)]), "[")
	return line
}

// TestRoomNeverWaits: whoever looks at Room before it adds makes no file and reserves nothing,
// whatever the sizes, also after the log was opened again.
func TestRoomNeverWaits(t *testing.T) {
	for _, level := range bothSinks {
		t.Run(level.String(), func(t *testing.T) {
			fs := Heap()
			var want []string
			for range 3 {
				s := openTest(t, fs, "data", Options{})
				l := openReady(t, s, 16, level)
				writer := goroutine()
				fs.Hook(func(op, name string) { // what the preparer does meanwhile is on goroutines of its own
					if (op == "create" || op == "allocate") && goroutine() == writer {
						t.Errorf("%s of %s by the writer", op, name)
					}
				})
				// The sixth leaves much room in its segment, but too little for the next.
				for i, size := range []int{10, 100_000, 100_000, 100_000, 400_000, 3_000_000, 2_000_000, 10, 250_000} {
					v := strings.Repeat(string(rune('a'+i)), size)
					need := int64(core.FrameHeaderSize + len(encodeRecord(v)))
					for l.Room() < need {
						if err := l.Await(need); err != nil {
							t.Fatal(err)
						}
						<-l.ready
					}
					settle(s, l.Log)
					if _, err := l.Append(1, encodeRecord(v), 1); err != nil {
						t.Fatal(err)
					}
					want = append(want, v)
				}
				fs.Hook(nil)
				wantValues(t, l.Log, want...)
				if err := s.Close(); err != nil {
					t.Fatal(err)
				}
			}
		})
	}
}

// TestHangingFileHoldsUpOneLog: a disk that hangs while it makes a file of one log leaves the others
// alone, and that one goes on when the disk does.
func TestHangingFileHoldsUpOneLog(t *testing.T) {
	for _, op := range []string{"create", "allocate", "write"} {
		synctest.Test(t, func(t *testing.T) {
			fs := Heap()
			s := openTest(t, fs, "data", Options{})
			slow, other := openReady(t, s, 16, core.AckPage), openReady(t, s, 17, core.AckPage)
			slow.put(t, "before")
			synctest.Wait()
			hung, release := hangOn(fs, op, filepath.Join(slow.dir, "spare"))
			room := slow.Room()
			for slow.Room() >= 2000 {
				appendValues(t, slow.Log, numbered(1, 1000)...)
				synctest.Wait() // the spare is asked for in time, and hangs
			}
			<-hung
			if err := slow.Await(2000); err != nil {
				t.Fatal(err)
			}
			for _, v := range numbered(2000, 1000) {
				other.put(t, v)
			}
			synctest.Wait()
			select {
			case <-slow.ready:
				t.Error("ready while the disk hangs")
			default:
			}
			if slow.Room() >= 2000 || slow.Room() > room {
				t.Errorf("room %d while the disk hangs", slow.Room())
			}
			release()
			<-slow.ready
			slow.put(t, "after")
			fs.Hook(nil)
		})
	}
}

// TestAwaitTellsWhyNot: a full disk is told once per attempt, and an attempt succeeds when there is room.
func TestAwaitTellsWhyNot(t *testing.T) {
	fs := Heap()
	l := openReady(t, openTest(t, fs, "data", Options{}), 16, core.AckPage)
	fs.LimitSpace(100 << 10)
	for range 3 {
		if err := l.Await(1000); err != nil {
			t.Fatal(err)
		}
		<-l.ready
		if l.Room() > 0 {
			t.Fatalf("room %d on a full disk", l.Room())
		}
		wantCode(t, "Await", l.Await(1000), core.CodeStorageFull)
	}
	fs.LimitSpace(-1)
	l.put(t, "x")
	wantValues(t, l.Log, "x")
}

// TestFailedFileIsTriedAgain: what went wrong with a spare nobody waits for is not told to a later Await.
func TestFailedFileIsTriedAgain(t *testing.T) {
	fs := Heap()
	s := openTest(t, fs, "data", Options{})
	l := openReady(t, s, 16, core.AckPage)
	l.put(t, "first")
	fs.FailWrites(syscall.ENOSPC)
	values := numbered(200, 1000)
	appendValues(t, l.Log, values[:100]...) // asks for a spare
	settle(s, l.Log)
	fs.FailWrites(nil)
	for _, v := range values[100:] {
		l.put(t, v)
	}
	wantValues(t, l.Log, append([]string{"first"}, values...)...)
}

// TestFastLogHasSeveralSpares: how many depends on the time of its batches.
func TestFastLogHasSeveralSpares(t *testing.T) {
	for millis, want := range map[int64]int{4000: 1, 400: 2, 40: maxSpares} {
		s := openTest(t, Heap(), "data", Options{})
		l := openReady(t, s, 16, core.AckPage)
		now := int64(1 << 40)
		for range 3000 {
			now += millis * 1_000_000 * 1000 / core.MinSegmentBytes
			l.Begin(now)
			if _, err := l.Add(encodeRecord(strings.Repeat("x", 1000)), 1); err != nil {
				t.Fatal(err)
			}
			if _, err := l.Publish(); err != nil {
				t.Fatal(err)
			}
		}
		l.askSpares(l.w.keep)
		settle(s, l.Log)
		l.prep.mu.Lock()
		got := len(l.prep.spares)
		l.prep.mu.Unlock()
		if got != want {
			t.Errorf("%d spares for a segment each %d ms, want %d", got, millis, want)
		}
	}
}

// TestAwaitOfAClosedLog is refused.
func TestAwaitOfAClosedLog(t *testing.T) {
	s := openTest(t, Heap(), "data", Options{})
	l := openReady(t, s, 16, core.AckPage)
	l.put(t, "x")
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if err := l.Await(1000); !errors.Is(err, core.ErrClosed) {
		t.Errorf("Await = %v, want CodeClosed", err)
	}
}
