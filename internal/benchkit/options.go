package benchkit

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"time"

	"github.com/leatbus/leat/internal/clock"
)

// Options are what the scenarios take; a zero field means the scenario's default.
type Options struct {
	Dir      string        // folder in which the data folder is made; empty means the system's place
	For      time.Duration // length of one measured round, or of the wait of Idle
	Rounds   int           // measured rounds; one more warms up
	Size     int           // bytes: the encoded record for Log, the value for Bus
	Bytes    int64         // of the log that Open reopens
	Idle     int           // partitions of Idle, connections of Net
	Members  int           // of the group of the suite scale
	Backlog  int64         // messages that lie in the topic of the suite scale
	IdleFor  time.Duration // of Net: how long it watches a server that does nothing
	Progress func(string)  // told what is measured now; nil for silence
	Only     []string      // scenarios of a suite, by name; empty means all
	Guard    GuardOptions  // when a round of a suite is discarded
	Command  string        // for the report: how it was called; empty means the arguments of this process
	// Filler gives the command that fills dir and prints what it was acknowledged: FillAndWait in
	// another process. Only Open needs it.
	Filler func(ctx context.Context, dir string, bytes int64) (*exec.Cmd, error)
	// NetServer gives the command that runs NetServer on its standard input and output. Only Net needs it.
	NetServer func(ctx context.Context, dir string) (*exec.Cmd, error)
	// Serve starts a whole server in dir and returns when it says that it is ready; without it
	// Net does not measure that.
	Serve func(ctx context.Context, dir string) (stop func() error, err error)
}

// Benchmark runs one benchmark. It blocks for its whole time and returns ctx's error if ctx ends.
type Benchmark func(ctx context.Context, o Options) (*Report, error)

// bench is one scenario under way.
type bench struct {
	Options
	clock  clock.Clock
	dir    string
	report *Report
}

// newBench makes the scenario's folder; end removes it.
func newBench(scenario string, o Options) (*bench, error) {
	dir, err := os.MkdirTemp(o.Dir, "leat-bench-")
	if err != nil {
		return nil, fmt.Errorf("benchkit: make a folder for the data: %w", err)
	}
	report := newReport(scenario, Capture(dir))
	if o.Command != "" {
		report.Command = o.Command
	}
	return &bench{Options: o, clock: clock.System, dir: dir, report: report}, nil
}

func (b *bench) end(err *error) { *err = errors.Join(*err, os.RemoveAll(b.dir)) }

func (b *bench) progress(format string, args ...any) {
	if b.Progress != nil {
		b.Progress(fmt.Sprintf(format, args...))
	}
}

// errNoEnd reports that await's time was over.
var errNoEnd = errors.New("benchkit: no end within the limit")

// await polls until done, ctx ends or nothing is left of the time.
func await(ctx context.Context, c clock.Clock, limit time.Duration, done func() bool) error {
	for deadline := c.Mono() + int64(limit); !done(); {
		if c.Mono() >= deadline {
			return fmt.Errorf("%w: %v", errNoEnd, limit)
		}
		if err := clock.Sleep(ctx, c, time.Millisecond); err != nil {
			return err
		}
	}
	return nil
}

// perSecond is a rate over nanos.
func perSecond(n int64, nanos int64) float64 { return float64(n) * 1e9 / float64(max(nanos, 1)) }
