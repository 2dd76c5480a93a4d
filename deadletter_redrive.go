package leat

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"math"
	"sync"
	"time"

	"github.com/leatbus/leat/core"
	"github.com/leatbus/leat/internal/clock"
)

// RedriveConfig says which dead letters are published again, where to and how fast. The zero value publishes
// all of them to the topics and partitions they came from, as fast as it goes.
type RedriveConfig struct {
	Filter DeadLetterFilter
	To     string  // the topic that gets them, by key; empty: where each came from
	Rate   float64 // letters a second; 0 for no limit
	Limit  int64   // letters in all; 0 for no limit
	DryRun bool    // only count
	// Progress, if not nil, is called after each step, on the goroutine of the caller.
	Progress func(DeadLetterProgress)
}

// DropConfig says which dead letters are given up for good. The zero value drops all.
type DropConfig struct {
	Filter   DeadLetterFilter
	Limit    int64                    // letters in all; 0 for no limit
	DryRun   bool                     // only count
	Progress func(DeadLetterProgress) // as in RedriveConfig
}

// DeadLetterProgress is how far a job is.
type DeadLetterProgress struct {
	Pending int64 // letters that were there when it began, whatever the filter says
	Done    int64 // redriven or dropped by it; with DryRun, what would be
	Failed  int64 // letters their topic refuses, too large by now for example: they stay
	// FirstFailure is why the first of them was refused, nil if none was.
	FirstFailure error
}

// Redrive publishes dead letters again, with key, value and the user's headers, and takes them off the dead
// letters of the topic that is called name. It handles those that are there when it begins, so that one which
// fails again does not go round in circles.
//
// Each is published before it is taken off. Wherever Redrive is cut short, by ctx, an error or a crash, the
// next call goes on with what is left; what was published and not yet taken off then, one step at most, comes
// twice. Another job on the same letters is ErrRedriving. ErrTopicNotFound if there is nowhere to publish to,
// ErrInvalidConfig with field and bound; the progress tells what was done before an error.
func (b *Bus) Redrive(ctx context.Context, name string, cfg RedriveConfig) (DeadLetterProgress, error) {
	op := "redrive topic " + core.Quote(name)
	switch {
	case !(cfg.Rate >= 0) || math.IsInf(cfg.Rate, 1):
		return DeadLetterProgress{}, core.Errorf(core.CodeInvalidConfig, op, "Rate %v: want 0 or more", cfg.Rate)
	case cfg.To == name:
		return DeadLetterProgress{}, core.Errorf(core.CodeInvalidConfig, op,
			"To is the topic of the letters itself")
	}
	j := letterJob{bus: b, name: name, op: op, to: cfg.To, filter: cfg.Filter, dry: cfg.DryRun,
		tell: cfg.Progress}
	j.pace = core.DeadLetterPace{Rate: cfg.Rate, Limit: cfg.Limit}
	return j.run(ctx)
}

// DropDeadLetters gives dead letters up for good: those of the topic that is called name and there when it
// begins. It can be called again where it was cut short. Errors are as for Redrive.
func (b *Bus) DropDeadLetters(ctx context.Context, name string, cfg DropConfig) (DeadLetterProgress, error) {
	j := letterJob{bus: b, name: name, op: "drop dead letters of topic " + core.Quote(name), drop: true,
		filter: cfg.Filter, dry: cfg.DryRun, tell: cfg.Progress}
	j.pace = core.DeadLetterPace{Limit: cfg.Limit}
	return j.run(ctx)
}

// settleWait bounds how long a job that was cut short tries to note what it has done.
const settleWait = 5 * time.Second

// letterJob redrives or drops dead letters, one partition after the other. A step reads a page, publishes it
// and settles it; so what is settled was published.
type letterJob struct {
	bus    *Bus
	name   string
	op     string
	to     string
	filter DeadLetterFilter
	dry    bool
	drop   bool
	tell   func(DeadLetterProgress)

	id         int64
	origin     string // the topic in the name of the letters'
	pace       core.DeadLetterPace
	progress   DeadLetterProgress
	partitions map[string]int // of topics
	producers  map[target]*Producer
}

// target is where letters go: a topic, to a partition they name or by key.
type target struct {
	topic string
	named bool
}

func (j *letterJob) run(ctx context.Context) (done DeadLetterProgress, err error) {
	if j.pace.Limit < 0 {
		return j.progress, core.Errorf(core.CodeInvalidConfig, j.op, "Limit %d: want 0 or more", j.pace.Limit)
	}
	info, err := j.find(ctx)
	if err != nil {
		return j.progress, err
	}
	j.origin, j.progress.Pending = info.Topic, info.Pending()
	if !j.dry {
		if err := j.begin(ctx); err != nil {
			return j.progress, err
		}
	}
	defer func() {
		for _, p := range j.producers {
			if closing := p.Close(); err == nil {
				err = closing
			}
		}
	}()
	var unknown error
	for i := range info.Partitions {
		p := &info.Partitions[i]
		if p.Err != nil {
			if unknown == nil {
				unknown = p.Err // the others are worth while
			}
			continue
		}
		if more, err := j.partition(ctx, p); err != nil || !more {
			return j.progress, err
		}
	}
	return j.progress, unknown
}

// begin gives the job its number, and looks where letters can go.
func (j *letterJob) begin(ctx context.Context) error {
	var seed [8]byte
	if _, err := rand.Read(seed[:]); err != nil {
		return core.NewError(core.CodeInternal, j.op, err)
	}
	j.id = int64(binary.LittleEndian.Uint64(seed[:])>>1 | 1)
	if j.drop {
		return nil
	}
	topics, err := j.bus.Topics(ctx)
	if err != nil {
		return err
	}
	j.partitions = map[string]int{}
	for i := range topics {
		j.partitions[topics[i].Name] = len(topics[i].Partitions)
	}
	j.producers = map[target]*Producer{}
	if j.to != "" {
		_, err = j.producer(target{topic: j.to})
	}
	return err
}

// producer gives the job's producer for a target.
func (j *letterJob) producer(to target) (*Producer, error) {
	if p := j.producers[to]; p != nil {
		return p, nil
	}
	partitioner := BySlot
	if to.named {
		partitioner = Manual
	}
	p, err := j.bus.Producer(to.topic, WithPartitioner(partitioner))
	if err == nil {
		j.producers[to] = p
	}
	return p, err
}

// find describes the letters.
func (j *letterJob) find(ctx context.Context) (*DeadLetterTopic, error) {
	list, err := j.bus.DeadLetters(ctx)
	if err != nil {
		return nil, err
	}
	for i := range list {
		if list[i].Name == j.name {
			return &list[i], nil
		}
	}
	e := core.NewError(core.CodeTopicNotFound, j.op, nil)
	e.Hint = "there are no dead letters of that name: bus.DeadLetters or leat dlq ls lists them"
	return nil, e
}

// partition handles one partition; more is false if the limit was reached.
func (j *letterJob) partition(ctx context.Context, p *DeadLetterPartition) (more bool, err error) {
	if !j.dry {
		defer func() {
			release, cancel := context.WithTimeout(context.WithoutCancel(ctx), settleWait)
			defer cancel()
			// If it cannot be told, the job ends there by its silence.
			_, _ = j.bus.backend.SettleDeadLetters(release, j.name,
				DeadLetterSettle{Partition: p.Partition, Job: j.id, Done: true})
		}()
	}
	for from := p.Start; from < p.End; {
		n, wait := j.pace.Room(clock.System.Mono())
		if n == 0 && wait == 0 {
			return false, nil
		}
		if n == 0 && !j.dry {
			if err := clock.Sleep(ctx, clock.System, wait); err != nil {
				return false, err
			}
			continue
		}
		page, err := j.bus.backend.ReadDeadLetters(ctx, j.name, DeadLetterRead{Partition: p.Partition, From: from,
			To: p.End, Limit: max(n, 1), Bare: j.drop || j.dry, Filter: j.filter, Job: j.id})
		if err != nil {
			return false, err
		}
		if err := j.step(ctx, p.Partition, page.Letters); err != nil {
			return false, err
		}
		if from = page.Next; from >= page.End {
			break
		}
	}
	return true, nil
}

// step handles the letters of one page.
func (j *letterJob) step(ctx context.Context, partition int32, letters []DeadLetter) error {
	j.pace.Took(len(letters))
	handled := make([]bool, len(letters))
	var failed error
	switch {
	case j.dry:
		j.progress.Done += int64(len(letters))
	case j.drop:
		for i := range handled {
			handled[i] = true
		}
	default:
		handled, failed = j.publish(ctx, letters)
	}
	if !j.dry {
		if err := j.settle(ctx, partition, letters, handled); failed == nil {
			failed = err
		}
	}
	if j.tell != nil && len(letters) > 0 {
		j.tell(j.progress)
	}
	return failed
}

// settle takes what was handled off the dead letters, also when ctx has ended meanwhile.
func (j *letterJob) settle(ctx context.Context, partition int32, letters []DeadLetter, handled []bool) error {
	s := DeadLetterSettle{Partition: partition, Job: j.id, Dropped: j.drop}
	n := int64(0)
	for i := range letters {
		if !handled[i] {
			continue
		}
		n++
		at := letters[i].Offset
		if last := len(s.Runs) - 1; last >= 0 && s.Runs[last][1] == at {
			s.Runs[last][1]++
		} else {
			s.Runs = append(s.Runs, [2]int64{at, at + 1})
		}
	}
	if n == 0 {
		return nil
	}
	if ctx.Err() != nil {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(context.WithoutCancel(ctx), settleWait)
		defer cancel()
	}
	if _, err := j.bus.backend.SettleDeadLetters(ctx, j.name, s); err != nil {
		return err
	}
	j.progress.Done += n
	return nil
}

// publish publishes letters and tells which of them are stored. A letter that its topic refuses for what it
// is counts as failed and stays; another error ends the job.
func (j *letterJob) publish(ctx context.Context, letters []DeadLetter) ([]bool, error) {
	var mu sync.Mutex
	left := len(letters)
	results, errs := make([]bool, len(letters)), make([]error, len(letters))
	all := make(chan struct{})
	answer := func(i int, err error) {
		mu.Lock()
		defer mu.Unlock()
		results[i], errs[i] = err == nil, err
		if left--; left == 0 {
			close(all)
		}
	}
	for i := range letters {
		p, m, err := j.address(&letters[i])
		if err != nil {
			answer(i, err)
			continue
		}
		p.PublishAsync(m, func(_ Receipt, err error) { answer(i, err) })
	}
	if len(letters) > 0 {
		select {
		case <-all:
		case <-ctx.Done():
		}
	}
	mu.Lock()
	defer mu.Unlock()
	err := ctx.Err()
	for i := range errs {
		switch {
		case errs[i] == nil:
		case refusedLetter(errs[i]):
			j.progress.Failed++
			if j.progress.FirstFailure == nil {
				j.progress.FirstFailure = errs[i]
			}
		case err == nil:
			err = errs[i]
		}
	}
	return append([]bool(nil), results...), err
}

// refusedLetter reports whether a letter was refused for what it is.
func refusedLetter(err error) bool {
	code := core.CodeOf(err)
	return code == core.CodeRecordTooLarge || code == core.CodeInvalidRecord
}

// address gives the message that a letter was, and the producer that publishes it.
func (j *letterJob) address(l *DeadLetter) (*Producer, Message, error) {
	m := Message{Key: l.Key, Value: l.Value, Headers: l.Headers}
	to := target{topic: j.to}
	if j.to == "" && l.Known {
		m.Partition = l.Origin.Partition
		// A topic that was made anew may have fewer partitions.
		to = target{l.Origin.Topic, int(m.Partition) < j.partitions[l.Origin.Topic]}
	} else if j.to == "" {
		to.topic = j.origin
	}
	p, err := j.producer(to)
	return p, m, err
}
