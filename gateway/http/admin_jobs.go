package httpdoor

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/leatbus/leat"
	"github.com/leatbus/leat/core"
)

const (
	runningMost = 16  // jobs of a door at once
	jobsMost    = 256 // that a door knows; those that ended first are forgotten first
)

// Job is work on dead letters that goes on behind the answer.
type Job struct {
	ID           string     `json:"id"`
	Kind         string     `json:"kind" enum:"redrive,drop"`
	Topic        string     `json:"topic" doc:"Of the dead letters"`
	To           string     `json:"to,omitempty" doc:"Topic that gets them; absent: where each came from"`
	DryRun       bool       `json:"dry_run" doc:"It only counts"`
	State        string     `json:"state" enum:"running,done,failed,cancelled"`
	Started      time.Time  `json:"started"`
	Ended        *time.Time `json:"ended,omitempty"`
	Pending      int64      `json:"pending" doc:"Letters when it began, whatever was asked for"`
	Done         int64      `json:"done" doc:"Redriven or dropped by now; in a dry run: would be"`
	Failed       int64      `json:"failed" doc:"Refused by their topic: they stay"`
	FirstFailure *Problem   `json:"first_failure,omitempty" doc:"Why the first of them was refused"`
	Error        *Problem   `json:"error,omitempty" doc:"Why the job ended early"`
}

// jobs are those of one door. They end with it.
type jobs struct {
	prefix string // of ids, so that those of an earlier door are not taken for ours
	group  sync.WaitGroup

	mu     sync.Mutex
	closed bool
	count  int64
	all    []*job // oldest first, at most jobsMost
}

type job struct {
	cancel context.CancelFunc
	ended  chan struct{} // closed when doc is final

	mu  sync.Mutex
	doc Job
}

// jobWork does a job and tells how far it is.
type jobWork func(context.Context, func(leat.DeadLetterProgress)) (leat.DeadLetterProgress, error)

// startJob runs work until it is done, cancelled, or the door closes. One job at a time changes the letters
// of a topic: CodeRedriving. CodeLimited if too many run.
func (d *Door) startJob(doc Job, work jobWork) (*job, error) {
	j := &job{ended: make(chan struct{}), doc: doc}
	j.doc.State, j.doc.Started = "running", time.Unix(0, d.clock.Now()).UTC()
	ctx, cancel := context.WithCancel(d.ctx)
	j.cancel = cancel
	if err := d.jobs.add(j); err != nil {
		cancel()
		return nil, err
	}
	go func() {
		defer d.jobs.group.Done()
		defer cancel()
		done, err := work(ctx, j.progress)
		j.progress(done)
		j.end(ctx, time.Unix(0, d.clock.Now()).UTC(), err)
	}()
	return j, nil
}

// add enters a job that is about to run, and gives it its id.
func (s *jobs) add(j *job) error {
	op := j.doc.Kind + " dead letters of topic " + core.Quote(j.doc.Topic)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return core.NewError(core.CodeDraining, op, nil)
	}
	running, old := 0, -1
	for i, other := range s.all {
		doc := other.now()
		if doc.State != "running" {
			if old < 0 {
				old = i
			}
			continue
		}
		running++
		if doc.Topic == j.doc.Topic && !doc.DryRun && !j.doc.DryRun {
			return core.Errorf(core.CodeRedriving, op, "job %s", doc.ID)
		}
	}
	if running == runningMost {
		return core.Errorf(core.CodeLimited, op, "%d jobs run", running)
	}
	if len(s.all) == jobsMost {
		s.all = slices.Delete(s.all, old, old+1)
	}
	s.count++
	j.doc.ID = s.prefix + "-" + strconv.FormatInt(s.count, 10)
	s.all = append(s.all, j)
	s.group.Add(1)
	return nil
}

// list gives the jobs, the newest first.
func (s *jobs) list() []Job {
	s.mu.Lock()
	all := slices.Clone(s.all)
	s.mu.Unlock()
	docs := make([]Job, len(all))
	for i, j := range all {
		docs[len(all)-1-i] = j.now()
	}
	return docs
}

func (s *jobs) find(id string) (*job, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, j := range s.all {
		if j.doc.ID == id { // does not change once the job is entered
			return j, nil
		}
	}
	return nil, refuse(http.StatusNotFound, "find job "+core.Quote(id),
		"this door has none: it forgets those that ended long ago, and all when it closes")
}

// close waits for jobs, which the context of the door has ended. No more are taken.
func (s *jobs) close() {
	s.mu.Lock()
	s.closed = true
	s.mu.Unlock()
	s.group.Wait()
}

// now describes the job as it is.
func (j *job) now() Job {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.doc
}

func (j *job) progress(p leat.DeadLetterProgress) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.doc.Pending, j.doc.Done, j.doc.Failed = p.Pending, p.Done, p.Failed
	if p.FirstFailure != nil {
		j.doc.FirstFailure = problemOf(p.FirstFailure)
	}
}

func (j *job) end(ctx context.Context, at time.Time, err error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	defer close(j.ended)
	j.doc.Ended = &at
	switch {
	case err == nil:
		j.doc.State = "done"
	case ctx.Err() != nil:
		j.doc.State = "cancelled"
	default:
		j.doc.State, j.doc.Error = "failed", problemOf(err)
	}
}

// AdminJobPath names a job in a path.
type AdminJobPath struct {
	ID string `path:"id" maxLength:"64" doc:"Id of the job"`
}

type adminJobAnswer struct {
	Body Job
}

type adminJobsAnswer struct {
	Body struct {
		Jobs []Job `json:"jobs" doc:"The newest first; at most 256 are remembered"`
	}
}

func (d *Door) adminJobRoutes() {
	register(d, admin("admin-list-jobs", http.MethodGet, "/jobs", "List jobs of the node that answers"),
		func(context.Context, *struct{}) (*adminJobsAnswer, error) {
			out := &adminJobsAnswer{}
			out.Body.Jobs = d.jobs.list()
			return out, nil
		})
	register(d, admin("admin-get-job", http.MethodGet, "/jobs/{id}", "Tell how far a job is",
		http.StatusNotFound), d.adminJob)
	stop := admin("admin-cancel-job", http.MethodDelete, "/jobs/{id}", "Stop a job", http.StatusNotFound)
	stop.Description = "Answers when it has ended. What it did stays done; a job that had ended stays as it was."
	register(d, stop, d.adminCancel)
}

func (d *Door) adminJob(_ context.Context, in *AdminJobPath) (*adminJobAnswer, error) {
	j, err := d.jobs.find(in.ID)
	if err != nil {
		return nil, err
	}
	return &adminJobAnswer{j.now()}, nil
}

func (d *Door) adminCancel(ctx context.Context, in *AdminJobPath) (*adminJobAnswer, error) {
	j, err := d.jobs.find(in.ID)
	if err != nil {
		return nil, err
	}
	j.cancel()
	select {
	case <-j.ended:
		return &adminJobAnswer{j.now()}, nil
	case <-ctx.Done():
		return nil, fmt.Errorf("stop job: %w", ctx.Err())
	}
}
