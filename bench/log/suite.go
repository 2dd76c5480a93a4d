package log

import (
	"context"
	"time"

	"github.com/leatbus/leat/internal/benchkit"
)

// The sizes of a record, encoded.
const (
	recordBytesLarge = 256
	recordBytesSmall = 64
)

// suite puts cases into scenarios.
type suite struct {
	*workshop
	root   string        // folder for data
	length time.Duration // of each case and round
}

// Suite holds the log against its peers. For is the time of each case and round, 200 ms; what has to last
// longer, such as the paced scenarios, takes a multiple of it. Rounds is 5.
func Suite(_ context.Context, o benchkit.Options) (*benchkit.Suite, error) {
	if o.For == 0 {
		o.For = 200 * time.Millisecond
	}
	s := &suite{workshop: newWorkshop(), root: o.Dir, length: o.For}
	result := &benchkit.Suite{Name: "log", About: "the log beside its peers and the floors of the machine"}
	for _, scenario := range []benchkit.Scenario{
		s.bursts("append-256", recordBytesLarge, 1), s.bursts("append-64", recordBytesSmall, 1),
		s.bursts("append100-256", recordBytesLarge, 100),
		s.paced(), s.handover(), s.handoverCollecting(), s.reads(),
		s.durableOne(), s.durableMany(), s.partitions(), s.sustained(), s.coldReaders(),
	} {
		setGoals(&scenario)
		result.Scenarios = append(result.Scenarios, scenario)
	}
	return result, nil
}

// goPeers are the logs that are Go packages and run in this process.
func goPeers() []*kind {
	return []*kind{&tidwall, &raftWAL, &prometheus, &pebble, &natsFile, &jetStream}
}

// scenario makes one whose stores lie in places of its own.
func (s *suite) scenario(name, about string) (benchkit.Scenario, *places) {
	p := &places{root: s.root}
	return benchkit.Scenario{
		Name: name, About: about, Threads: 1,
		Open: func(context.Context) (func() error, error) { return p.close, p.open() },
	}, p
}
