package queue

import (
	"context"
	"time"

	"github.com/leatbus/leat"
	"github.com/leatbus/leat/internal/benchkit"
)

// workers is how many take messages out of a queue.
const workers = 4

// suite puts cases into scenarios.
type suite struct {
	*workshop
	root   string        // folder for data
	length time.Duration // what a round of each case takes, about
}

// Suite holds queue groups against their peers. For is about the time of each case and round, 1 s: it sets
// how many messages are sent, the same number for all. Rounds is 5.
func Suite(_ context.Context, o benchkit.Options) (*benchkit.Suite, error) {
	if o.For == 0 {
		o.For = time.Second
	}
	s := &suite{workshop: &workshop{}, root: o.Dir, length: o.For}
	result := &benchkit.Suite{Name: "queue", Close: s.workshop.close,
		About: "queue groups beside their peers, dead letters, times to live, the HTTP door"}
	for _, scenario := range []*benchkit.Scenario{
		s.embedded("embedded-64", 64), s.embedded("embedded-256", 256), s.keyShared(), s.network(),
		s.pending(), s.redrive(), s.expired(), s.httpSingle(), s.httpLines(),
	} {
		scenario.Goals = goals()[scenario.Name]
		result.Scenarios = append(result.Scenarios, *scenario)
	}
	return result, nil
}

// count is how many messages a round has of a case that handles about perSecond of them. The warm-up has as
// many, so that the files of logs are there.
func (s *suite) count(perSecond float64) int64 { return max(int64(s.length.Seconds()*perSecond), 64) }

// The cases of embedded and keyShared.
const (
	queueCase    = "queue group"
	aloneCase    = "queue group, 1 member"
	channelCase  = "Go channel"
	allKeysCase  = "key-shared"
	oneFailsCase = "key-shared, a key fails always"
)

const embeddedRate = 1_000_000

// embedded publishes and consumes in this process.
func (s *suite) embedded(name string, size int) *benchkit.Scenario {
	scenario, st := s.scenario(name, "publish messages without keys in one process and ack each, 4 partitions, "+
		"4 members of a group")
	scenario.Baseline = channelCase
	add := func(name string, role benchkit.Role, members int, level, note string,
		create func(context.Context) (system, error)) {
		var made system
		scenario.Cases = append(scenario.Cases, benchkit.Case{Name: name, Role: role, Level: level, Note: note,
			Run: func(ctx context.Context, round int) (sample benchkit.Sample, err error) {
				if made == nil {
					if made, err = create(ctx); err != nil {
						return sample, err
					}
				}
				return load{messages: s.count(embeddedRate), size: size, workers: members}.run(ctx, made)
			}})
	}
	ours := func(ctx context.Context) (system, error) {
		return st.leatHere(ctx, leat.Queue())
	}
	add(queueCase, benchkit.Ours, workers, "page", "", ours)
	add(aloneCase, benchkit.Ours, 1, "page", "", ours)
	add(channelCase, benchkit.Floor, workers, "", "nothing is stored and nothing acked; the publisher copies "+
		"each message", func(context.Context) (system, error) { return newChannel(size), nil })
	return scenario
}

// leatHere is a bus in this process.
func (s *stage) leatHere(ctx context.Context, options ...leat.SubscribeOption) (system, error) {
	bus, err := s.bus(ctx)
	return &leatSystem{connect: shared(bus), level: leat.AckPage, options: options}, err
}

const (
	keyCount      = 1_000_000
	keySharedRate = 600_000
	keySize       = 64
	failingKey    = 5
)

// keyShared has a million keys, and one of them may fail.
func (s *suite) keyShared() *benchkit.Scenario {
	scenario, st := s.scenario("key-shared", "publish messages of 64 B with a million keys at random and ack "+
		"each, 4 partitions, 4 members; messages of the key that fails come again after 1 ms and do not count")
	for _, c := range []struct {
		name    string
		failing int64
	}{{allKeysCase, nobody}, {oneFailsCase, failingKey}} {
		var made system
		scenario.Cases = append(scenario.Cases, benchkit.Case{Name: c.name, Role: benchkit.Ours, Level: "page",
			Run: func(ctx context.Context, round int) (sample benchkit.Sample, err error) {
				if made == nil {
					made, err = st.leatHere(ctx, leat.KeyShared(leat.QueueConfig{MaxAttempts: -1}))
					if err != nil {
						return sample, err
					}
				}
				return load{messages: s.count(keySharedRate), size: keySize, workers: workers,
					keys: func() *keys { return newKeys(keyCount, c.failing) }}.run(ctx, made)
			}})
	}
	return scenario
}
