package queue

import (
	"context"
	"errors"
	"os"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/leatbus/leat/internal/benchkit"
)

// TestSuiteRuns runs the scenarios that need no server in miniature.
func TestSuiteRuns(t *testing.T) {
	only := []string{"embedded-64", "key-shared", "pending", "redrive", "ttl"}
	o := benchkit.Options{For: 2 * time.Millisecond, Rounds: 1, Only: only,
		Guard: benchkit.GuardOptions{Off: true}, Dir: t.TempDir()}
	suite, err := Suite(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	report, err := suite.Run(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	if !report.Valid {
		t.Errorf("the report is invalid: %v", report.Problems)
	}
	var seen []string
	for _, row := range report.Rows {
		seen = append(seen, row.Scenario+" "+row.Name)
	}
	for i := range suite.Scenarios {
		scenario := &suite.Scenarios[i]
		if !slices.Contains(only, scenario.Name) {
			continue
		}
		for _, c := range scenario.Cases {
			if name := scenario.Name + " " + c.Name; !slices.Contains(seen, name) {
				t.Errorf("no row for %s in %q", name, seen)
			}
		}
	}
	left, err := os.ReadDir(o.Dir)
	if err != nil || len(left) > 0 {
		t.Errorf("the run left %v, %v in its folder; want nothing", left, err)
	}
}

// TestGoalsNameScenarios: a goal for a scenario that does not exist would never be missed.
func TestGoalsNameScenarios(t *testing.T) {
	suite, err := Suite(t.Context(), benchkit.Options{})
	if err != nil {
		t.Fatal(err)
	}
	for name, wanted := range goals() {
		i := slices.IndexFunc(suite.Scenarios, func(s benchkit.Scenario) bool { return s.Name == name })
		if i < 0 || len(wanted) == 0 {
			t.Errorf("%d goals for %s: no such scenario, or no goals", len(wanted), name)
			continue
		}
		for _, goal := range wanted {
			for _, of := range []string{goal.Case, goal.Against} {
				has := func(c benchkit.Case) bool { return of == "" || c.Name == of }
				if !slices.ContainsFunc(suite.Scenarios[i].Cases, has) {
					t.Errorf("%s: a goal of %s, which is no case", name, of)
				}
			}
		}
	}
}

// faulty is a channel that spoils a message on its way.
type faulty struct {
	*channel
	number int64
	spoil  func(l *line, value []byte) error
}

func (f *faulty) open(ctx context.Context, workers int) (*line, error) {
	l, err := f.channel.open(ctx, workers)
	l.publisher = &faultyPublisher{publisher: l.publisher, line: *l, faulty: f}
	return l, err
}

type faultyPublisher struct {
	publisher
	line line
	*faulty
	sent int64
}

func (p *faultyPublisher) publish(ctx context.Context, key, value []byte) error {
	p.sent++
	if p.sent-1 == p.number {
		return p.spoil(&p.line, value)
	}
	return p.publisher.publish(ctx, key, value)
}

// TestLoadFindsWhatIsWrong: messages that are lost, come twice or were changed do not pass.
func TestLoadFindsWhatIsWrong(t *testing.T) { synctest.Test(t, findWhatIsWrong) }

func findWhatIsWrong(t *testing.T) {
	publish := func(l *line, value []byte) error { return l.publish(t.Context(), nil, value) }
	broken := errors.New("broken")
	for _, tt := range []struct {
		what  string
		spoil func(l *line, value []byte) error
		right func(s *benchkit.Sample, err error) bool
	}{
		{"nothing", publish, func(s *benchkit.Sample, err error) bool {
			return err == nil && s.Lost == 0 && s.Duplicated == 0 && !s.SumWrong && s.Ops == 300 && s.Rate > 0
		}},
		{"a loss", func(*line, []byte) error { return nil },
			func(s *benchkit.Sample, err error) bool { return err == nil && s.Lost == 1 }},
		{"a repeat", func(l *line, value []byte) error { return errors.Join(publish(l, value), publish(l, value)) },
			func(s *benchkit.Sample, err error) bool { return err == nil && s.Duplicated == 1 && s.Lost == 0 }},
		{"another byte", func(l *line, value []byte) error {
			changed := slices.Clone(value)
			changed[20]++
			return publish(l, changed)
		}, func(s *benchkit.Sample, err error) bool { return err == nil && s.SumWrong && s.Lost == 1 }},
		{"another number", func(l *line, value []byte) error {
			changed := slices.Clone(value)
			setNumber(changed, 1000)
			return publish(l, changed)
		}, func(s *benchkit.Sample, err error) bool { return err == nil && s.SumWrong }},
		{"an error", func(*line, []byte) error { return broken },
			func(_ *benchkit.Sample, err error) bool { return errors.Is(err, broken) }},
	} {
		l := load{messages: 300, size: 64, workers: 3}
		sample, err := l.run(t.Context(), &faulty{newChannel(64), 150, tt.spoil})
		if !tt.right(&sample, err) {
			t.Errorf("%s: %+v, %v", tt.what, sample, err)
		}
	}
}

// TestKeysAreInOrder: a message that comes behind a younger one of its key is found.
func TestKeysAreInOrder(t *testing.T) {
	k := newKeys(10, 3)
	key, value := make([]byte, keyBytes), newMessage(64)
	see := func(of, number int64) bool {
		setNumber(key, of)
		setNumber(value, number)
		return k.ordered(key, value)
	}
	if !see(1, 0) || !see(1, 5) || !see(2, 3) || see(1, 5) || see(1, 4) || see(10, 1) || k.ordered(nil, value) {
		t.Error("want 0 and 5 of one key and 3 of another to be in order, and nothing else")
	}
	var of [10]int
	refused := int64(0)
	for i := range int64(10_000) {
		of[k.of(i)]++
		setNumber(key, k.of(i))
		if k.refuses(key) {
			refused++
		}
	}
	for number, n := range of {
		if n < 800 || n > 1200 {
			t.Errorf("key %d has %d of 10,000 messages; want about a tenth", number, n)
		}
	}
	if refused != k.refused(10_000) || refused == 0 {
		t.Errorf("%d messages refused; want %d", refused, k.refused(10_000))
	}
	if newKeys(10, nobody).refused(1000) != 0 {
		t.Error("no key fails, and messages are refused")
	}
}

// TestRepeatsOfPeers: a peer may deliver a message twice, which becomes a figure; ours may not.
func TestRepeatsOfPeers(t *testing.T) {
	sample := benchkit.Sample{Duplicated: 3}
	if got := rabbit.count(sample); got.Duplicated != 0 || len(got.More) != 1 || got.More[0].Value != 3 {
		t.Errorf("a peer's repeats become %+v; want a figure", got)
	}
	if got := ours()[0].count(sample); got.Duplicated != 3 || len(got.More) != 0 {
		t.Errorf("repeats of ours become %+v; want them kept", got)
	}
}

// TestAbsentPeersAreSkipped: a peer that is not installed says what to install.
func TestAbsentPeersAreSkipped(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	s := &stage{workshop: &workshop{}, root: t.TempDir()}
	if err := s.open(); err != nil {
		t.Fatal(err)
	}
	for name, k := range map[string]kind{
		"redis-server": redisStreams, "rabbitmq-server": rabbit, "go": jetStream,
	} {
		if _, err := os.Stat(rabbitScript); err == nil && name == "rabbitmq-server" {
			continue // it is not looked for in the path
		}
		_, _, err := k.start(t.Context(), s)
		var skip *benchkit.SkipError
		if !errors.As(err, &skip) || !strings.Contains(skip.Why, name) {
			t.Errorf("%s without its server: %v; want it skipped, with %s", k.name, err, name)
		}
	}
	if err := s.close(); err != nil {
		t.Error(err)
	}
}

// TestServersRestBetweenRounds: a server is started once, and runs only in its rounds.
func TestServersRestBetweenRounds(t *testing.T) {
	var starts atomic.Int32
	s := &served{kind: kind{start: func(context.Context, *stage) (system, []*process, error) {
		starts.Add(1)
		return noSystem{}, nil, nil
	}}}
	for range 3 {
		sample, err := s.measure(t.Context(), func(sys system) (benchkit.Sample, error) {
			_, err := sys.open(t.Context(), 1)
			if err == nil {
				t.Error("a server without queues opens one")
			}
			return benchkit.Sample{Ops: 1}, nil
		})
		if err != nil || sample.Ops != 1 {
			t.Fatalf("measure = %+v, %v", sample, err)
		}
	}
	if starts.Load() != 1 {
		t.Errorf("started %d times; want once", starts.Load())
	}
}
