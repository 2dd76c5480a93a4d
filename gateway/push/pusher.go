package push

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/leatbus/leat"
	"github.com/leatbus/leat/core"
	"github.com/leatbus/leat/internal/clock"
	"github.com/leatbus/leat/mmaplog"
)

// Errors about names; they are wrapped in a core.Error.
var (
	ErrNotFound = errors.New("there is no push subscription of this name")
	ErrExists   = errors.New("there is a push subscription of this name")
)

// Options say where subscriptions are kept and what may be posted to.
type Options struct {
	Dir       string     // folder of the file of subscriptions; it is made
	FS        mmaplog.FS // nil: that of the machine
	Guard     Guard
	AllowHTTP bool         // URLs may be plain http
	TLS       *tls.Config  // of POSTs; nil: the system's authorities
	Logger    *slog.Logger // nil: silent
	Clock     clock.Clock  // nil: the machine's
}

// Info describes a subscription. Figures begin anew when the process does.
type Info struct {
	Config    Config
	Created   time.Time
	Paused    bool
	Reason    string // why it is paused, if nobody asked for it
	Stalled   string // why the topic cannot be read; empty if it can, or nobody tries
	Secrets   int    // that sign
	Delivered int64  // POSTs that were answered by 2xx
	Failed    int64  // POSTs that were not
	InFlight  int64  // POSTs under way
	LastFault *Fault // nil: none
}

// Pusher posts the messages of a bus as its subscriptions say. Its methods may be called by any goroutine.
type Pusher struct {
	bus     *leat.Bus
	options Options
	store   store
	client  *http.Client
	clock   clock.Clock
	logger  *slog.Logger

	posting context.Context // ends when POSTs under way are cut off
	cutOff  context.CancelFunc

	turn chan struct{} // holds a token while nobody changes subscriptions; who changes them writes the file

	mu      sync.Mutex // guards the following
	all     []*entry   // by name
	closed  bool
	runners sync.WaitGroup
}

// entry is a subscription. Its fields are guarded by Pusher.mu; runner is the last one, or nil.
type entry struct {
	record record
	runner *runner
}

// Open reads the subscriptions and begins to post. ErrCorrupt, ErrIO and ErrVersionTooNew are about their
// file. Close it before the bus.
func Open(bus *leat.Bus, o Options) (*Pusher, error) {
	if o.FS == nil {
		o.FS = mmaplog.OS()
	}
	p := &Pusher{bus: bus, options: o, store: store{o.FS, o.Dir}, logger: o.Logger, clock: o.Clock,
		turn: make(chan struct{}, 1)}
	if p.logger == nil {
		p.logger = slog.New(slog.DiscardHandler)
	}
	if p.clock == nil {
		p.clock = clock.System
	}
	p.client = newClient(&p.options)
	p.posting, p.cutOff = context.WithCancel(context.Background())
	p.turn <- struct{}{}
	all, err := p.store.load()
	if err != nil {
		return nil, err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.setLocked(all)
	return p, nil
}

// newClient makes what posts. It asks no proxy and follows no redirect, and connects where the guard lets it.
func newClient(o *Options) *http.Client {
	dialer := &net.Dialer{Timeout: timeoutMost, KeepAlive: 30 * time.Second, Control: o.Guard.control}
	return &http.Client{
		Transport: &http.Transport{DialContext: dialer.DialContext, TLSClientConfig: o.TLS,
			ForceAttemptHTTP2: true, DisableCompression: true, MaxIdleConnsPerHost: concurrencyMost / 4,
			IdleConnTimeout: time.Minute, MaxResponseHeaderBytes: headerBytes},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// post posts a message once.
func (p *Pusher) post(c *Config, keys []secret, m *leat.Message) verdict {
	ctx, cancel := context.WithTimeout(p.posting, c.Timeout)
	defer cancel()
	request, err := newRequest(ctx, c.URL, keys, m, p.clock.Now())
	if err != nil {
		return failed(err, c.Timeout, false)
	}
	if err := p.options.admit(c); err != nil { // what was allowed once may not be any more
		return failed(err, c.Timeout, false)
	}
	response, err := p.client.Do(request)
	if err != nil {
		return failed(err, c.Timeout, p.posting.Err() != nil)
	}
	defer response.Body.Close()
	return judge(response, readSome(response.Body), time.Unix(0, p.clock.Now()))
}

// setLocked makes all the subscriptions, and starts and stops runners as they say.
func (p *Pusher) setLocked(all []record) {
	slices.SortFunc(all, func(a, b record) int { return strings.Compare(a.Config.Name, b.Config.Name) })
	entries := make([]*entry, len(all))
	for i := range all {
		entries[i] = &entry{record: all[i]}
		if old := p.findLocked(all[i].Config.Name); old != nil {
			entries[i].runner = old.runner
		}
	}
	for _, old := range p.all {
		kept := slices.ContainsFunc(entries, func(e *entry) bool { return e.runner == old.runner })
		if old.runner != nil && !kept {
			old.runner.stop()
		}
	}
	p.all = entries
	for _, e := range entries {
		p.runLocked(e)
	}
}

// runLocked makes the runner of an entry do what its record says.
func (p *Pusher) runLocked(e *entry) {
	n := e.runner
	switch running := n != nil && n.reading.Err() == nil; {
	case e.record.Paused:
		if running {
			n.stop()
		}
	case running:
		n.keys.Store(&e.record.Secrets)
	default:
		e.runner = newRunner(p, &e.record, n)
		p.runners.Go(e.runner.run)
	}
}

func (p *Pusher) findLocked(name string) *entry {
	i, found := slices.BinarySearchFunc(p.all, name, func(e *entry, name string) int {
		return strings.Compare(e.record.Config.Name, name)
	})
	if !found {
		return nil
	}
	return p.all[i]
}

// records copies what is stored.
func (p *Pusher) records() []record {
	p.mu.Lock()
	defer p.mu.Unlock()
	all := make([]record, len(p.all))
	for i, e := range p.all {
		all[i] = e.record
	}
	return all
}

// change stores what f makes of the subscriptions, and then acts so. One change at a time.
func (p *Pusher) change(ctx context.Context, op string, f func(all []record) ([]record, error)) error {
	select {
	case <-p.turn:
	case <-ctx.Done():
		return core.Errorf(core.CodeUnavailable, op, "another change takes long: %w", ctx.Err())
	}
	defer func() { p.turn <- struct{}{} }()
	all, err := f(p.records())
	if err != nil {
		return err
	}
	p.mu.Lock()
	closed := p.closed
	p.mu.Unlock()
	if closed {
		return core.NewError(core.CodeDraining, op, nil)
	}
	if err := p.store.save(all); err != nil {
		return err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.closed {
		p.setLocked(all)
	}
	return nil
}

// changeOne changes one subscription.
func (p *Pusher) changeOne(ctx context.Context, op, name string, f func(*record)) error {
	return p.change(ctx, op, func(all []record) ([]record, error) {
		i := slices.IndexFunc(all, func(r record) bool { return r.Config.Name == name })
		if i < 0 {
			return nil, core.NewError(core.CodeInvalidRequest, op, ErrNotFound)
		}
		f(&all[i])
		return all, nil
	})
}

func opOn(verb, name string) string { return verb + " push subscription " + core.Quote(name) }

// Add makes a subscription and begins to post unless it is to be paused. The group begins with the earliest
// message of the topic. It gives the secret, which is made where text is empty, and never again.
// ErrInvalidConfig names the field; ErrExists, ErrTopicNotFound.
func (p *Pusher) Add(ctx context.Context, c Config, text string, paused bool) (string, error) {
	op := opOn("add", c.Name)
	c = c.withDefaults()
	if err := c.check(); err != nil {
		return "", err
	}
	if err := p.options.admit(&c); err != nil {
		return "", err
	}
	s, err := makeSecret(text)
	if err != nil {
		return "", core.NewError(core.CodeInvalidConfig, op, err)
	}
	if _, err := p.bus.Topic(ctx, c.Topic); err != nil {
		return "", err
	}
	r := record{Config: c, Created: p.clock.Now(), Paused: paused, Secrets: []secret{s}}
	return s.text, p.change(ctx, op, func(all []record) ([]record, error) {
		if slices.ContainsFunc(all, func(other record) bool { return other.Config.Name == c.Name }) {
			return nil, core.NewError(core.CodeInvalidRequest, op, ErrExists)
		}
		if len(all) == subscriptionsMost {
			return nil, core.Errorf(core.CodeLimited, op, "there are %d, and no more can be", subscriptionsMost)
		}
		return append(all, r), nil
	})
}

// Remove ends a subscription; POSTs under way are answered to its group. The group stays, with what it has
// done, until it is deleted. ErrNotFound.
func (p *Pusher) Remove(ctx context.Context, name string) error {
	op := opOn("remove", name)
	return p.change(ctx, op, func(all []record) ([]record, error) {
		kept := slices.DeleteFunc(all, func(r record) bool { return r.Config.Name == name })
		if len(kept) == len(p.records()) {
			return nil, core.NewError(core.CodeInvalidRequest, op, ErrNotFound)
		}
		return kept, nil
	})
}

// Pause stops posting; POSTs under way are finished. ErrNotFound.
func (p *Pusher) Pause(ctx context.Context, name string) error {
	return p.changeOne(ctx, opOn("pause", name), name, func(r *record) { r.Paused = true })
}

// Resume begins to post again. ErrNotFound.
func (p *Pusher) Resume(ctx context.Context, name string) error {
	return p.changeOne(ctx, opOn("resume", name), name, func(r *record) { r.Paused, r.Reason = false, "" })
}

// Rotate gives a subscription another secret, which is made where text is empty. The ones before sign beside
// it for keep; 0 ends them at once. It gives the secret, and never again. ErrNotFound, ErrInvalidConfig.
func (p *Pusher) Rotate(ctx context.Context, name, text string, keep time.Duration) (string, error) {
	op := opOn("rotate the secret of", name)
	s, err := makeSecret(text)
	if err != nil {
		return "", core.NewError(core.CodeInvalidConfig, op, err)
	}
	now := p.clock.Now()
	until := now + int64(max(keep, 0))
	return s.text, p.changeOne(ctx, op, name, func(r *record) { r.rotate(s, now, max(until, now)) })
}

// halt pauses a subscription whose receiver has answered 410. It belongs to the goroutine of the runner.
func (p *Pusher) halt(n *runner) {
	reason := "the receiver answered 410 Gone: it wants no more"
	p.logger.Warn("a push subscription is paused", "name", n.config.Name, "reason", reason)
	err := p.change(context.Background(), opOn("pause", n.config.Name), func(all []record) ([]record, error) {
		for i := range all {
			if all[i].Config.Name == n.config.Name && p.runs(n) {
				all[i].Paused, all[i].Reason = true, reason
			}
		}
		return all, nil
	})
	if err != nil && core.CodeOf(err) != core.CodeDraining {
		p.logger.Error("that a push subscription is paused cannot be stored", "name", n.config.Name, "error", err)
		n.stall(fmt.Errorf("%s, which cannot be stored: %w", reason, err))
	}
}

// runs reports whether n is the runner of its subscription, and not one before.
func (p *Pusher) runs(n *runner) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	e := p.findLocked(n.config.Name)
	return e != nil && e.runner == n
}

// List describes the subscriptions, by name.
func (p *Pusher) List() []Info {
	p.mu.Lock()
	defer p.mu.Unlock()
	list := make([]Info, len(p.all))
	for i, e := range p.all {
		list[i] = p.infoLocked(e)
	}
	return list
}

// Find describes a subscription. ErrNotFound.
func (p *Pusher) Find(name string) (Info, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if e := p.findLocked(name); e != nil {
		return p.infoLocked(e), nil
	}
	return Info{}, core.NewError(core.CodeInvalidRequest, opOn("find", name), ErrNotFound)
}

func (p *Pusher) infoLocked(e *entry) Info {
	r := &e.record
	i := Info{Config: r.Config, Created: time.Unix(0, r.Created).UTC(), Paused: r.Paused, Reason: r.Reason}
	now := p.clock.Now()
	for _, s := range r.Secrets {
		if s.until == 0 || s.until > now {
			i.Secrets++
		}
	}
	if e.runner != nil {
		e.runner.figures.fill(&i)
	}
	if r.Paused {
		i.Stalled = ""
	}
	return i
}

// Close stops posting: POSTs under way have grace, and are cut off then, their messages given back to the
// groups. Further calls wait for the same.
func (p *Pusher) Close(grace time.Duration) {
	p.mu.Lock()
	p.closed = true
	for _, e := range p.all {
		if e.runner != nil {
			e.runner.stop()
		}
	}
	p.mu.Unlock()
	ended := make(chan struct{})
	go func() {
		p.runners.Wait()
		close(ended)
	}()
	timer := p.clock.NewTimer(cmp.Or(max(grace, 0), 1))
	defer timer.Stop()
	select {
	case <-ended:
	case <-timer.C():
	}
	p.cutOff()
	<-ended
	p.client.CloseIdleConnections()
}
