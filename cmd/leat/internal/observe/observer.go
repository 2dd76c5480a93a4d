package observe

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/leatbus/leat"
	"github.com/leatbus/leat/core"
	"github.com/leatbus/leat/internal/clock"
	"github.com/leatbus/leat/node"
)

// Config says what is observed.
type Config struct {
	Data                  string // the folder
	Version, Revision, Go string // of the build
	Clock                 clock.Clock

	// FreeBytes tells how much room there is where a folder is; nil asks the system.
	FreeBytes func(folder string) (uint64, error)
}

// leastFree is the room on the disk below which a node is not ready: the next segment may not fit.
const leastFree = core.MaxSegmentBytes

// Observer knows how far a node is. Its methods may be called from any goroutine.
type Observer struct {
	cfg   Config
	start int64

	mu    sync.Mutex // guards the following
	state state
	bus   *leat.Bus // nil before Serves
}

// state is a part of the life of a node.
type state string

const (
	starting state = "starting"
	serving  state = "serving"
	draining state = "draining"
)

// New makes the observer of a node that starts.
func New(cfg Config) *Observer {
	if cfg.FreeBytes == nil {
		cfg.FreeBytes = freeBytes
	}
	return &Observer{cfg: cfg, start: cfg.Clock.Mono(), state: starting}
}

// Serves says that a bus, which node.Open returned, is served now.
func (o *Observer) Serves(bus *leat.Bus) { o.enter(serving, bus) }

// Drains says that the node shuts down. The bus may be closed from now on.
func (o *Observer) Drains() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.state = draining
}

func (o *Observer) enter(s state, bus *leat.Bus) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.state, o.bus = s, bus
}

// view is a node at one moment.
type view struct {
	state   state
	stats   *node.Stats // nil if there is none
	free    uint64
	freeErr error
	reasons []string // why it is not ready
}

// maxReasons bounds what /readyz lists.
const maxReasons = 20

// look asks the node.
func (o *Observer) look(ctx context.Context) view {
	o.mu.Lock()
	v, bus := view{state: o.state}, o.bus
	o.mu.Unlock()
	v.free, v.freeErr = o.cfg.FreeBytes(o.cfg.Data)
	if v.state != serving {
		v.reasons = append(v.reasons, string(v.state))
	}
	if bus == nil {
		return v
	}
	stats, err := node.StatsOf(ctx, bus)
	if err != nil {
		v.reasons = append(v.reasons, err.Error())
		return v
	}
	v.stats = stats
	v.reasons = append(v.reasons, o.faults(&v)...)
	return v
}

// faults are the reasons why a node that serves is not ready. That another node is down is none: this one
// serves what it has.
func (o *Observer) faults(v *view) []string {
	var list []string
	if v.stats.Adrift {
		list = append(list, "the catalogue has not come from the meta node yet")
	}
	if v.freeErr == nil && v.free < leastFree {
		list = append(list, fmt.Sprintf("disk full: %d bytes free in %s, want %d",
			v.free, core.Quote(o.cfg.Data), int64(leastFree)))
	}
	if v.stats.LowOnSpace {
		list = append(list, "disk low: too little of the file system is free for a new segment in "+
			core.Quote(o.cfg.Data))
	}
	for i, err := range v.stats.Failed {
		if i == maxReasons {
			list = append(list, fmt.Sprintf("and %d more partitions", len(v.stats.Failed)-i))
			break
		}
		list = append(list, err.Error())
	}
	return list
}

// readyWait bounds how long a node may take to tell how it is.
const readyWait = time.Second
