package crashload

import (
	"errors"
	"fmt"
	"slices"
	"sync/atomic"

	"github.com/leatbus/leat/core"
	"github.com/leatbus/leat/mmaplog"
)

// Topic and Partition name the log of a load.
const (
	Topic     = 16
	Partition = 3
)

// Spec describes one load.
type Spec struct {
	Dir     string // the data folder
	Journal string // path of the journal
	Disk    bool   // level disk instead of page
	Seed    uint64
	Steps   int   // 0 goes on until the process is killed
	TrimAt  int   // how many segments there are before it trims; 0 is 3
	NoMap   bool  // system calls only
	Reserve int64 // see mmaplog.LogOptions
	Cut     bool  // it drops records from its end now and then, as a follower with a new leader does
}

func (s *Spec) level() core.Ack {
	if s.Disk {
		return core.AckDisk
	}
	return core.AckPage
}

// Run loads a log until Steps are done, the log is fenced or the process ends. point, which may be nil, is
// called at each failpoint after the journal was told of it. It blocks for as long as the disk does.
func Run(spec Spec, fs mmaplog.FS, point func(name string)) error {
	j, err := OpenJournal(spec.Journal)
	if err != nil {
		return err
	}
	defer j.Close()
	l := &load{spec: spec, dice: dice(spec.Seed), journal: j, woken: make(chan struct{}, 1)}
	store, err := mmaplog.Open(fs, spec.Dir, mmaplog.Options{NoMap: spec.NoMap, Point: func(name string) {
		l.passed(name)
		if point != nil {
			point(name)
		}
	}})
	if err != nil {
		return err
	}
	err = l.open(store)
	for i := 0; err == nil && (spec.Steps == 0 || i < spec.Steps); i++ {
		err = l.step()
	}
	return errors.Join(err, store.Close())
}

type load struct {
	spec       Spec
	dice       dice
	journal    *Journal
	log        *mmaplog.Log
	woken      chan struct{}
	points     [words - wordPoints]atomic.Uint64
	generation atomic.Uint64
	added      int64
	trimmed    int64                 // up to where records may be gone
	failed     atomic.Pointer[error] // of writing the journal
}

// note writes a word of the journal. A load that cannot is worth nothing.
func (l *load) note(word int, value uint64) {
	if err := l.journal.set(word, value); err != nil {
		l.failed.CompareAndSwap(nil, &err)
	}
}

func (l *load) noteOffset(word int, offset int64) {
	l.note(word, l.generation.Load()<<endBits|uint64(offset))
}

func (l *load) passed(name string) {
	i := slices.Index(mmaplog.Points(), name)
	l.note(wordPoints+i, l.points[i].Add(1))
}

func (l *load) open(store *mmaplog.Store) error {
	durable := func(end int64, err error) {
		if err == nil {
			l.noteOffset(wordDurable, end)
		} else {
			l.note(wordFenced, 1)
		}
		select {
		case l.woken <- struct{}{}:
		default:
		}
	}
	var err error
	o := options(l.spec.level())
	o.Durable, o.Reserve = durable, l.spec.Reserve
	l.log, err = store.OpenLog(Topic, Partition, o)
	if err != nil {
		return err
	}
	if err := restore(l.log); err != nil {
		return err
	}
	return l.begin()
}

// restore reads what the owner of a log reads of it.
func restore(l *mmaplog.Log) error {
	return l.RestoreProducers(func([]byte) error { return nil }, func(*core.FrameHeader) {})
}

// begin starts a generation at the end of the log.
func (l *load) begin() error {
	l.added = l.log.End()
	generation, err := l.journal.begin(l.added)
	if err != nil {
		return err
	}
	l.generation.Store(uint64(generation))
	for _, word := range []int{wordAdded, wordPublished, wordDurable} {
		l.noteOffset(word, l.added)
	}
	l.note(wordCutting, 0)
	return nil
}

func (l *load) step() error {
	if failed := l.failed.Load(); failed != nil {
		return *failed
	}
	if err := l.batch(int(1 + l.dice.next()%12)); err != nil {
		return err
	}
	switch l.dice.next() % 6 {
	case 0:
		l.log.RequestSync()
	case 1:
		return l.sync()
	case 2:
		if l.log.Segments() > max(3, l.spec.TrimAt) {
			return l.trim()
		}
	case 3:
		if l.spec.Cut && l.dice.next()%4 == 0 {
			return l.cut()
		}
	}
	return nil
}

// cut drops records from the end, few mostly and those of a segment or two now and then, and begins a
// generation.
func (l *load) cut() error {
	n := 1 + l.dice.next()%100 // at 0 nothing would be made durable
	if n%5 == 0 {
		n *= 30
	}
	from := l.log.End() - int64(n)
	from -= from % producerEvery // whose frame begins there
	if from < l.log.Start() || from < l.trimmed {
		return nil
	}
	l.note(wordCutting, uint64(from)+1)
	if err := l.log.TruncateSuffix(from, uint32(l.generation.Load())+1); err != nil {
		return err
	}
	return l.begin()
}

// batch publishes n records; every third one is a frame of a producer.
func (l *load) batch(n int) error {
	offset := l.added
	l.added += int64(n)
	l.noteOffset(wordAdded, l.added)
	l.log.Begin(int64(l.generation.Load()))
	for ; offset < l.added; offset++ {
		record, err := encode(offset, int(l.generation.Load()))
		if err != nil {
			return err
		}
		base, err := l.add(offset, record)
		if err != nil {
			return err
		}
		if base != offset {
			return fmt.Errorf("the log gave offset %d where %d was due", base, offset)
		}
	}
	end, err := l.log.Publish()
	if err != nil {
		return err
	}
	if end != l.added {
		return fmt.Errorf("the log ends at %d, %d were added", end, l.added)
	}
	l.noteOffset(wordPublished, end)
	if l.log.StateDue() {
		l.log.SaveState([]byte("a state of producers"))
	}
	return nil
}

func (l *load) add(offset int64, record []byte) (int64, error) {
	if _, _, ok := ofProducer(offset); ok {
		h := frameOf(offset, record)
		return l.log.AddFrame(&h, record)
	}
	return l.log.Add(record, 1)
}

// sync waits until everything published is durable.
func (l *load) sync() error {
	end := l.log.End()
	l.log.RequestSync()
	for l.log.DurableEnd() < end {
		<-l.woken
		if err := l.log.Fenced(); err != nil {
			return err
		}
	}
	return nil
}

func (l *load) trim() error {
	to := l.log.DurableEnd() / 4 * 3
	l.note(wordStart, uint64(to))
	l.trimmed = to
	return l.log.TrimTo(to)
}
