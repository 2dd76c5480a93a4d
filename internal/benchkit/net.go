package benchkit

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"time"

	"github.com/leatbus/leat"
	"github.com/leatbus/leat/core"
)

const (
	netTopic      = "net"
	netRTTTopic   = "rtt"
	netPartitions = 4
	// netBacklog is how many messages the subscriber may be behind before the publisher waits.
	netBacklog = 1_000_000
)

// NetPeer is another bus with its server in a process of its own, measured in the same rounds.
type NetPeer interface {
	// Name says what it is and what it stores.
	Name() string
	// Round publishes values of size bytes for about d and waits until the last one was delivered to one
	// subscriber of this process; it gives the messages per second.
	Round(ctx context.Context, d time.Duration, size int) (float64, error)
	// ServerPID is the server's process, 0 if unknown.
	ServerPID() int
}

// netAddresses is what a server process prints: one JSON line.
type netAddresses struct {
	Leat string `json:"leat"`
	Echo string `json:"echo"` // of a bare QUIC echo in the same process
}

// Net measures server and client in two processes on the loopback interface: throughput at page beside the
// bare QUIC stream and the peers, the receipt round trip beside a bare echo with both processes pinned to
// one core, memory of idle connections, and the time until a server is ready. Size is the value, 64 bytes;
// For is the time of a throughput round, 5 s; Rounds is 5; Idle is the number of idle connections, 1,000.
func Net(ctx context.Context, o Options) (*Report, error) { return NetAgainst(ctx, o) }

// NetAgainst is Net with peers.
func NetAgainst(ctx context.Context, o Options, peers ...NetPeer) (_ *Report, err error) {
	if err := o.netDefaults(); err != nil {
		return nil, err
	}
	b, err := newBench("net", o)
	if err != nil {
		return nil, err
	}
	defer b.end(&err)
	n := &netBench{bench: b, peers: peers}
	if err := n.startServer(ctx); err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, n.stopServer()) }()
	bus, err := leat.Dial(ctx, n.at.Leat, leat.WithClientName("leat bench net"))
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, bus.Close()) }()
	if err := n.throughput(ctx, bus); err != nil {
		return nil, err
	}
	if err := n.roundTrip(ctx, bus); err != nil {
		return nil, err
	}
	if err := n.idlePartitions(ctx, bus); err != nil {
		return nil, err
	}
	if err := n.idleConnections(ctx); err != nil {
		return nil, err
	}
	if o.Serve != nil {
		return b.report, n.ready(ctx)
	}
	return b.report, nil
}

func (o *Options) netDefaults() error {
	if o.Size == 0 {
		o.Size = 64
	}
	if o.Size < minValueBytes || o.Size > core.DefaultRecordBytes-1024 {
		return core.Errorf(core.CodeInvalidConfig, "bench net", "--size %d: want %d to %d",
			o.Size, minValueBytes, core.DefaultRecordBytes-1024)
	}
	if o.For == 0 {
		o.For = 5 * time.Second
	}
	if o.Rounds == 0 {
		o.Rounds = 5
	}
	if o.Idle == 0 {
		o.Idle = 1000
	}
	if o.IdleFor == 0 {
		o.IdleFor = 10 * time.Second
	}
	if o.NetServer == nil {
		return errors.New("benchkit: Net needs a NetServer")
	}
	return nil
}

// netBench is Net under way.
type netBench struct {
	*bench
	peers  []NetPeer
	server *exec.Cmd
	input  io.Closer // closing it ends the server
	at     netAddresses
}

// startServer starts the server process and reads where it listens.
func (n *netBench) startServer(ctx context.Context) error {
	command, err := n.NetServer(ctx, n.dir)
	if err != nil {
		return err
	}
	if n.input, err = command.StdinPipe(); err != nil {
		return err
	}
	output, err := command.StdoutPipe()
	if err != nil {
		return err
	}
	if err := command.Start(); err != nil {
		return fmt.Errorf("benchkit: start the server: %w", err)
	}
	n.server = command
	line, err := bufio.NewReader(output).ReadBytes('\n')
	if err == nil {
		err = json.Unmarshal(line, &n.at)
	}
	if err != nil {
		return errors.Join(fmt.Errorf("benchkit: the server said %q: %w", line, err), n.stopServer())
	}
	return nil
}

func (n *netBench) stopServer() error {
	if err := n.input.Close(); err != nil {
		return err
	}
	if err := n.server.Wait(); err != nil {
		return fmt.Errorf("benchkit: the server: %w", err)
	}
	return nil
}

// throughput publishes with receipts as fast as they come and delivers to one subscription.
func (n *netBench) throughput(ctx context.Context, bus *leat.Bus) (err error) {
	cfg := leat.TopicConfig{Partitions: netPartitions, Ack: leat.AckPage, RetentionBytes: busRetentionBytes}
	s, err := openStream(ctx, n.clock, bus, netTopic, n.Size, cfg)
	if err != nil {
		return err
	}
	s.backlog = netBacklog
	s.start(ctx)
	defer func() { err = errors.Join(err, n.finish(s)) }()
	record := core.Align8(core.RecordHeaderSize + 8 + n.Size)
	var delivered, floors, clientCPU, serverCPU samples
	peers := make([]samples, len(n.peers))
	cases := []func(int) error{func(round int) error {
		n.progress("publish %d B at page over QUIC, round %d", n.Size, round+1)
		meter := startMeter(n.server.Process.Pid)
		before := s.load.total
		r, err := s.throughput(ctx, n.length(round))
		use := meter.stop()
		delivered.add(round, r.delivered)
		clientCPU.add(round, float64(use.client)/float64(s.load.total-before))
		serverCPU.add(round, float64(use.server)/float64(s.load.total-before))
		return err
	}, func(round int) error {
		n.progress("bare QUIC stream there and back, round %d", round+1)
		bytes, err := echoThroughput(ctx, n.at.Echo, n.length(round))
		floors.add(round, bytes/float64(record))
		return err
	}}
	for i, peer := range n.peers {
		cases = append(cases, func(round int) error {
			n.progress("%s, round %d", peer.Name(), round+1)
			rate, err := peer.Round(ctx, n.length(round), n.Size)
			peers[i].add(round, rate)
			return err
		})
	}
	if err := interleave(ctx, n.Rounds, cases...); err != nil {
		return err
	}
	n.throughputRows(record, delivered, floors, peers, clientCPU, serverCPU)
	return nil
}

// finish closes the stream and judges it.
func (n *netBench) finish(s *stream) error {
	v, err := s.close()
	if !v.Clean() {
		n.report.problem("of %d messages %d lost, %d duplicated, %d reordered",
			s.load.total, v.Lost, v.Duplicated, v.Reordered)
	}
	return err
}

func (n *netBench) throughputRows(record int, delivered, floors samples, peers []samples,
	clientCPU, serverCPU samples) {
	row := n.report.row("publish, store and deliver", "page", "msgs/s", delivered)
	row.against(fmt.Sprintf("records/s of %d B, bare QUIC stream there and back", record), floors)
	row.Note = fmt.Sprintf("value %d B, key 8 B, %d partitions, one publisher and one subscriber in one "+
		"process, receipts for all; processor per message: client %.0f ns, server %.0f ns", n.Size,
		netPartitions, median(clientCPU), median(serverCPU))
	for i, peer := range n.peers {
		n.report.row("publish, store and deliver", "page", "msgs/s", delivered).
			against("msgs/s, "+peer.Name(), peers[i])
	}
}

// length is the time of one round; the warm-up is shorter.
func (n *netBench) length(round int) time.Duration {
	if round == WarmUp {
		return n.For / 5
	}
	return n.For
}

// ready measures from the start of `leat serve` to the line that says so.
func (n *netBench) ready(ctx context.Context) error {
	var times samples
	err := interleave(ctx, n.Rounds, func(round int) error {
		n.progress("start a server, round %d", round+1)
		start := n.clock.Mono()
		stop, err := n.Serve(ctx, fmt.Sprintf("%s/ready-%d", n.dir, round+1))
		if err != nil {
			return err
		}
		times.add(round, float64(n.clock.Mono()-start)/1e6)
		return stop()
	})
	if err != nil {
		return err
	}
	n.report.row("leat serve until ready", "-", "ms", times).
		Note = "an empty folder; from the start of the process"
	return nil
}
