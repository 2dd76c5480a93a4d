package cluster

import (
	"bytes"
	"context"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/leatbus/leat/core"
	"github.com/leatbus/leat/internal/clock"
	"github.com/leatbus/leat/transport"
	"github.com/leatbus/leat/transport/wire"
)

// intruder is one side of a connection with a node, without any manners.
type intruder struct {
	t      *testing.T
	conn   transport.Conn
	stream transport.Stream
	reader *transport.Reader
}

// intrude connects to a node, which sees a certificate with these URIs.
func (w *network) intrude(to uint16, uris ...string) *intruder {
	w.t.Helper()
	a, b := transport.Pipe(wire.ALPNPeer)
	if uris != nil {
		b = shows(b, uris...)
	}
	target := w.peers[to]
	w.work.Go(func() { target.Serve(context.Background(), b) })
	return &intruder{t: w.t, conn: a}
}

func (i *intruder) send(frames []byte) {
	i.t.Helper()
	if i.stream == nil {
		stream, err := i.conn.OpenStream(i.t.Context())
		if err != nil {
			i.t.Fatal(err)
		}
		i.stream, i.reader = stream, transport.NewReader(stream, frameMax)
	}
	_, _ = i.stream.Write(frames) // it may be refused meanwhile
}

func hello(change func(*wire.PeerHelloBody)) []byte {
	body := wire.PeerHelloBody{Version: 1, Cluster: "prod", Node: 9, Advertise: "x:1", Start: "s"}
	if change != nil {
		change(&body)
	}
	return wire.Marshal(nil, wire.Header{Type: wire.PeerHello}, body)
}

// next reads frames until one of the type comes.
func (i *intruder) next(want wire.Type) wire.Header {
	i.t.Helper()
	for {
		h, err := i.reader.Next()
		if err != nil {
			i.t.Fatalf("before %v: %v", want, err)
		}
		if h.Type == want {
			return h
		}
	}
}

// wantEnd fails unless the node ends the connection with a code, within the time for a greeting.
func (i *intruder) wantEnd(what string, want core.Code) {
	i.t.Helper()
	select {
	case <-i.conn.Done():
	case <-time.After(helloWait + time.Second):
	}
	if err := i.conn.Err(); err == nil || core.CodeOf(err) != want {
		i.t.Errorf("%s: connection ended with %v, want %v", what, err, want)
	}
}

func TestStrangersAreRefused(t *testing.T) {
	tests := []struct {
		what string
		uris []string
		want core.Code
	}{
		{"no certificate", nil, core.CodeUntrusted},
		{"a certificate without a node", []string{}, core.CodeUntrusted},
		{"a web address", []string{"https://prod/9"}, core.CodeUntrusted},
		{"no id", []string{"leat://prod"}, core.CodeUntrusted},
		{"id 0", []string{"leat://prod/0"}, core.CodeUntrusted},
		{"a large id", []string{"leat://prod/65536"}, core.CodeUntrusted},
		{"an id with zeros", []string{"leat://prod/09"}, core.CodeUntrusted},
		{"an id with a path", []string{"leat://prod/9/x"}, core.CodeUntrusted},
		{"a user", []string{"leat://me@prod/9"}, core.CodeUntrusted},
		{"another cluster", []string{"leat://test/9"}, core.CodeWrongNode},
		{"a node not in the list", []string{"leat://prod/8"}, core.CodeWrongNode},
		{"this node", []string{"leat://prod/5"}, core.CodeWrongNode},
		{"a node that is dialed", []string{"leat://prod/1"}, core.CodeWrongNode},
	}
	inBubble(t, func(t *testing.T, w *network) {
		w.up(5)
		for _, tt := range tests {
			w.intrude(5, tt.uris...).wantEnd(tt.what, tt.want)
		}
		wantUp(t, w.peers[5], 5)
	}, 1, 5, 9)
}

func TestBadGreetings(t *testing.T) {
	tests := []struct {
		what  string
		first []byte
		want  core.Code
	}{
		{"nothing", nil, core.CodeProtocol},
		{"another cluster", hello(func(b *wire.PeerHelloBody) { b.Cluster = "test" }), core.CodeWrongNode},
		{"another node", hello(func(b *wire.PeerHelloBody) { b.Node = 8 }), core.CodeWrongNode},
		{"no version", hello(func(b *wire.PeerHelloBody) { b.Version = 0 }), core.CodeUnsupported},
		{"no address", hello(func(b *wire.PeerHelloBody) { b.Advertise = "" }), core.CodeProtocol},
		{"a long address", hello(func(b *wire.PeerHelloBody) { b.Advertise = strings.Repeat("x", 600) }),
			core.CodeProtocol},
		{"no JSON", (&wire.Header{Type: wire.PeerHello}).Append(nil), core.CodeProtocol},
		{"another frame", (&wire.Header{Type: wire.Ping}).Append(nil), core.CodeProtocol},
		{"a client", wire.Marshal(nil, wire.Header{Type: wire.Hello}, wire.HelloBody{Version: 1}),
			core.CodeProtocol},
		{"a large greeting", (&wire.Header{Type: wire.PeerHello, Length: 5 << 10}).Append(nil), core.CodeProtocol},
		{"garbage", bytes.Repeat([]byte{0xa5}, 100), core.CodeProtocol},
	}
	inBubble(t, func(t *testing.T, w *network) {
		w.up(5)
		for _, tt := range tests {
			i := w.intrude(5, "leat://prod/9")
			if tt.first != nil {
				i.send(tt.first)
			}
			i.wantEnd(tt.what, tt.want)
			wantUp(t, w.peers[5], 5)
		}
		i := w.intrude(5, "leat://prod/9") // the same with manners
		i.send(hello(nil))
		i.next(wire.PeerWelcome)
		synctest.Wait()
		wantUp(t, w.peers[5], 5, 9)
		i.conn.Close(0, "")
	}, 1, 5, 9)
}

// TestDialedStrangers: the dialing side checks whom it has reached.
func TestDialedStrangers(t *testing.T) {
	for what, uri := range map[string]string{"another node": "leat://prod/5", "another cluster": "leat://x/1"} {
		inBubble(t, func(t *testing.T, w *network) {
			w.setCarry(func(conn transport.Conn) transport.Conn { return shows(conn, uri) })
			w.all()
			wantUp(t, w.peers[5], 5)
			if err := w.peers[5].Answer().Peers[0].Error; !strings.Contains(err, "certificate is of") {
				t.Errorf("%s: the reason is %q", what, err)
			}
		}, 1, 5)
	}
}

func frame(h wire.Header, payload []byte) []byte {
	h.Length = uint32(len(payload))
	return append(h.Append(nil), payload...)
}

func catalogueFrame(aux uint16, records ...core.CatalogueRecord) []byte {
	var payload []byte
	for i := range records {
		payload = wire.AppendCatalogue(payload, &records[i])
	}
	return frame(wire.Header{Type: wire.Catalogue, Aux: aux, Arg: 1}, payload)
}

// TestRudePeers: a node whose peer breaks the protocol ends that link, with the code, and takes it back
// when it behaves.
func TestRudePeers(t *testing.T) {
	mark := core.CatalogueRecord{Kind: core.CatalogueMark, ID: 20, Version: 3}
	tests := []struct {
		what   string
		frames []byte
		want   core.Code
	}{
		{"a catalogue of another than the meta node", catalogueFrame(1, mark), core.CodeProtocol},
		{"an answer to nothing", frame(wire.Header{Type: wire.CatalogueOK, Arg: 1}, nil), core.CodeProtocol},
		{"a produce", frame(wire.Header{Type: wire.Produce}, make([]byte, 64)), core.CodeProtocol},
		{"a second greeting", hello(nil), core.CodeProtocol},
		{"a pong from the future", frame(wire.Header{Type: wire.Pong, Arg: 1 << 62}, nil), core.CodeProtocol},
		{"a frame that must be understood", frame(wire.Header{Type: 200, Flags: wire.FlagMustUnderstand}, nil),
			core.CodeUnsupported},
		{"a large frame", (&wire.Header{Type: wire.Ping, Length: 2 << 20}).Append(nil), core.CodeProtocol},
	}
	inBubble(t, func(t *testing.T, w *network) {
		w.up(5)
		for _, tt := range tests {
			i := w.intrude(5, "leat://prod/9")
			i.send(hello(nil))
			i.next(wire.PeerWelcome)
			i.send(frame(wire.Header{Type: 200}, []byte("of a newer version"))) // is skipped
			synctest.Wait()
			wantUp(t, w.peers[5], 5, 9)
			i.send(tt.frames)
			i.wantEnd(tt.what, tt.want)
			synctest.Wait()
			wantUp(t, w.peers[5], 5)
		}
	}, 1, 5, 9)
}

// TestRudeMetaNode: what a meta node may not send, and what it may make a node keep, is bounded.
func TestRudeMetaNode(t *testing.T) {
	cfg := core.TopicConfig{Partitions: core.MaxPartitions}.WithDefaults()
	large := core.CatalogueRecord{Kind: core.CatalogueCreated, ID: 16, Name: "large", Config: cfg,
		Placement: core.Place([]uint16{1, 5}, core.MaxPartitions, 0)}
	mark := core.CatalogueRecord{Kind: core.CatalogueMark, ID: 20, Version: 3}
	begin := catalogueFrame(wire.CatalogueSnapshot, large)
	tests := []struct {
		what string
		send func(*intruder)
		want core.Code
	}{
		{"no records", func(i *intruder) { i.send(catalogueFrame(1)) }, core.CodeProtocol},
		{"garbage", func(i *intruder) {
			i.send(frame(wire.Header{Type: wire.Catalogue}, []byte{1, 0, 0, 0, 1}))
		}, core.CodeCorrupt},
		{"a snapshot within one", func(i *intruder) {
			i.send(append(bytes.Clone(begin), begin...))
		}, core.CodeProtocol},
		{"an unknown aux", func(i *intruder) { i.send(catalogueFrame(2, mark)) }, core.CodeProtocol},
		{"two messages at once", func(i *intruder) {
			one := catalogueFrame(0, mark)
			i.send(append(one, one...))
		}, core.CodeProtocol},
		{"a snapshot without end", func(i *intruder) {
			i.send(begin)
			many := catalogueFrame(0, large, large, large, large, large, large, large, large, large, large)
			for range snapshotMax/len(many) + 1 {
				i.send(many)
			}
		}, core.CodeProtocol},
		{"pings whose answers nobody reads", func(i *intruder) {
			ping := bytes.Repeat(frame(wire.Header{Type: wire.Ping}, nil), 1<<12)
			for range 4 * laneBytes / len(ping) {
				i.send(ping)
			}
		}, core.CodeFull},
	}
	for _, tt := range tests {
		inBubble(t, func(t *testing.T, w *network) {
			a, b := w.pair(5, 1)
			w.shells[5].set(func(s *shell) { s.hang = make(chan struct{}) })
			p := Start(Config{Cluster: "prod", Node: 5, Peers: w.addresses(), Advertise: "x:1", Shell: w.shells[5],
				Clock: clock.System, Dial: func(context.Context, uint16, string) (transport.Conn, error) {
					if a == nil {
						return nil, core.NewError(core.CodeUnavailable, "dial", nil)
					}
					conn := a
					a = nil
					return conn, nil
				}})
			stream, err := b.AcceptStream(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			i := &intruder{t: t, conn: b, stream: stream, reader: transport.NewReader(stream, frameMax)}
			i.next(wire.PeerHello)
			welcome := wire.PeerHelloBody{Version: 1, Cluster: "prod", Node: 1, Advertise: "x:1"}
			i.send(wire.Marshal(nil, wire.Header{Type: wire.PeerWelcome}, welcome))
			tt.send(i)
			i.wantEnd(tt.what, tt.want)
			p.Close()
			if got := w.shells[5].Version(); got != 0 {
				t.Errorf("%s: version %d was stored", tt.what, got)
			}
		}, 1, 5)
	}
}

// TestManyGreetings: connections that say nothing are few, and not for long.
func TestManyGreetings(t *testing.T) {
	inBubble(t, func(t *testing.T, w *network) {
		w.up(1)
		var list []*intruder
		for range greetingMax {
			list = append(list, w.intrude(1, "leat://prod/9"))
		}
		synctest.Wait()
		w.intrude(1, "leat://prod/9").wantEnd("one too many", core.CodeLimited)
		for _, i := range list {
			i.wantEnd("a silent one", core.CodeProtocol)
		}
		w.up(9)
		pass(pauseMax)
		wantUp(t, w.peers[1], 1, 9)
	}, 1, 9)
}

// TestNewerConnectionWins: a node that comes back before its old connection was found dead takes its place.
func TestNewerConnectionWins(t *testing.T) {
	inBubble(t, func(t *testing.T, w *network) {
		w.up(5)
		old := w.intrude(5, "leat://prod/9")
		old.send(hello(nil))
		old.next(wire.PeerWelcome)
		synctest.Wait()
		fresh := w.intrude(5, "leat://prod/9")
		fresh.send(hello(func(b *wire.PeerHelloBody) { b.Advertise = "moved:1" }))
		fresh.next(wire.PeerWelcome)
		synctest.Wait()
		if old.conn.Err() == nil {
			t.Error("the old connection is still open")
		}
		wantUp(t, w.peers[5], 5, 9)
		if got := w.peers[5].Map().Nodes[2].Address; got != "moved:1" {
			t.Errorf("node 9 is told as %s", got)
		}
		if _, err := old.reader.Next(); errors.Is(err, io.EOF) {
			t.Error("the old connection ended as if all was well")
		}
		fresh.conn.Close(0, "")
	}, 1, 5, 9)
}

// FuzzPeer: whatever bytes a peer sends after its greeting, the node neither panics nor stores anything, and
// goes on.
func FuzzPeer(f *testing.F) {
	mark := core.CatalogueRecord{Kind: core.CatalogueMark, ID: 20, Version: 3}
	f.Add(catalogueFrame(1, mark))
	f.Add(frame(wire.Header{Type: wire.CatalogueOK, Arg: 1}, nil))
	f.Add(append(frame(wire.Header{Type: wire.Ping}, nil), frame(wire.Header{Type: wire.Pong}, nil)...))
	f.Fuzz(func(t *testing.T, sent []byte) {
		inBubble(t, func(t *testing.T, w *network) {
			before := w.shells[1].Version()
			w.up(1)
			i := w.intrude(1, "leat://prod/9")
			i.send(hello(nil))
			i.next(wire.PeerWelcome)
			i.send(sent)
			synctest.Wait()
			i.conn.Close(0, "")
			synctest.Wait()
			wantUp(t, w.peers[1], 1)
			if got := w.shells[1].Version(); got != before {
				t.Errorf("version %d, was %d", got, before)
			}
		}, 1, 9)
	})
}
