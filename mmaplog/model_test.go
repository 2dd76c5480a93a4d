package mmaplog

import (
	"fmt"
	"slices"
	"testing"

	"github.com/cespare/xxhash/v2"

	"github.com/leatbus/leat/core"
	"github.com/leatbus/leat/internal/clock"
)

// modelRun does random operations on a log and on a slice, and compares.
type modelRun struct {
	t     *testing.T
	seed  uint64
	dice  dice
	input []byte // what a fuzzer chose, instead of dice alone; nil outside of FuzzModel
	fs    *MemFS
	level core.Ack
	noMap bool
	store *Store
	log   *Log

	values  []string                   // by offset
	keys    []string                   // of each; empty for none
	frames  map[int64]core.FrameHeader // added by AddFrame, by base offset
	copies  map[int64]core.FrameHeader // added by AppendFrame
	times   []int64                    // of the frame of each offset
	terms   []uint32
	compact bool
	now     int64
	start   int64
	removed int // records that were found to be compacted away
}

// modelLevels are all levels that tell logs apart; noMap has the map's levels write by system call.
var modelLevels = []struct {
	level core.Ack
	noMap bool
}{
	{core.AckNone, false}, {core.AckRing, false}, {core.AckPage, false}, {core.AckPage, true},
	{core.AckDisk, false},
}

// TestModel runs at every level and with both sinks; a failure names its seed.
func TestModel(t *testing.T) {
	for _, l := range modelLevels {
		t.Run(fmt.Sprintf("%v noMap=%t", l.level, l.noMap), func(t *testing.T) {
			removed := 0
			for seed := range uint64(scaled(24)) {
				m := &modelRun{t: t, seed: seed, dice: dice(seed), fs: Heap(), level: l.level, noMap: l.noMap,
					compact: seed%3 == 1}
				m.run(120)
				removed += m.removed
			}
			if removed == 0 && !raceEnabled {
				t.Error("nothing was compacted away")
			}
		})
	}
}

// FuzzModel lets a fuzzer choose the operations and what they are given, a byte for each choice. Property:
// whatever it chooses, the log answers as a slice of records would.
func FuzzModel(f *testing.F) {
	f.Add([]byte("append and trim, sync and seek, open again"))
	f.Add([]byte{0, 8, 8, 8, 1, 2, 3, 4, 5, 0, 5, 3, 6, 7, 9, 2, 250, 1, 6, 5, 6, 1, 3})
	f.Add([]byte("copy frames, truncate and compact"))
	f.Fuzz(func(t *testing.T, input []byte) {
		if len(input) > 200 {
			t.Skip("longer inputs only take longer")
		}
		m := &modelRun{t: t, input: append([]byte{0}, input...), fs: Heap()}
		m.compact = len(input)%2 == 1
		l := modelLevels[int(m.next()%uint64(len(modelLevels)))]
		m.level, m.noMap = l.level, l.noMap
		m.run(40)
	})
}

func (m *modelRun) run(steps int) {
	m.frames, m.copies = map[int64]core.FrameHeader{}, map[int64]core.FrameHeader{}
	m.open()
	for range steps {
		if m.input != nil && len(m.input) == 0 {
			break
		}
		m.step()
	}
	m.readAll()
	if err := m.store.Close(); err != nil {
		m.fail("close: %v", err)
	}
}

// next is a choice.
func (m *modelRun) next() uint64 {
	if len(m.input) == 0 {
		return m.dice.next()
	}
	b := m.input[0]
	m.input = m.input[1:]
	if b < 128 {
		return uint64(b) // as it is, so that a small choice can be made by hand
	}
	d := dice(b)
	return d.next()
}

func (m *modelRun) fail(format string, args ...any) {
	m.t.Helper()
	m.t.Fatalf("LEAT_SEED=%d, level %v: %s", m.seed, m.level, fmt.Sprintf(format, args...))
}

func (m *modelRun) open() {
	s, err := Open(m.fs, "data", Options{Clock: clock.NewManual(1), NoMap: m.noMap,
		HotBytes: int64(1 + m.next()%400_000)})
	if err != nil {
		m.fail("open: %v", err)
	}
	m.store, m.log = s, nil
	m.log, err = s.OpenLog(16, 0, LogOptions{Level: m.level,
		SegmentBytes: core.MinSegmentBytes << (m.next() % 2), Compact: m.compact})
	if err != nil {
		m.fail("open log: %v", err)
	}
}

func (m *modelRun) step() {
	switch m.next() % 16 {
	case 0:
		m.log.RequestSync()
	case 1:
		syncNow(m.log)
		if m.log.DurableEnd() != int64(len(m.values)) || m.log.UnsyncedBytes() != 0 {
			m.fail("durable end %d of %d, unsynced %d", m.log.DurableEnd(), len(m.values), m.log.UnsyncedBytes())
		}
	case 2:
		m.trim()
	case 3:
		m.readFrom(m.pick())
	case 4:
		m.seekTime()
	case 5:
		if m.next()%3 == 0 {
			m.reopen()
		}
	case 6:
		if m.next()%4 == 0 {
			m.retain()
		}
	case 7:
		m.truncate()
	case 8, 9:
		m.copyFrames()
	case 10:
		m.compactAll()
	default:
		m.batch()
	}
}

// pick is an offset in the log, or its end.
func (m *modelRun) pick() int64 {
	return m.start + int64(m.next()%uint64(int64(len(m.values))-m.start+1))
}

func (m *modelRun) batch() {
	m.now += int64(m.next() % 3)
	m.log.Begin(m.now - int64(m.next()%2)*100) // a clock that jumps back
	if m.next()%4 == 0 {
		m.now += 5
		m.log.Begin(m.now)
		m.log.Begin(m.now - 50)
	}
	for range m.next() % 40 {
		b, n := m.records()
		base, err := m.add(b, n)
		if err != nil || base != int64(len(m.values)-n) {
			m.fail("Add = %d, %v; want %d", base, err, len(m.values)-n)
		}
	}
	if before := m.log.End(); before != int64(len(m.times)) {
		m.fail("End = %d before Publish, want %d", before, len(m.times))
	}
	end, err := m.log.Publish()
	if err != nil || end != int64(len(m.values)) || m.log.End() != end {
		m.fail("Publish = %d, %v; want %d", end, err, len(m.values))
	}
	for len(m.times) < len(m.values) {
		m.times = append(m.times, m.log.w.next.time)
		m.terms = append(m.terms, m.log.w.next.term)
	}
	if !slices.IsSorted(m.times) {
		m.fail("time went back")
	}
}

// records makes a few records.
func (m *modelRun) records() (b []byte, n int) {
	n = 1 + int(m.next()%3)
	for range n {
		size := m.next() % 200
		if m.next()%64 == 0 {
			size = m.next() % 200_000
		}
		key, v := "", fmt.Sprintf("%d-%0*d", len(m.values), size, m.next())
		if k := m.next() % 30; k > 0 {
			key = fmt.Sprint("key", k)
		}
		m.values, m.keys = append(m.values, v), append(m.keys, key)
		b = append(b, encodeKeyed(key, v)...)
	}
	return b, n
}

// encodeKeyed makes a record; an empty key is none, an empty value a tombstone.
func encodeKeyed(key, value string) []byte {
	k, v, hash := []byte(key), []byte(value), xxhash.Sum64String(key)
	if key == "" {
		k, hash = nil, 0
	}
	if value == "" {
		v = nil
	}
	n, err := core.EncodedRecordSize(k, v, nil)
	if err != nil {
		panic(err)
	}
	b := make([]byte, n)
	core.PutRecord(b, k, v, nil, hash, 0)
	return b
}

// add appends records as an anonymous producer or as one with an id.
func (m *modelRun) add(b []byte, n int) (base int64, err error) {
	if m.next()%3 > 0 {
		return m.log.Add(b, n)
	}
	h := produced(int64(1+m.next()%3), int32(m.next()%1000), b, n)
	m.frames[int64(len(m.values)-n)] = h
	return m.log.AddFrame(&h, b)
}

func (m *modelRun) trim() {
	offset := m.pick()
	syncNow(m.log)
	if err := m.log.TrimTo(offset); err != nil {
		m.fail("TrimTo: %v", err)
	}
	start := m.log.Start()
	if start < m.start || start > max(offset, m.start) {
		m.fail("TrimTo(%d) moved the start from %d to %d", offset, m.start, start)
	}
	m.start = start
	if start > 0 {
		_, err := m.log.Reader(start - 1).Next(m.log.End())
		if core.CodeOf(err) != core.CodeOffsetOutOfRange {
			m.fail("reading trimmed offset %d: %v", start-1, err)
		}
	}
}

// retain lets only so many records be kept, and everything again.
func (m *modelRun) retain() {
	kept := int64(1 + m.next()%uint64(len(m.values)+1))
	syncNow(m.log)
	m.log.SetRetention(Retention{Records: kept})
	drainJanitor(m.store)
	m.log.SetRetention(Retention{})
	drainJanitor(m.store)
	start := m.log.Start()
	if start < m.start || int64(len(m.values))-start < min(kept, int64(len(m.values))-m.start) {
		m.fail("keeping %d records of [%d, %d) moved the start to %d", kept, m.start, len(m.values), start)
	}
	m.start = start
}

// readFrom reads up to a random limit and compares.
func (m *modelRun) readFrom(offset int64) {
	r := m.log.Reader(offset)
	defer r.Close()
	limit := offset + int64(m.next()%uint64(int64(len(m.values))-offset+1))
	for at := offset; ; {
		run, err := r.Next(limit)
		if err != nil {
			m.fail("Next(%d) at %d: %v", limit, at, err)
		}
		if run == nil {
			break
		}
		at = m.compare(run, at, limit)
		if r.Offset() != at {
			m.fail("cursor at %d, want %d", r.Offset(), at)
		}
	}
}

// compare checks one run that holds offset at in its first frame, and gives the offset behind it.
func (m *modelRun) compare(run []byte, at, limit int64) int64 {
	first := true
	for len(run) > 0 {
		h := core.ParseFrameHeader(run)
		if h.NextOffset() > limit || h.BaseOffset != at && (!first || h.BaseOffset > at || h.NextOffset() <= at) {
			m.fail("frame [%d, %d) at cursor %d, limit %d", h.BaseOffset, h.NextOffset(), at, limit)
		}
		m.compareHeader(&h)
		payload := run[core.FrameHeaderSize:h.Length]
		for i := range int64(h.Records) {
			record, n, err := core.DecodeRecord(payload)
			if err != nil {
				m.fail("record %d: %v", h.BaseOffset+i, err)
			}
			m.compareRecord(&h, h.BaseOffset+i, &record)
			payload = payload[n:]
		}
		at, first, run = h.NextOffset(), false, run[h.Size():]
	}
	return at
}

func (m *modelRun) compareHeader(h *core.FrameHeader) {
	want, copied := m.copies[h.BaseOffset]
	if copied {
		want.DurableLag, want.HeaderCRC = h.DurableLag, h.HeaderCRC // of each log its own
	} else {
		want = m.frames[h.BaseOffset]
	}
	if m.compact { // what is changed when a record goes
		want.Length, want.PayloadCRC, want.PrevCRC = h.Length, h.PayloadCRC, h.PrevCRC
	}
	if copied && *h != want || !sameProducer(h, &want) {
		m.fail("frame %+v, was added as %+v", *h, want)
	}
}

func (m *modelRun) compareRecord(h *core.FrameHeader, offset int64, record *core.Record) {
	if h.Time != m.times[offset] || h.Term != m.terms[offset] {
		m.fail("record %d: time %d, term %d; want %d, %d", offset, h.Time, h.Term, m.times[offset], m.terms[offset])
	}
	if key := m.keys[offset]; record.Removed() {
		m.removed++
		if !m.compact || key == "" || !slices.Contains(m.keys[offset+1:], key) {
			m.fail("record %d with key %q is gone", offset, key)
		}
	} else if string(record.Key) != key || string(record.Value) != m.values[offset] {
		m.fail("record %d: %q %.30q", offset, record.Key, record.Value)
	}
}

// readAll compares all records; the newest one of each key is there.
func (m *modelRun) readAll() {
	gone := map[string]bool{}
	due := m.start
	r := m.log.Reader(m.start)
	defer r.Close()
	for {
		run, err := r.Next(m.log.End())
		if err != nil {
			m.fail("read at %d: %v", due, err)
		}
		if run == nil {
			break
		}
		for rest := run; len(rest) > 0; {
			h := core.ParseFrameHeader(rest)
			err := eachRecord(&h, rest[core.FrameHeaderSize:h.Length], func(offset int64, r *core.Record, _ []byte) {
				gone[m.keys[offset]] = r.Removed()
			})
			if err != nil {
				m.fail("%v", err)
			}
			rest = rest[h.Size():]
		}
		due = m.compare(run, due, m.log.End())
	}
	if due != int64(len(m.values)) {
		m.fail("read up to %d of [%d, %d)", due, m.start, len(m.values))
	}
	for key, gone := range gone {
		if gone {
			m.fail("the newest record of %q is gone", key)
		}
	}
}

func (m *modelRun) seekTime() {
	at := int64(m.next() % uint64(m.now+3))
	want := int64(len(m.values))
	for i := m.start; i < int64(len(m.times)); i++ {
		if m.times[i] >= at {
			want = i
			break
		}
	}
	got, err := m.log.OffsetAt(at)
	if err != nil || got != want {
		m.fail("OffsetAt(%d) = %d, %v; want %d", at, got, err, want)
	}
}

// reopen closes the store, or pulls the plug after a sync.
func (m *modelRun) reopen() {
	if m.next()%2 == 0 {
		syncNow(m.log)
		after := m.fs.Crash(m.seed)
		_ = m.store.Close()
		m.fs = after
	} else if err := m.store.Close(); err != nil {
		m.fail("close: %v", err)
	}
	m.open()
	if m.log.End() != int64(len(m.values)) || m.log.Start() > m.start {
		m.fail("reopened [%d, %d), want [%d, %d): %+v", m.log.Start(), m.log.End(), m.start, len(m.values),
			m.log.Recovery())
	}
	m.start = m.log.Start() // a trim that was not finished may be undone
	m.readAll()
}
