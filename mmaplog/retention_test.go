package mmaplog

import (
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/leatbus/leat/core"
	"github.com/leatbus/leat/internal/clock"
)

const day = 24 * time.Hour

// agedRun is a log under a clock that the test moves.
type agedRun struct {
	testing.TB
	fs    FS
	dir   string
	opts  LogOptions
	clock *clock.Manual
	store *Store
	log   *Log
}

func newAgedRun(t testing.TB, fs FS, dir string, o LogOptions) *agedRun {
	o.SegmentBytes = core.MinSegmentBytes
	r := &agedRun{TB: t, fs: fs, dir: dir, opts: o, clock: clock.NewManual(int64(1000 * day))}
	r.reopen()
	return r
}

func (r *agedRun) reopen() {
	r.Helper()
	if r.store != nil {
		if err := r.store.Close(); err != nil {
			r.Fatal(err)
		}
	}
	r.store = openTest(r.TB, r.fs, r.dir, Options{Clock: r.clock})
	var err error
	if r.log, err = r.store.OpenLog(16, 0, r.opts); err != nil {
		r.Fatal(err)
	}
}

// fill appends one segment's worth of records at the clock's time, ten of them, and syncs.
func (r *agedRun) fill() {
	r.Helper()
	for range 10 {
		value := encodeRecord(strings.Repeat("x", 24<<10))
		if _, err := r.log.Append(r.clock.Now(), value, 1); err != nil {
			r.Fatal(err)
		}
	}
	syncNow(r.log)
}

// look is a tick and all that follows from it.
func (r *agedRun) look() {
	r.store.keeper.tick()
	drainJanitor(r.store)
}

func (r *agedRun) wantStart(what string, start int64) {
	r.Helper()
	if got := r.log.Start(); got != start {
		r.Errorf("%s: the log starts at %d, want %d", what, got, start)
	}
	if _, err := readValues(r.log); err != nil {
		r.Errorf("%s: %v", what, err)
	}
}

// TestRetentionAge: a segment goes when its newest frame is older than the limit, also one of an earlier
// life; a clock that goes back takes nothing.
func TestRetentionAge(t *testing.T) {
	bothFS(t, func(t *testing.T, fs FS, dir string) {
		for _, level := range bothSinks {
			r := newAgedRun(t, fs, dir+level.String(), LogOptions{Level: level, RetentionAge: 7 * day})
			for range 4 { // a segment a day, from offset 0, 10, 20, 30 on
				r.fill()
				r.clock.Advance(day)
			}
			r.look()
			r.wantStart("on day 4", 0)
			r.clock.Advance(3 * day)
			r.look()
			r.wantStart("on day 7", 0)
			r.clock.Advance(time.Nanosecond)
			r.look()
			r.wantStart("the moment after", 10)
			now := r.clock.Now()
			r.clock.SetWall(now - int64(40*day))
			r.look()
			r.wantStart("40 days back", 10)
			r.fill()
			r.look()
			r.wantStart("appended with the clock back", 10)
			r.clock.SetWall(now + int64(2*day))
			r.reopen()
			r.look()
			// Of the second segment it is known that it is older than the third; the age of that may be unknown.
			if start := r.log.Start(); start != 20 && start != 30 {
				t.Errorf("two days later, in another life: the log starts at %d", start)
			}
			r.clock.Advance(400 * day)
			r.look()
			r.wantStart("long after: only the last segment is left", 40)
		}
	})
}

func TestRetentionRecords(t *testing.T) {
	r := newAgedRun(t, Heap(), "data", LogOptions{Level: core.AckPage, RetentionRecords: 15})
	for range 4 {
		r.fill()
	}
	drainJanitor(r.store)
	r.wantStart("with 15 of 40", 20) // 10 alone would be too few
	r.log.SetRetention(Retention{Records: 10})
	drainJanitor(r.store)
	r.wantStart("with 10 of 40", 30)
	r.log.SetRetention(Retention{Records: 1000, Bytes: 1 << 30, Age: 100 * day})
	r.fill()
	r.look()
	r.wantStart("with limits that are far", 30)
}

// TestRetentionLimitsAreChecked: a limit below zero is refused with its name.
func TestRetentionLimitsAreChecked(t *testing.T) {
	s := openTest(t, Heap(), "data", Options{})
	for name, o := range map[string]LogOptions{
		"RetentionBytes":   {RetentionBytes: -1},
		"RetentionAge":     {RetentionAge: -1},
		"RetentionRecords": {RetentionRecords: -1},
	} {
		_, err := s.OpenLog(16, 0, o)
		wantCode(t, name, err, core.CodeInvalidConfig)
		if !strings.Contains(err.Error(), name+" -1") {
			t.Errorf("%v does not name %s", err, name)
		}
	}
}

// TestIdleLogEmpties: the last segment of a log that nobody appends to is left when all of it is too old,
// and goes; offsets go on where they were, also after a crash at that time.
func TestIdleLogEmpties(t *testing.T) {
	for _, level := range bothSinks {
		var due atomic.Int64 // the keeper's own ticks count too
		disk := Heap()
		r := newAgedRun(t, disk, "data", LogOptions{Level: level, RetentionAge: 7 * day,
			RollDue: func() { due.Add(1) }})
		r.fill()
		r.clock.Advance(6 * day)
		r.look()
		r.reopen() // it remembers how old the frames are
		r.look()
		if due.Load() != 0 {
			t.Fatalf("level %v: a roll was due after 6 days", level)
		}
		r.clock.Advance(2 * day)
		r.look()
		if due.Load() == 0 {
			t.Fatalf("level %v: no roll is due after 8 days", level)
		}
		if err := r.log.Roll(); err != nil {
			t.Fatal(err)
		}
		if crashed := disk.Crash(7); true {
			again := openTest(t, crashed, "data", Options{})
			if l := openLog(t, again, level); l.End() != 10 || l.Start() != 0 {
				t.Errorf("level %v: after a crash behind Roll the log is [%d, %d)", level, l.Start(), l.End())
			}
		}
		syncNow(r.log)
		r.look()
		r.wantStart("behind the roll", 10)
		if r.log.End() != 10 || r.log.Segments() != 1 || r.log.Bytes() != core.MinSegmentBytes {
			t.Errorf("level %v: [%d, %d) in %d segments of %d bytes", level, r.log.Start(), r.log.End(),
				r.log.Segments(), r.log.Bytes())
		}
		for range 3 {
			r.clock.Advance(30 * day)
			r.look()
		}
		if err := r.log.Roll(); err != nil || r.log.Segments() != 1 {
			t.Errorf("level %v: an empty log is rolled: %v, %d segments", level, err, r.log.Segments())
		}
		r.reopen()
		r.fill()
		if r.log.Start() != 10 || r.log.End() != 20 {
			t.Errorf("level %v: the log goes on as [%d, %d)", level, r.log.Start(), r.log.End())
		}
	}
}

// TestRollGoesOn: Roll between batches, in the first life and after opening, keeps every record.
func TestRollGoesOn(t *testing.T) {
	bothFS(t, func(t *testing.T, fs FS, dir string) {
		for _, level := range bothSinks {
			r := newAgedRun(t, fs, dir+level.String(), LogOptions{Level: level})
			if err := r.log.Roll(); err != nil || r.log.Segments() != 0 {
				t.Fatalf("Roll of an empty log = %v, %d segments", err, r.log.Segments())
			}
			for i := range 4 {
				appendValues(t, r.log, "a", "b")
				if err := r.log.Roll(); err != nil {
					t.Fatal(err)
				}
				if i == 1 {
					r.reopen()
					if err := r.log.Roll(); err != nil {
						t.Fatal(err)
					}
				}
			}
			r.reopen()
			wantValues(t, r.log, "a", "b", "a", "b", "a", "b", "a", "b")
			if r.log.Segments() != 5 {
				t.Errorf("%d segments behind 4 rolls", r.log.Segments())
			}
		}
	})
}

// TestKeeperTicks: the goroutine looks by itself, as often as the shortest age asks for, and not at all
// where nothing ages.
func TestKeeperTicks(t *testing.T) {
	rolls := make(chan struct{}, 100)
	r := newAgedRun(t, Heap(), "data", LogOptions{Level: core.AckPage, RollDue: func() { rolls <- struct{}{} }})
	r.fill()
	syncNow(r.log)
	r.clock.AwaitTimers(1) // the flusher's
	r.clock.Advance(time.Second)
	if n := r.clock.Timers(); n != 0 {
		t.Errorf("%d timers where nothing ages", n)
	}
	r.log.SetRetention(Retention{Age: 100 * time.Second})
	for range 11 {
		r.clock.AwaitTimers(1)
		r.clock.Advance(10 * time.Second)
	}
	<-rolls
	r.log.SetRetention(Retention{Age: 20 * time.Second})
	r.log.SetRetention(Retention{})
	r.clock.AwaitTimers(1)
	r.clock.Advance(time.Minute)
	r.store.keeper.tick()
	if n := len(r.store.keeper.logs); n != 0 {
		t.Errorf("%d logs are looked at that keep everything", n)
	}
}

func TestTickFor(t *testing.T) {
	for age, want := range map[time.Duration]time.Duration{
		7 * day: time.Minute, 10 * time.Minute: time.Minute,
		time.Minute: 6 * time.Second, time.Nanosecond: time.Millisecond,
	} {
		if got := tickFor(age); got != want {
			t.Errorf("tickFor(%v) = %v, want %v", age, got, want)
		}
	}
}
