package httpdoor

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"

	"github.com/leatbus/leat"
	"github.com/leatbus/leat/node"
)

const (
	benchLines = 1000 // of one NDJSON body
	benchBytes = 1024 // of a value
)

// benchDoor opens a door to a node on the disk with a topic t at level page, and an HTTP server that
// sends back what it gets: what the machine and net/http give.
func benchDoor(b *testing.B) (door, echo string, bus *leat.Bus) {
	b.Helper()
	bus, err := node.Open(b.Context(), b.TempDir(), node.WithTopic("t", leat.TopicConfig{Ack: leat.AckPage}))
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = bus.Close() })
	opened, err := Open(bus, Config{Listen: "127.0.0.1:0"})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = opened.Close() })
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(w, r.Body) // a client that goes fails its own side
	})}
	go func() { _ = server.Serve(listener) }()
	b.Cleanup(func() { _ = server.Close() })
	return "http://" + opened.Addr().String(), "http://" + listener.Addr().String(), bus
}

// exchange makes one request and gives the body of its answer.
func exchange(ctx context.Context, url, kind string, body []byte, into *bytes.Buffer) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, url, bytes.NewReader(body))
	if err != nil {
		return err
	}
	request.Header.Set("Content-Type", kind)
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	into.Reset()
	if _, err = into.ReadFrom(response.Body); err == nil && response.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: %s", response.Status, into)
	}
	return err
}

// BenchmarkPublish publishes messages of 1 KiB: one a request, and 1,000 lines a request. echo is the same
// bodies to a bare net/http server in the same run.
func BenchmarkPublish(b *testing.B) {
	door, echo, _ := benchDoor(b)
	path := door + "/v1/topics/t/messages"
	value := strings.Repeat("x", benchBytes)
	lines := []byte(strings.Repeat(`{"value":"`+value+`"}`+"\n", benchLines))
	for _, c := range []struct {
		name, url, kind string
		body            []byte
		messages        int
	}{
		{"single/leat", path, "application/octet-stream", []byte(value), 1},
		{"single/echo", echo, "application/octet-stream", []byte(value), 1},
		{"ndjson/leat", path + "?receipts=summary", ndjson, lines, benchLines},
		{"ndjson/echo", echo, ndjson, lines, benchLines},
	} {
		b.Run(c.name, func(b *testing.B) {
			b.ReportAllocs()
			b.SetBytes(int64(c.messages * benchBytes))
			b.RunParallel(func(pb *testing.PB) {
				var answer bytes.Buffer
				for pb.Next() {
					if err := exchange(b.Context(), c.url, c.kind, c.body, &answer); err != nil {
						b.Error(err)
						return
					}
				}
			})
			b.ReportMetric(float64(b.N*c.messages)/b.Elapsed().Seconds(), "messages/s")
		})
	}
}

// BenchmarkPull pulls 100 messages of 1 KiB with a request and acks them with another. echo is two requests
// with bodies of these sizes to a bare net/http server in the same run.
func BenchmarkPull(b *testing.B) {
	door, echo, bus := benchDoor(b)
	const most = 100
	path := door + "/v1/topics/t/groups/g/"
	fill := func(b *testing.B, n int) {
		p, err := bus.Producer("t")
		if err != nil {
			b.Fatal(err)
		}
		defer p.Close()
		for range n {
			p.PublishAsync(leat.Message{Value: bytes.Repeat([]byte("x"), benchBytes)}, nil)
		}
		if err := p.Flush(b.Context()); err != nil {
			b.Fatal(err)
		}
	}
	var pulled, acked []byte
	b.Run("leat", func(b *testing.B) {
		fill(b, b.N*most)
		b.ReportAllocs()
		var answer bytes.Buffer
		b.ResetTimer()
		for range b.N {
			if err := exchange(b.Context(), path+fmt.Sprint("pull?wait=30&max=", most), "", nil, &answer); err != nil {
				b.Fatal(err)
			}
			var page pulledPage
			if err := json.Unmarshal(answer.Bytes(), &page); err != nil || len(page.Messages) != most {
				b.Fatalf("%d messages, %v", len(page.Messages), err)
			}
			pulled = append(pulled[:0], answer.Bytes()...)
			var tokens Tokens
			for i := range page.Messages {
				tokens.Tokens = append(tokens.Tokens, page.Messages[i].Token)
			}
			acked, _ = json.Marshal(tokens) // strings
			if err := exchange(b.Context(), path+"ack", "application/json", acked, &answer); err != nil {
				b.Fatal(err)
			}
		}
		b.ReportMetric(float64(b.N*most)/b.Elapsed().Seconds(), "messages/s")
	})
	b.Run("echo", func(b *testing.B) {
		b.ReportAllocs()
		var answer bytes.Buffer
		for range b.N {
			for _, body := range [][]byte{pulled, acked} {
				if err := exchange(b.Context(), echo, "application/json", body, &answer); err != nil {
					b.Fatal(err)
				}
			}
		}
		b.ReportMetric(float64(b.N*most)/b.Elapsed().Seconds(), "messages/s")
	})
}
