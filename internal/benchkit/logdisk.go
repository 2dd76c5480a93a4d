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

// durableLog is a log at level disk that several appenders share under a lock, as the shards of the
// bus do under their journal. Every move of the durable end is one sync round.
type durableLog struct {
	log    *mmaplog.Log
	record []byte
	rounds atomic.Int64

	mu    sync.Mutex // held by the one writer of the log
	moved sync.Cond
	state sync.Mutex // guards the following
	end   int64
	err   error
}

func newDurableLog(size int) *durableLog {
	d := &durableLog{record: numberedRecord(size)}
	d.moved.L = &d.state
	return d
}

// durable is the log's callback.
func (d *durableLog) durable(end int64, err error) {
	d.rounds.Add(1)
	d.state.Lock()
	d.end, d.err = end, err
	d.state.Unlock()
	d.moved.Broadcast()
}

// append appends one record and waits until it is durable.
func (d *durableLog) append(now int64) error {
	offset, err := d.publish(now)
	if err != nil {
		return err
	}
	d.log.RequestSync()
	d.state.Lock()
	defer d.state.Unlock()
	for d.end <= offset && d.err == nil {
		d.moved.Wait()
	}
	return d.err
}

func (d *durableLog) publish(now int64) (int64, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	setNumber(d.record, d.log.End())
	d.log.Begin(now)
	offset, err := d.log.Add(d.record, 1)
	if err != nil {
		return 0, err
	}
	_, err = d.log.Publish()
	return offset, err
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
				failures[i] = d.append(b.clock.Now())
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

func (b *bench) diskLog(ctx context.Context) (err error) {
	d := newDurableLog(b.Size)
	store, log, err := b.openLog("disk", core.AckDisk, d.durable)
	if err != nil {
		return err
	}
	d.log = log
	defer func() { err = errors.Join(err, store.Close()) }()
	floor, err := newSyncFloor(b.clock, b.dir)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, floor.close()) }()
	var ones, many, perRound, syncs samples
	var oneLatency, manyLatency []Latency
	measure := func(n int, rates *samples, latencies *[]Latency) func(int) error {
		return func(round int) error {
			b.progress("durable appends, %d at a time, round %d", n, round+1)
			h := NewHistogram()
			records, rounds, nanos, err := b.runAppenders(ctx, d, n, h)
			rates.add(round, perSecond(records, nanos))
			if round > WarmUp {
				*latencies = append(*latencies, h.Summary())
				if n > 1 {
					perRound = append(perRound, float64(records)/float64(max(rounds, 1)))
				}
			}
			return err
		}
	}
	err = interleave(ctx, b.Rounds, measure(1, &ones, &oneLatency), func(round int) error {
		rate, err := floor.run(int64(b.For), NewHistogram())
		syncs.add(round, rate)
		return err
	}, measure(appenders, &many, &manyLatency))
	if err != nil {
		return err
	}
	b.reportDisk(ones, many, perRound, syncs, medianLatency(oneLatency), medianLatency(manyLatency))
	if got := log.DurableEnd(); got != log.End() {
		b.report.problem("durable end %d after every append was answered, log end %d", got, log.End())
	}
	return nil
}

func (b *bench) reportDisk(ones, many, perRound, syncs samples, one, all Latency) {
	floor := "syncs/s, " + syncFloorName
	row := b.report.row("durable append, one at a time", "disk", "records/s", ones).against(floor, syncs)
	row.Latency = &one
	row = b.report.row(fmt.Sprintf("durable append, %d at a time", appenders), "disk", "records/s", many)
	row.against(floor, syncs).Latency = &all
	row = b.report.row(fmt.Sprintf("records per sync, %d appenders", appenders), "disk", "records", perRound)
	row.Note = "closed loop: every appender waits for its record before the next"
}
