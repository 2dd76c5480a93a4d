package queue

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"

	"github.com/leatbus/leat"
	"github.com/leatbus/leat/internal/benchkit"
	"github.com/leatbus/leat/transport/certs"
)

const (
	networkRate = 200_000 // messages of a round where For is a second, for the fastest as for the slowest
	networkSize = 256

	leatCase     = "Leat"
	leatDiskCase = "Leat, level disk"
)

// kind is a system behind a server that can be started.
type kind struct {
	name  string
	role  benchkit.Role
	level string
	note  string
	// start starts the server. Its error is a SkipError if that is not installed.
	start func(ctx context.Context, s *stage) (system, []*process, error)
}

// ours are the ways in which Leat is measured.
func ours() []kind {
	note := fmt.Sprintf("leat serve; QUIC with TLS, a connection for each worker and for the publisher, "+
		"receipts for all, %d partitions", partitions)
	return []kind{
		{name: leatCase, role: benchkit.Ours, level: "page", note: note,
			start: func(ctx context.Context, s *stage) (system, []*process, error) {
				return s.startLeat(ctx, leat.AckPage)
			}},
		{name: leatDiskCase, role: benchkit.Ours, level: "disk",
			start: func(ctx context.Context, s *stage) (system, []*process, error) {
				return s.startLeat(ctx, leat.AckDisk)
			}},
	}
}

func networkPeers() []kind { return []kind{jetStream, redisStreams, rabbit} }

// network publishes and consumes through servers on the loopback interface.
func (s *suite) network() *benchkit.Scenario {
	scenario, st := s.scenario("network-256", fmt.Sprintf("publish messages of %d B to a server on the "+
		"loopback interface and ack each, one publisher, %d workers; the same number of messages for all",
		networkSize, workers))
	for _, k := range append(ours(), networkPeers()...) {
		served := &served{kind: k, stage: st}
		round := func(ctx context.Context, round int) (benchkit.Sample, error) {
			l := load{messages: s.count(networkRate), size: networkSize, workers: workers}
			return served.measure(ctx, func(sys system) (benchkit.Sample, error) {
				sample, err := l.run(ctx, sys)
				return k.count(sample), err
			})
		}
		scenario.Cases = append(scenario.Cases, k.measured(round))
	}
	return scenario
}

// measured is the case of a kind that run measures.
func (k *kind) measured(run func(ctx context.Context, round int) (benchkit.Sample, error)) benchkit.Case {
	return benchkit.Case{Name: k.name, Role: k.role, Level: k.level, Note: k.note, Run: run}
}

// count makes messages of a peer that came twice a figure: that is allowed to who delivers at least once. Of
// ours nothing does where nothing fails.
func (k *kind) count(sample benchkit.Sample) benchkit.Sample {
	if k.role == benchkit.Ours || sample.Duplicated == 0 {
		return sample
	}
	sample.More = append(sample.More, benchkit.Figure{Name: "delivered again, " + k.name,
		Value: float64(sample.Duplicated), Unit: "messages", Better: "lower"})
	sample.Duplicated = 0
	return sample
}

// served is a kind in one scenario. Its server is started by the first round, which warms up.
type served struct {
	kind
	stage     *stage
	system    system
	processes []*process
}

// measure runs a round while the server may run. Before and after it the server is stopped.
func (s *served) measure(
	ctx context.Context, run func(system) (benchkit.Sample, error),
) (sample benchkit.Sample, err error) {
	if s.system == nil {
		if s.system, s.processes, err = s.start(ctx, s.stage); err != nil {
			return sample, err
		}
	} else if err := s.each((*process).resume); err != nil {
		return sample, err
	}
	defer func() { err = errors.Join(err, s.each((*process).pause)) }()
	return run(s.system)
}

func (s *served) each(f func(*process) error) (err error) {
	for _, p := range s.processes {
		err = errors.Join(err, f(p))
	}
	return err
}

// startLeat starts leat serve.
func (s *stage) startLeat(ctx context.Context, level leat.Ack) (system, []*process, error) {
	at, p, err := s.serveLeat(ctx)
	if err != nil {
		return nil, nil, err
	}
	return &leatSystem{connect: at.dial, level: level, options: []leat.SubscribeOption{leat.Queue()}},
		[]*process{p}, nil
}

// leatAddresses is where leat serve listens, and the folder of the authority that it shows.
type leatAddresses struct {
	QUIC    string `json:"listen"`
	Gateway string `json:"gateway"`
	certs   string
}

// serveLeat starts leat serve with all its doors.
func (s *stage) serveLeat(ctx context.Context) (*leatAddresses, *process, error) {
	program, err := s.leat(ctx)
	if err != nil {
		return nil, nil, err
	}
	dir, err := s.folder("leat")
	if err != nil {
		return nil, nil, err
	}
	at := &leatAddresses{certs: dir}
	command := exec.Command(program, "serve", "--data", dir+"/data", "--listen", "127.0.0.1:0", "--http", "off",
		"--gateway", "127.0.0.1:0", "--log-level", "warn")
	command.Env = append(os.Environ(), "LEAT_CONFIG_DIR="+dir)
	p, _, err := s.start(ctx, command, func(line []byte) (string, bool) {
		ready := struct {
			Message string `json:"msg"`
			*leatAddresses
		}{leatAddresses: at}
		ok := json.Unmarshal(line, &ready) == nil && ready.Message == "ready"
		return at.QUIC, ok
	})
	return at, p, err
}

// dial connects to the server.
func (a *leatAddresses) dial(ctx context.Context) (*leat.Bus, func() error, error) {
	config, err := certs.DevelopmentClient(a.certs)
	if err != nil {
		return nil, nil, err
	}
	bus, err := leat.Dial(ctx, a.QUIC, leat.WithTLS(config), leat.WithClientName("bench queue"))
	if err != nil {
		return nil, nil, err
	}
	return bus, bus.Close, nil
}
