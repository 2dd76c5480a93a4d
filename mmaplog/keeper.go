package mmaplog

import (
	"sync"
	"time"

	"github.com/leatbus/leat/internal/clock"
)

// keeper looks now and then at the logs whose records age, because an idle log has no event of its own
// by which something could go. One goroutine per store; without such logs it has no timer.
//
//	tick ──▶ a segment is too old ──▶ janitor: retain
//	    ├──▶ half of a compacting log is dirty ──▶ cleaner: a round
//	    └──▶ nothing was appended for RetentionAge ──▶ RollDue: the writer starts a segment ──▶ next tick
type keeper struct {
	store *Store
	wake  chan struct{} // capacity 1: every has become shorter
	quit  chan struct{}

	mu sync.Mutex
	// mu guards the following.
	logs  map[*Log]*keptLog // those with a limit on age, or that compact
	every time.Duration     // between two ticks, 0 if there are no logs
}

// keptLog is how far a log was when it was looked at. Its newest frame is no younger than since.
type keptLog struct {
	end   int64
	since int64 // nanoseconds since 1970
}

// tickMost is the longest time between two looks; tickPart the part of the age that is less.
const (
	tickMost = time.Minute
	tickPart = 10
)

func newKeeper(s *Store) *keeper {
	return &keeper{store: s, wake: make(chan struct{}, 1), quit: make(chan struct{}), logs: map[*Log]*keptLog{}}
}

// watch begins or ends to look at a log, as its Retention says. Its newest frame is no younger than since,
// nanoseconds since 1970. It does not block.
func (k *keeper) watch(l *Log, since int64) {
	k.mu.Lock()
	defer k.mu.Unlock()
	age := l.age()
	if age == 0 {
		delete(k.logs, l)
		return
	}
	if k.logs[l] == nil {
		k.logs[l] = &keptLog{end: l.End(), since: since}
	}
	if every := tickFor(age); k.every == 0 || every < k.every {
		k.every = every
		select {
		case k.wake <- struct{}{}:
		default:
		}
	}
}

// age is how old the records of a log get before something has to be done, 0 for never.
func (l *Log) age() time.Duration {
	age := l.retention.Load().Age
	if l.opts.Compact && (age == 0 || l.opts.DeleteRetention < age) {
		age = l.opts.DeleteRetention
	}
	return age
}

func tickFor(age time.Duration) time.Duration {
	return max(min(age/tickPart, tickMost), time.Millisecond)
}

// run ticks until the store closes.
func (k *keeper) run() {
	for {
		var timer clock.Timer
		var due <-chan time.Time
		k.mu.Lock()
		if k.every > 0 {
			timer = k.store.opts.Clock.NewTimer(k.every)
			due = timer.C()
		}
		k.mu.Unlock()
		select {
		case <-due:
			k.tick()
		case <-k.wake: // at most once for each time that every gets shorter, so ticks are not put off for ever
		case <-k.quit:
			if timer != nil {
				timer.Stop()
			}
			return
		}
		if timer != nil {
			timer.Stop()
		}
	}
}

// tick looks at every log once.
func (k *keeper) tick() {
	for _, l := range k.look(k.store.opts.Clock.Now()) {
		l.opts.RollDue()
	}
}

// look has retention enforced where it is due and gives the logs whose last segment should be left.
func (k *keeper) look(now int64) (rollDue []*Log) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.every = 0
	for l, kept := range k.logs {
		keep, age := l.retention.Load(), l.age()
		if l.closed.Load() || age == 0 {
			delete(k.logs, l)
			continue
		}
		if every := tickFor(age); k.every == 0 || every < k.every {
			k.every = every
		}
		if *keep != (Retention{}) && l.overdue(*l.segs.Load(), keep) > 0 {
			l.askRetention()
		}
		if l.compactDue(now) {
			k.store.cleaner.ask(l)
		}
		if kept.idle(l, now, age) && l.opts.RollDue != nil && l.Fenced() == nil {
			rollDue = append(rollDue, l)
		}
	}
	return rollDue
}

// idle reports whether the log's last segment has frames, and nothing was appended for age. A clock that
// went back makes it wait.
func (p *keptLog) idle(l *Log, now int64, age time.Duration) bool {
	if end := l.End(); end != p.end {
		p.end, p.since = end, now
	}
	list := l.segs.recent()
	return len(list) > 0 && list[len(list)-1].published.Load() > headerSize && now-p.since > int64(age)
}

// Roll starts a segment if the last one has frames, so that those can go when they are old. It belongs
// to the writer, between two batches, and blocks as Add does when a segment is full. Errors:
// CodeStorageFull, CodeIO, CodeLogFenced.
func (l *Log) Roll() error {
	if f := l.fence.Load(); f != nil {
		return f
	}
	list := l.segs.recent()
	if len(list) == 0 || list[len(list)-1].published.Load() == headerSize {
		return nil
	}
	if err := l.resume(); err != nil {
		return err
	}
	w := &l.w
	w.idle = true
	err := l.roll(0)
	w.idle = false
	if err != nil {
		return err
	}
	l.publishRolled()
	l.saveStart()
	l.store.syncer.request(l) // the header is to be durable before older segments go
	return nil
}
