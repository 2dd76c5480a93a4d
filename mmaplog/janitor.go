package mmaplog

import "sync"

// janitor does what takes milliseconds and nobody waits for: unmapping, closing, deleting, retention.
// One goroutine per store.
type janitor struct {
	store *Store
	wake  chan struct{} // capacity 1
	quit  chan struct{}

	mu   sync.Mutex
	jobs []func() // guarded by mu; bounded by the number of segments and logs
}

// do queues a job. It does not block; jobs run in order.
func (j *janitor) do(job func()) {
	j.mu.Lock()
	j.jobs = append(j.jobs, job)
	j.mu.Unlock()
	select {
	case j.wake <- struct{}{}:
	default:
	}
}

// close queues the closing of a resource whose last pin is gone.
func (j *janitor) close(r *resource) {
	j.do(func() {
		if err := r.close(); err != nil {
			j.store.opts.Logger.Warn("cannot close segment", "err", err)
		}
	})
}

// discard queues the removal of a prepared file that is not needed.
func (j *janitor) discard(p *prepared) {
	p.res.unpin()
	j.do(func() { j.store.removeFile(p.path) })
}

// run does jobs until the store closes, and then those that are left.
func (j *janitor) run() {
	for {
		j.drain()
		select {
		case <-j.wake:
		case <-j.quit:
			j.drain()
			return
		}
	}
}

func (j *janitor) drain() {
	for {
		j.mu.Lock()
		jobs := j.jobs
		j.jobs = nil
		j.mu.Unlock()
		if len(jobs) == 0 {
			return
		}
		for _, job := range jobs {
			job()
		}
	}
}
