package queue

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/leatbus/leat"
	"github.com/leatbus/leat/node"
)

// running runs a server of this process until the test ends, and gives its address.
func running(t *testing.T, arguments ...string) string {
	t.Helper()
	in, stop := io.Pipe()
	lines, out := io.Pipe()
	ended := make(chan error, 1)
	go func() { ended <- Serve(arguments, in, out) }()
	t.Cleanup(func() {
		if err := stop.Close(); err != nil {
			t.Error(err)
		}
		if err := <-ended; err != nil {
			t.Errorf("Serve(%q) = %v", arguments, err)
		}
	})
	address, err := bufio.NewReader(lines).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(address)
}

// checkSystem sends a few messages through two queues of a system.
func checkSystem(t *testing.T, s system) {
	t.Helper()
	for range 2 {
		sample, err := load{messages: 3000, size: networkSize, workers: 2}.run(t.Context(), s)
		if err != nil || sample.Lost != 0 || sample.Duplicated != 0 || sample.SumWrong || !(sample.Rate > 0) {
			t.Fatalf("run = %+v, %v; want all messages once", sample, err)
		}
	}
}

// TestLeatOverQUIC: the members of a group at a server.
func TestLeatOverQUIC(t *testing.T) {
	t.Setenv("LEAT_CONFIG_DIR", t.TempDir())
	bus, err := node.Open(t.Context(), t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	server, err := node.Serve(t.Context(), bus, node.ServeConfig{Listen: "127.0.0.1:0"})
	if err != nil {
		t.Fatal(err)
	}
	at := &leatAddresses{QUIC: server.Addr().String()}
	checkSystem(t, &leatSystem{connect: at.dial, level: leat.AckPage,
		options: []leat.SubscribeOption{leat.Queue()}})
	to := &target{leat: at}
	err = bus.CreateTopic(t.Context(), httpTopic, leat.TopicConfig{Ack: leat.AckPage})
	if err != nil {
		t.Fatal(err)
	}
	sample, err := (&suite{length: time.Millisecond}).publishQUIC(t.Context(), to)
	if err != nil || sample.Ops == 0 || !(sample.Rate > 0) {
		t.Errorf("publishQUIC = %+v, %v; want a rate", sample, err)
	}
	if err := server.Close(); err != nil {
		t.Error(err)
	}
	if err := bus.Close(); err != nil {
		t.Error(err)
	}
}

func TestJetStream(t *testing.T) {
	checkSystem(t, &natsSystem{url: "nats://" + running(t, natsVerb, t.TempDir())})
}

// TestInstalledPeers needs servers and takes their time to start.
func TestInstalledPeers(t *testing.T) {
	if os.Getenv("LEAT_BENCH_PEERS") == "" {
		t.Skip("LEAT_BENCH_PEERS is not set: no servers are started")
	}
	for _, k := range append(ours(), networkPeers()...) {
		t.Run(k.name, func(t *testing.T) {
			s := &stage{workshop: &workshop{}, root: t.TempDir()}
			if err := s.open(); err != nil {
				t.Fatal(err)
			}
			system, _, err := k.start(t.Context(), s)
			if err != nil {
				t.Fatal(err)
			}
			checkSystem(t, system)
			if err := errors.Join(s.close(), s.workshop.close()); err != nil {
				t.Error(err)
			}
		})
	}
}

// TestPost: requests are counted and their answers looked at.
func TestPost(t *testing.T) {
	s := &suite{length: time.Millisecond}
	echo := &target{url: "http://" + running(t, echoVerb) + "/"}
	sample, err := s.post(t.Context(), echo)
	if err != nil || sample.Ops < httpClients || sample.Latency.Count != sample.Ops || !(sample.Rate > 0) {
		t.Errorf("post = %+v, %v; want requests", sample, err)
	}
	refusing := httptest.NewServer(http.NotFoundHandler())
	defer refusing.Close()
	for name, run := range map[string]func(context.Context, *target) error{
		"post":      func(ctx context.Context, to *target) error { _, err := s.post(ctx, to); return err },
		"postLines": func(ctx context.Context, to *target) error { _, err := s.postLines(ctx, to); return err },
	} {
		err := run(t.Context(), &target{url: refusing.URL})
		if err == nil || !strings.Contains(err.Error(), "404") {
			t.Errorf("%s to a server that refuses = %v; want its status", name, err)
		}
	}
}

// answering answers every line but the first, and the one with number fails with an error.
func answering(t *testing.T, silent, fails int) *httptest.Server {
	return httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if err := http.NewResponseController(w).EnableFullDuplex(); err != nil {
			t.Error(err)
		}
		lines := bufio.NewScanner(r.Body)
		for n := 1; lines.Scan(); n++ {
			if len(lines.Text()) != httpSize+len(`{"value":""}`) {
				t.Errorf("line %d has %d bytes", n, len(lines.Text()))
			}
			text := `{"line":` + strconv.Itoa(n) + `,"partition":0,"offset":1}`
			if n == fails {
				text = `{"line":` + strconv.Itoa(n) + `,"error":{}}`
			}
			if n != silent {
				_, _ = io.WriteString(w, text+"\n") // a client that has seen enough goes
			}
		}
	}))
}

// TestPostLines: a line that is not answered is lost, one that failed an error.
func TestPostLines(t *testing.T) {
	s := &suite{length: time.Millisecond}
	for _, tt := range []struct {
		silent, fails int
		lost          int64
		bad           bool
	}{{0, 0, 0, false}, {3, 0, 1, false}, {0, 3, 0, true}} {
		server := answering(t, tt.silent, tt.fails)
		sample, err := s.postLines(t.Context(), &target{url: server.URL})
		if (err != nil) != tt.bad || !tt.bad && (sample.Lost != tt.lost || sample.Ops < lineLook-1) {
			t.Errorf("postLines, %+v = %+v, %v", tt, sample, err)
		}
		server.Close()
	}
}
