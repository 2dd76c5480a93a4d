package log

import (
	"errors"
	"sync"
)

// groupCommit is the end of the name of a peer behind a committer.
const groupCommit = " + group commit"

// committer appends for many goroutines: one goroutine takes all that wait, appends them with one call,
// syncs once and answers them. While it syncs the next ones gather.
type committer struct {
	store
	mu    sync.Mutex
	wake  sync.Cond
	ended chan struct{}
	// mu guards the following.
	waiting []*commit
	closed  bool
}

// commit is one who waits.
type commit struct {
	record []byte
	done   chan error // capacity 1
}

var commits = sync.Pool{New: func() any { return &commit{done: make(chan error, 1)} }}

var errClosed = errors.New("the committer is closed")

// committer puts one before a store, until the scenario ends.
func (p *places) committer(s store) *committer {
	c := &committer{store: s, ended: make(chan struct{})}
	c.wake.L = &c.mu
	go c.run()
	p.later(c.stop)
	return c
}

func (c *committer) append(record []byte) error {
	mine := commits.Get().(*commit)
	defer commits.Put(mine)
	mine.record = append(mine.record[:0], record...)
	c.mu.Lock()
	if c.closed {
		c.mu.Unlock()
		return errClosed
	}
	c.waiting = append(c.waiting, mine)
	c.mu.Unlock()
	c.wake.Signal()
	return <-mine.done
}

func (c *committer) run() {
	defer close(c.ended)
	var batch []*commit
	var records [][]byte
	for {
		c.mu.Lock()
		for len(c.waiting) == 0 && !c.closed {
			c.wake.Wait()
		}
		if len(c.waiting) == 0 {
			c.mu.Unlock()
			return
		}
		batch, c.waiting = c.waiting, batch[:0]
		c.mu.Unlock()
		records = records[:0]
		for _, one := range batch {
			records = append(records, one.record)
		}
		err := c.appendAll(records)
		if err == nil {
			err = c.sync()
		}
		for _, one := range batch {
			one.done <- err
		}
	}
}

func (c *committer) stop() error {
	c.mu.Lock()
	c.closed = true
	c.mu.Unlock()
	c.wake.Broadcast()
	<-c.ended
	return nil
}
