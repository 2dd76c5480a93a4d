package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/leatbus/leat"
	"github.com/leatbus/leat/core"
	"github.com/leatbus/leat/internal/admindoc"
	"github.com/leatbus/leat/internal/clock"
)

// What a terminal is told: the other screen without a cursor and back again, and to begin it anew.
const (
	screenOpen  = "\x1b[?1049h\x1b[?25l"
	screenClose = "\x1b[?25h\x1b[?1049l"
	screenBegin = "\x1b[H"
	screenLine  = "\x1b[K\r\n" // clears the rest of the line
	screenEnd   = "\x1b[J"     // clears what is below
)

// topping is what leat top was asked for.
type topping struct {
	every time.Duration
	once  bool
	sort  string
}

func newTop(a *app) *cobra.Command {
	var t topping
	cmd := &cobra.Command{
		Use:   "top",
		Short: "Watch nodes, topics and groups",
		Long: "Shows nodes, topics with what is published a second, and groups with their lag, how fast they\n" +
			"acknowledge and when they are done at that pace, and looks again every --every until Ctrl-C. --once\n" +
			"looks twice, that far apart, and prints one view. Outside a terminal views follow each other; with\n" +
			"-o json each is a line.",
		Example: examples("leat top --once --every 100ms", "leat top --once --every 100ms --sort rate -o json"),
		Args:    noArguments,
	}
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		switch {
		case t.every < core.LagWindowMin || t.every > core.LagWindowMax:
			return usagef(cmd, "--every %v: want %v to %v", t.every, core.LagWindowMin, core.LagWindowMax)
		case t.sort != "lag" && t.sort != "rate" && t.sort != "name":
			return usagef(cmd, "--sort %q: want lag, rate or name", t.sort)
		}
		return a.top(cmd.Context(), &t)
	}
	flags := cmd.Flags()
	flags.DurationVar(&t.every, "every", 2*time.Second, "how often to look")
	flags.BoolVar(&t.once, "once", false, "print one view, and end")
	flags.StringVar(&t.sort, "sort", "lag", "what comes first: lag, rate or name")
	return cmd
}

// top looks and shows until ctx ends, which is how it is meant to end.
func (a *app) top(ctx context.Context, t *topping) error {
	bus, err := a.connect(ctx)
	if err != nil {
		return err
	}
	err = a.watch(ctx, bus, t)
	if closing := bus.Close(); err == nil {
		err = closing
	}
	return err
}

func (a *app) watch(ctx context.Context, bus *leat.Bus, t *topping) error {
	before, err := a.lookAround(ctx, bus)
	if err != nil {
		return err
	}
	if t.once {
		if err := clock.Sleep(ctx, a.clock, t.every); err != nil {
			return err
		}
		now, err := a.lookAround(ctx, bus)
		if err != nil {
			return err
		}
		doc := describeTop(before, now, t.sort)
		return a.write(doc, func() error { return a.print(doc.lines(0)) })
	}
	show, end := a.showing()
	defer end()
	redraw := show
	if !a.drawing() {
		redraw = nil
	}
	doc := describeTop(nil, before, t.sort)
	for {
		if err := show(doc); err != nil {
			return err
		}
		if !a.awaitLook(ctx, t.every, doc, redraw) {
			return nil
		}
		now, err := a.lookAround(ctx, bus)
		switch {
		case ctx.Err() != nil:
			return nil
		case err != nil: // what was seen last stays, and tells that it is old
			doc.Missing = err.Error()
		default:
			doc = describeTop(before, now, t.sort)
			before = now
		}
	}
}

// drawing reports whether views replace each other on a terminal.
func (a *app) drawing() bool { return a.stdoutTerminal && a.output == formatTable }

// awaitLook waits until it is time to look again, and draws the view anew, unless draw is nil, when the
// terminal changes its size. It reports false when ctx ends.
func (a *app) awaitLook(
	ctx context.Context, every time.Duration, doc *topDoc, draw func(*topDoc) error,
) bool {
	timer := a.clock.NewTimer(every)
	defer timer.Stop()
	resized := make(chan os.Signal, 1)
	if draw != nil {
		defer notifyResize(resized)()
	}
	for {
		select {
		case <-timer.C():
			return true
		case <-resized:
			if draw(doc) != nil {
				return true // the next one tells
			}
		case <-ctx.Done():
			return false
		}
	}
}

// showing gives how views are shown, and what ends that.
func (a *app) showing() (show func(*topDoc) error, end func()) {
	switch {
	case a.output == formatJSON:
		return func(doc *topDoc) error { return json.NewEncoder(a.stdout).Encode(doc) }, func() {}
	case a.output == formatYAML:
		return func(doc *topDoc) error {
			fmt.Fprintln(a.stdout, "---")
			return writeYAML(a.stdout, doc)
		}, func() {}
	case !a.drawing():
		return func(doc *topDoc) error { return a.print(append(doc.lines(0), "")) }, func() {}
	}
	fmt.Fprint(a.stdout, screenOpen)
	return a.draw, func() { fmt.Fprint(a.stdout, screenClose) }
}

// draw replaces what the terminal shows, as much as it has room for.
func (a *app) draw(doc *topDoc) error {
	columns, rows := a.size()
	var text strings.Builder
	text.WriteString(screenBegin)
	for i, line := range doc.lines(rows) {
		if i > 0 {
			text.WriteString(screenLine)
		}
		text.WriteString(cutLine(line, columns))
	}
	text.WriteString("\x1b[K" + screenEnd)
	_, err := fmt.Fprint(a.stdout, text.String())
	return err
}

func (a *app) print(lines []string) error {
	_, err := fmt.Fprintln(a.stdout, strings.Join(lines, "\n"))
	return err
}

// surroundings is what one look has seen.
type surroundings struct {
	at      int64 // Mono
	wall    int64
	cluster admindoc.Cluster
	topics  []leat.TopicInfo
	groups  []leat.GroupInfo
	missing error // why groups may be missing
}

// lookAround asks for everything that a view shows.
func (a *app) lookAround(ctx context.Context, bus *leat.Bus) (*surroundings, error) {
	ctx, cancel := context.WithTimeout(ctx, a.timeout)
	defer cancel()
	info, err := bus.Cluster(ctx)
	if err != nil {
		return nil, a.late("look at the nodes", err)
	}
	s := &surroundings{}
	if s.topics, err = bus.Topics(ctx); err != nil {
		return nil, a.late("look at the topics", err)
	}
	s.at, s.wall = a.clock.Mono(), a.clock.Now()
	s.cluster = admindoc.ClusterOf(&info, s.topics)
	if s.groups, s.missing = bus.Groups(ctx); errors.Is(s.missing, context.Canceled) {
		return nil, s.missing
	}
	return s, nil
}
