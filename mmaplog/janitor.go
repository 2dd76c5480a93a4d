package mmaplog

import "sync"

// janitor does what takes milliseconds and nobody waits for: unmapping, closing, deleting, retention.
// One goroutine per store.
type janitor struct {
	store *Store
	wake  chan struct{} // capacity 1
	quit  chan struct{}

	mu sync.Mutex
	// mu guards the following.
	jobs   []func() // bounded by the number of segments and logs
	urgent []func() // before them: somebody waits; one per writer at most
	ended  bool
}

// do queues a job. It does not block; jobs run in order. When the store is closed it does the job at once:
// somebody released the last run of a segment.
func (j *janitor) do(job func()) {
	j.mu.Lock()
	if j.ended {
		j.mu.Unlock()
		job()
		return
	}
	j.jobs = append(j.jobs, job)
	j.mu.Unlock()
	j.nudge()
}

// wait runs job before the queued ones and gives its error. The janitor must not call it itself.
func (j *janitor) wait(job func() error) error {
	done := make(chan error, 1)
	j.mu.Lock()
	if j.ended {
		j.mu.Unlock()
		return job()
	}
	j.urgent = append(j.urgent, func() { done <- job() })
	j.mu.Unlock()
	j.nudge()
	return <-done
}

func (j *janitor) nudge() {
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
			j.end()
			return
		}
	}
}

// end does the jobs that are left; later ones are done by who has them.
func (j *janitor) end() {
	j.drain()
	j.mu.Lock()
	jobs := j.jobs
	j.jobs, j.ended = nil, true
	j.mu.Unlock()
	for _, job := range jobs {
		job()
	}
}

func (j *janitor) drain() {
	for job := j.next(); job != nil; job = j.next() {
		job()
	}
}

// next takes the job to do now; nil if there is none.
func (j *janitor) next() func() {
	j.mu.Lock()
	defer j.mu.Unlock()
	from := &j.urgent
	if len(*from) == 0 {
		from = &j.jobs
	}
	if len(*from) == 0 {
		return nil
	}
	job := (*from)[0]
	(*from)[0] = nil
	if *from = (*from)[1:]; len(*from) == 0 {
		*from = nil
	}
	return job
}
