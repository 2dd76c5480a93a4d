package observe

import (
	"context"
	"crypto/tls"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/leatbus/leat"
	"github.com/leatbus/leat/core"
	"github.com/leatbus/leat/internal/clock"
	"github.com/leatbus/leat/internal/netfault"
	"github.com/leatbus/leat/node"
	"github.com/leatbus/leat/transport"
	"github.com/leatbus/leat/transport/certs"
	"github.com/leatbus/leat/transport/wire"
)

// patience bounds everything that a test waits for.
const patience = 30 * time.Second

func soon(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	t.Cleanup(cancel)
	return ctx
}

// must fails the test where something went wrong that is not what it is about.
func must[T any](v T, err error) func(*testing.T) T {
	return func(t *testing.T) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

func freeAddress(t *testing.T) string {
	t.Helper()
	return must(netfault.FreeAddress("udp"))(t)
}

// watch compares pages of metrics with the first one.
type watch struct {
	t       *testing.T
	o       *Observer
	first   map[string]float64
	changed map[string]bool // by family
}

// scrape reads the page, which must be well formed, and notes what has changed.
func (w *watch) scrape() *exposed {
	w.t.Helper()
	answer := ask(w.t, w.o.Handler(true), "GET", "/metrics", "localhost")
	e, err := parse(answer.Body.String())
	if err != nil {
		w.t.Fatalf("%v\n%s", err, answer.Body)
	}
	if w.first == nil {
		w.first = e.value
	}
	for series, value := range e.value {
		name, _, _ := strings.Cut(series, "{")
		if before := w.first[series]; before != value {
			w.changed[e.familyOf(name)] = true
		}
	}
	return e
}

// until scrapes until families have changed.
func (w *watch) until(names ...string) {
	w.t.Helper()
	deadline := time.Now().Add(patience)
	for {
		e := w.scrape()
		missing := slices.DeleteFunc(slices.Clone(names), func(name string) bool { return w.changed["leat_"+name] })
		if len(missing) == 0 {
			return
		}
		if time.Now().After(deadline) {
			w.t.Fatalf("unchanged: %q\n%v", missing, e.value)
		}
	}
}

// pair is two nodes of a cluster that want certificates of their clients. Clients reach node 1 through a
// relay. Node 1 is observed.
type pair struct {
	*watch
	data     [2]string
	peers    map[uint16]string
	relay    *netfault.Relay
	ca       *certs.Authority
	buses    [2]*leat.Bus
	servers  [2]*node.Server
	observed Config
}

func newPair(t *testing.T) *pair {
	t.Setenv("LEAT_CONFIG_DIR", t.TempDir())
	p := &pair{peers: map[uint16]string{1: freeAddress(t), 2: freeAddress(t)},
		data: [2]string{t.TempDir(), t.TempDir()}, ca: must(certs.NewAuthority("ours", time.Hour))(t)}
	p.relay = must(netfault.New(p.peers[1], netfault.Options{Seed: 1}))(t)
	t.Cleanup(p.relay.Close)
	p.watch = &watch{t: t, changed: map[string]bool{}, o: New(Config{
		Data: p.data[0], Version: "v1", Revision: "abc", Go: "go1", Clock: clock.System})}
	return p
}

// start opens and serves a node.
func (p *pair) start(id int) {
	p.t.Helper()
	cfg := node.ClusterConfig{Node: uint16(id), Name: "c", Peers: p.peers}
	if id == 1 {
		cfg.Advertise = p.relay.Addr()
	}
	// What nobody waits for stays unsynced, to be seen.
	p.buses[id-1] = must(node.Open(soon(p.t), p.data[id-1], node.WithCluster(cfg),
		node.WithFlushEvery(time.Minute), node.WithScrubEvery(100*time.Millisecond)))(p.t)
	issued := must(p.ca.Issue(certs.Spec{CommonName: "node", Hosts: []string{"127.0.0.1"}, Server: true}))(p.t)
	p.servers[id-1] = must(node.Serve(soon(p.t), p.buses[id-1], node.ServeConfig{
		Listen: p.peers[uint16(id)], DrainFor: time.Second, TLS: &tls.Config{
			Certificates: []tls.Certificate{issued.TLS()}, ClientCAs: p.ca.Pool(),
			ClientAuth: tls.RequireAndVerifyClientCert}}))(p.t)
}

func (p *pair) stop(id int) {
	p.t.Helper()
	if err := p.servers[id-1].Close(); err != nil {
		p.t.Error(err)
	}
	if err := p.buses[id-1].Close(); err != nil {
		p.t.Error(err)
	}
}

// trust is what a client shows that has a certificate of an authority; nil: none.
func (p *pair) trust(ca *certs.Authority) *tls.Config {
	cfg := &tls.Config{RootCAs: p.ca.Pool()}
	if ca != nil {
		issued := must(ca.Issue(certs.Spec{CommonName: "client", Client: true}))(p.t)
		shown := issued.TLS()
		// Whatever authorities the server names: Certificates would be shown only to those that trust them.
		cfg.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
			return &shown, nil
		}
	}
	return cfg
}

// request asks a responder of the node that replies after the requester has given up.
func (p *pair) request(bus *leat.Bus) {
	p.t.Helper()
	asked, reply, over := make(chan struct{}), make(chan struct{}), make(chan struct{})
	responder := must(p.buses[0].Respond("page", func(context.Context, *leat.Message) (leat.Message, error) {
		close(asked)
		<-reply
		return leat.Message{}, nil
	}))(p.t)
	ctx, cancel := context.WithCancel(soon(p.t))
	go func() {
		defer close(over)
		_, _ = bus.Request(ctx, "page", leat.Message{}) // the error is that it gives up
	}()
	<-asked
	p.until("responders", "requests_pending")
	cancel()
	<-over
	p.until("requests_total")
	close(reply)
	p.until("replies_late_total")
	if err := responder.Close(); err != nil {
		p.t.Error(err)
	}
}

// TestEveryMetricChanges drives a node until each of the metrics has changed. leat_build_info is constant.
func TestEveryMetricChanges(t *testing.T) {
	p := newPair(t)
	p.start(1)
	p.o.Serves(p.buses[0])
	p.scrape()
	p.start(2)
	p.until("quic_rtt_seconds", "quic_connections", "quic_handshake_seconds")
	bus := must(leat.Dial(soon(t), p.relay.Addr(), leat.WithTLS(p.trust(p.ca)),
		leat.WithUnreachableAfter(patience)))(t)
	p.publish(bus)
	p.delay()
	p.repeat()
	p.consume(bus)
	p.expire(bus)
	p.request(bus)
	p.distrusted()
	p.lose(bus)
	p.rot()
	if err := bus.Close(); err != nil {
		t.Error(err)
	}
	p.stop(2)
	p.until("partitions_unavailable")
	p.o.Drains()
	p.until("node_draining", "node_ready")
	p.stop(1)
	p.tear()
	p.until("log_recovery_truncated_bytes", "log_recovery_seconds")

	if e := p.scrape(); e.value[`leat_build_info{version="v1",revision="abc",go_version="go1"}`] != 1 {
		t.Error("leat_build_info does not tell of the build")
	}
	p.changed["leat_build_info"] = true
	p.changed["leat_disk_low_on_space"] = true // TestLowOnSpace: nobody fills the disk of the machine here
	for _, f := range families {
		if !p.changed[f.name] {
			t.Errorf("%s has not changed", f.name)
		}
	}
}

// delay publishes one message that is due at once, in the node's process, and one that waits.
func (p *pair) delay() {
	p.t.Helper()
	topics := must(p.buses[0].Topics(soon(p.t)))(p.t)
	producer := must(p.buses[0].Producer(topics[0].Name))(p.t)
	for _, d := range []time.Duration{time.Millisecond, time.Hour} {
		must(producer.Publish(soon(p.t), leat.Message{Delay: d}))(p.t)
	}
	if err := producer.Close(); err != nil {
		p.t.Error(err)
	}
	p.until("delay_pending_messages", "delay_delivered_messages_total", "delay_late_seconds")
}

// publish fills topics beyond what they keep, and is refused once.
func (p *pair) publish(bus *leat.Bus) {
	t := p.t
	for name, cfg := range map[string]leat.TopicConfig{
		"disk": {Ack: leat.AckDisk, Partitions: 2},
		"page": {Ack: leat.AckPage, Partitions: 2},
		"short": {Ack: leat.AckDisk, Partitions: 2, SegmentBytes: core.MinSegmentBytes,
			RetentionBytes: core.MinSegmentBytes},
	} {
		if err := bus.CreateTopic(soon(t), name, cfg); err != nil {
			t.Fatal(err)
		}
		producer := must(bus.Producer(name, leat.WithPartitioner(leat.Manual)))(t)
		for i := range 60 {
			m := leat.Message{Value: make([]byte, 32<<10), Partition: int32(i % 2)}
			must(producer.Publish(soon(t), m))(t)
		}
		switch name {
		case "page":
			p.until("log_unsynced_bytes")
			continue
		case "short":
			p.until("log_start_offset")
			continue
		}
		small := 1000
		if err := bus.AlterTopic(soon(t), name, leat.TopicChange{MaxRecordBytes: &small}); err != nil {
			t.Fatal(err)
		}
		if _, err := producer.Publish(soon(t), leat.Message{Value: make([]byte, 2000)}); err == nil {
			t.Error("a message that is too large was taken")
		}
	}
	p.until("produce_messages_total", "produce_bytes_total", "produce_errors_total", "produce_ack_seconds",
		"log_appended_bytes_total", "log_fsync_seconds", "log_fsync_batch_messages", "log_segments",
		"log_size_bytes",
		"log_end_offset", "partitions", "admin_requests_total", "disk_free_bytes")
	for _, at := range must(bus.Topics(soon(t)))(t) {
		if at.Name == "page" && at.Partitions[0].End == 0 {
			t.Errorf("%+v: nothing was stored", at)
		}
	}
}

// repeat sends one frame twice, as a client does that has lost the answer.
func (p *pair) repeat() {
	t := p.t
	conn := must(transport.Dial(soon(t), p.relay.Addr(), transport.DialConfig{
		TLS: p.trust(p.ca), Protocol: wire.ALPNClient}))(t)
	defer conn.Close(0, "")
	send := func(s transport.Stream, h wire.Header, body any) *transport.Reader {
		must(s.Write(wire.Marshal(nil, h, body)))(t)
		r := transport.NewReader(s, wire.MaxPayload)
		must(r.Next())(t)
		must(r.Small())(t)
		return r
	}
	control := must(conn.OpenStream(soon(t)))(t)
	send(control, wire.Header{Type: wire.Hello}, wire.HelloBody{Version: 1})
	stream := must(conn.OpenStream(soon(t)))(t)
	answers := send(stream, wire.Header{Type: wire.ProducerOpen},
		wire.ProducerOpenBody{Topic: "page", ProducerID: 7, Instance: 1})
	record := make([]byte, must(core.EncodedRecordSize(nil, []byte("x"), nil))(t))
	core.PutRecord(record, nil, []byte("x"), nil, 0, 0)
	h := core.FrameHeader{Length: uint32(core.FrameHeaderSize + len(record)), ProducerID: 7, Records: 1,
		PayloadCRC: core.Checksum(record), Version: core.FrameVersion}
	frame := make([]byte, core.Align8(int(h.Length)))
	h.Encode(frame, 0)
	copy(frame[core.FrameHeaderSize:], record)
	head := wire.Header{Type: wire.Produce, Length: uint32(len(frame))}
	for range 2 {
		must(stream.Write(append(head.Append(nil), frame...)))(t)
		must(answers.Next())(t)
		must(answers.Small())(t)
	}
	p.until("dedup_hits_total")
}

// consume reads with a group whose second member comes and leaves, and acks not everything.
func (p *pair) consume(bus *leat.Bus) {
	t := p.t
	var subs []*leat.Subscription
	for range 2 {
		subs = append(subs, must(bus.Subscribe("disk", leat.Group("g"), leat.From(leat.Earliest)))(t))
	}
	p.until("consumer_members", "group_rebalances_total")
	if err := subs[1].Close(); err != nil {
		t.Error(err)
	}
	seen := 0
	for m, err := range subs[0].Messages(soon(t)) {
		if err != nil {
			t.Fatal(err)
		}
		if seen++; seen <= 20 {
			if err := m.Ack(); err != nil {
				t.Fatal(err)
			}
		}
		if seen == 40 {
			break
		}
	}
	if err := subs[0].Commit(soon(t)); err != nil {
		t.Error(err)
	}
	p.until("deliver_messages_total", "deliver_bytes_total", "consumer_ack_messages_total",
		"consumer_lag_messages",
		"consumer_lag_seconds", "actors", "uptime_seconds", "tls_cert_expiry_seconds")
	if err := subs[0].Close(); err != nil {
		t.Error(err)
	}
}

// expire reads behind a message whose time to live is over.
func (p *pair) expire(bus *leat.Bus) {
	t := p.t
	producer := must(bus.Producer("page", leat.WithPartitioner(leat.Manual)))(t)
	first := must(producer.Publish(soon(t), leat.Message{TTL: time.Millisecond}))(t)
	last := first
	for last.Time.Sub(first.Time) <= time.Millisecond {
		last = must(producer.Publish(soon(t), leat.Message{}))(t)
	}
	sub := must(bus.Subscribe("page", leat.From(leat.Earliest)))(t)
	for m, err := range sub.Messages(soon(t)) {
		if err != nil {
			t.Fatal(err)
		}
		if m.Partition == last.Partition && m.Offset == last.Offset {
			break
		}
	}
	p.until("expired_messages_total")
	if err := sub.Close(); err != nil {
		t.Error(err)
	}
}

// distrusted connects without a certificate, and with one of somebody else.
func (p *pair) distrusted() {
	t := p.t
	for i, ca := range []*certs.Authority{nil, must(certs.NewAuthority("theirs", time.Hour))(t)} {
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		bus, err := leat.Dial(ctx, p.peers[1], leat.WithTLS(p.trust(ca)))
		cancel()
		if err == nil {
			_ = bus.Close()
			t.Error("a client was let in that should not be")
		}
		reason := []string{"certificate_missing", "certificate_untrusted"}[i]
		series := fmt.Sprintf("leat_auth_failures_total{reason=%q}", reason)
		deadline := time.Now().Add(patience)
		for p.scrape().value[series] == 0 {
			if time.Now().After(deadline) {
				t.Fatalf("%s does not change", series)
			}
		}
	}
}

// lose reads over a path that loses packets, until the node has found it out.
func (p *pair) lose(bus *leat.Bus) {
	t := p.t
	p.relay.SetFaults(netfault.Faults{}, netfault.Faults{Loss: 0.1})
	defer p.relay.SetFaults(netfault.Faults{}, netfault.Faults{})
	sub := must(bus.Subscribe("disk", leat.From(leat.Earliest)))(t)
	defer sub.Close()
	seen := 0
	for _, err := range sub.Messages(soon(t)) {
		if err != nil {
			t.Fatal(err)
		}
		if seen++; seen == 60 {
			break
		}
	}
	p.until("quic_packets_lost_total", "quic_sent_bytes_total", "quic_received_bytes_total")
}

// rot flips a bit in the oldest segments of partitions that have several, until the scrubber has found one.
func (p *pair) rot() {
	t := p.t
	var rotten []string
	files := segmentFiles(t, p.data[0])
	for i, name := range files[1:] {
		if older := files[i]; filepath.Dir(older) == filepath.Dir(name) && !slices.Contains(rotten, older) {
			rotten = append(rotten, older)
		}
	}
	flip := func() {
		for _, name := range rotten {
			f := must(os.OpenFile(name, os.O_RDWR, 0))(t)
			var b [1]byte
			must(f.ReadAt(b[:], 5000))(t)
			b[0] ^= 4
			must(f.WriteAt(b[:], 5000))(t)
			if err := f.Close(); err != nil {
				t.Error(err)
			}
		}
	}
	flip()
	p.until("scrub_damaged_total", "scrub_bytes_total", "scrub_pass_seconds")
	flip()
}

// tear leaves half a frame behind the end of logs, as a power cut does, and opens the node again.
func (p *pair) tear() {
	t := p.t
	for _, name := range segmentFiles(t, p.data[0]) {
		content := must(os.ReadFile(name))(t)
		end := len(strings.TrimRight(string(content), "\x00"))
		overwrite(t, name, int64(core.Align8(end)))
	}
	bus := must(node.Open(soon(t), p.data[0], node.WithCluster(node.ClusterConfig{
		Node: 1, Name: "c", Peers: p.peers})))(t)
	t.Cleanup(func() { _ = bus.Close() }) // a full segment may have been torn
	p.o.Serves(bus)
}
