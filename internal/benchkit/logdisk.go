package benchkit

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"

	"github.com/leatbus/leat/core"
	"github.com/leatbus/leat/mmaplog"
)

// durableLog is a log at level disk. Every move of its durable end is one sync round.
type durableLog struct {
	log    *mmaplog.Log
	commit *mmaplog.Committer
	record []byte
	rounds atomic.Int64
}

func (d *durableLog) durable(int64, error) { d.rounds.Add(1) }

// diskLog measures durable appends. Segments start small and double: the log is filled to its largest ones
// first, so that no round measures the filling of the next.
func (b *bench) diskLog(ctx context.Context) (err error) {
	d := &durableLog{record: numberedRecord(b.Size)}
	store, log, err := b.openLog("disk", core.AckDisk, d.durable)
	if err != nil {
		return err
	}
	d.log, d.commit = log, mmaplog.NewCommitter(log)
	defer func() { err = errors.Join(err, store.Close()) }()
	b.progress("fill a log at disk")
	if err := b.fillDurable(ctx, d); err != nil {
		return err
	}
	floor, err := newSyncFloor(b.clock, b.dir)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, floor.close()) }()
	one, many := loneAppends{}, groupAppends{}
	err = interleave(ctx, b.Rounds, func(round int) error {
		b.progress("durable appends, one at a time, round %d", round+1)
		return b.appendAlone(ctx, d, floor, &one, round)
	}, func(round int) error {
		b.progress("durable appends, %d at a time, round %d", appenders, round+1)
		return b.appendTogether(ctx, d, floor, &many, round)
	})
	if err != nil {
		return err
	}
	b.reportAlone(&one)
	b.reportTogether(&many)
	if got := log.DurableEnd(); got != log.End() {
		b.report.problem("durable end %d after every append was answered, log end %d", got, log.End())
	}
	return nil
}

const fillBytes = 80 << 20 // segments of 256 KiB to 32 MiB hold 64; then the largest begin

// fillDurable appends until the log's segments have full size. In a run that is only to see whether
// everything works, which a short For tells, it appends little.
func (b *bench) fillDurable(ctx context.Context, d *durableLog) error {
	left := int(min(b.For.Milliseconds(), 200)) * (fillBytes / 200)
	for left > 0 {
		for range 1000 {
			end, err := d.log.Append(b.clock.Now(), d.record, 1)
			if err != nil {
				return err
			}
			left -= core.FrameHeaderSize + len(d.record)
			setNumber(d.record, end)
		}
		if err := d.log.Sync(ctx); err != nil {
			return err
		}
	}
	return nil
}

// loneAppends is what one appender that syncs for itself costs, beside a bare write and sync after each.
type loneAppends struct {
	rates, floors       samples // per second
	p50, floorP50       samples // microseconds
	bytes, calls, fault samples // per append, without the floor's
	latency             []Latency
}

// appendAlone appends and runs the floor in turn, each time one of the one and one of the other.
func (b *bench) appendAlone(ctx context.Context, d *durableLog, floor *syncFloor, out *loneAppends,
	round int) error {
	ours, theirs := NewHistogram(), NewHistogram()
	var n, oursNanos, theirNanos int64
	before, counted := readIOUse()
	for start := b.clock.Mono(); (n == 0 || b.clock.Mono()-start < int64(b.For)) && ctx.Err() == nil; n++ {
		begun := b.clock.Mono()
		setNumber(d.record, d.log.End())
		end, err := d.log.Append(b.clock.Now(), d.record, 1)
		if err == nil {
			err = d.log.SyncTo(ctx, end)
		}
		if err != nil {
			return err
		}
		done := b.clock.Mono()
		if err := floor.once(); err != nil {
			return err
		}
		floorDone := b.clock.Mono()
		ours.Record(done - begun)
		theirs.Record(floorDone - done)
		oursNanos += done - begun
		theirNanos += floorDone - done
	}
	after, _ := readIOUse()
	out.rates.add(round, perSecond(n, oursNanos))
	out.floors.add(round, perSecond(n, theirNanos))
	out.p50.add(round, ours.Summary().P50)
	out.floorP50.add(round, theirs.Summary().P50)
	if counted && after.written > before.written { // not in memory
		per := func(ours int64, floor float64) float64 { return float64(ours)/float64(n) - floor }
		out.bytes.add(round, per(after.written-before.written, float64(len(floor.page))))
		out.calls.add(round, per(after.writeCalls-before.writeCalls, 1))
		out.fault.add(round, per(after.faults-before.faults, 0))
	}
	if round > WarmUp {
		out.latency = append(out.latency, ours.Summary())
	}
	return ctx.Err()
}

func (b *bench) reportAlone(out *loneAppends) {
	latency := medianLatency(out.latency)
	row := b.report.row("durable append, one at a time", "disk", "records/s", out.rates)
	row.against("syncs/s, "+syncFloorName, out.floors).Latency = &latency
	row.Note = "the appender syncs for itself; one of the floor after each"
	row = b.report.row("durable append, one at a time, p50", "disk", "µs", out.p50)
	row.against("µs p50, "+syncFloorName, out.floorP50)
	if len(out.bytes) == 0 {
		return
	}
	row = b.report.row("bytes written per durable append", "disk", "B", out.bytes)
	row.Note = "by the process, without the floor's; with the filling of segments, if any fell into the round"
	b.report.row("write calls per durable append", "disk", "calls", out.calls)
	row = b.report.row("page faults per durable append", "disk", "faults", out.fault)
	row.Note = "minor ones, of the whole process"
}

// groupAppends is what many appenders do that share one log.
type groupAppends struct {
	rates, floors, perRound samples
	latency                 []Latency
}

// appendTogether lets many goroutines append durably, with a bare sync loop before and after.
func (b *bench) appendTogether(ctx context.Context, d *durableLog, floor *syncFloor, out *groupAppends,
	round int) error {
	before, err := floor.run(int64(b.For)/4, NewHistogram())
	if err != nil {
		return err
	}
	h := NewHistogram()
	records, rounds, nanos, err := b.runAppenders(ctx, d, appenders, h)
	if err != nil {
		return err
	}
	after, err := floor.run(int64(b.For)/4, NewHistogram())
	if err != nil {
		return err
	}
	out.rates.add(round, perSecond(records, nanos))
	out.floors.add(round, appenders*(before+after)/2)
	if round > WarmUp {
		out.perRound = append(out.perRound, float64(records)/float64(max(rounds, 1)))
		out.latency = append(out.latency, h.Summary())
	}
	return nil
}

// runAppenders lets n appenders append for as long as a round, and returns the records and sync
// rounds there were.
func (b *bench) runAppenders(ctx context.Context, d *durableLog, n int, h *Histogram) (
	records, rounds, nanos int64, err error) {
	histograms, counts, failures := newHistograms(n), make([]int64, n), make([]error, n)
	start := b.clock.Mono()
	end := start + int64(b.For)
	before := d.rounds.Load()
	var group sync.WaitGroup
	for i := range n {
		group.Go(func() {
			// At least once, however late this goroutine gets to run.
			for now := b.clock.Mono(); (counts[i] == 0 || now < end) && ctx.Err() == nil && failures[i] == nil; {
				_, failures[i] = d.commit.Append(context.WithoutCancel(ctx), now, d.record, 1)
				done := b.clock.Mono()
				histograms[i].Record(done - now)
				counts[i]++
				now = done
			}
		})
	}
	group.Wait()
	nanos = b.clock.Mono() - start
	for i := range n {
		h.Merge(histograms[i])
		records += counts[i]
	}
	return records, d.rounds.Load() - before, nanos, errors.Join(errors.Join(failures...), ctx.Err())
}

func (b *bench) reportTogether(out *groupAppends) {
	latency := medianLatency(out.latency)
	row := b.report.row(fmt.Sprintf("durable append, %d at a time", appenders), "disk", "records/s", out.rates)
	row.against(fmt.Sprintf("%d × syncs/s, %s", appenders, syncFloorName), out.floors).Latency = &latency
	row.Note = "closed loop: every appender waits for its record before the next"
	row = b.report.row(fmt.Sprintf("records per sync, %d appenders", appenders), "disk", "records", out.perRound)
	row.Note = "in the same rounds"
}
