package queue

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"sync"
	"time"

	"github.com/leatbus/leat"
	"github.com/leatbus/leat/internal/benchkit"
)

// The cases of the HTTP scenarios.
const (
	postCase  = "HTTP publish"
	echoCase  = "bare net/http echo"
	linesCase = "HTTP publish, NDJSON"
	quicCase  = "QUIC publish"

	httpSize    = 1024
	httpClients = 8
	httpTopic   = "http"
)

// httpSingle posts one message per request.
func (s *suite) httpSingle() *benchkit.Scenario {
	scenario, st := s.scenario("http-single", fmt.Sprintf("POST %d B to a server on the loopback interface, "+
		"one message per request, %d connections that are kept; latency from the request to the end of the answer",
		httpSize, httpClients))
	scenario.Unit, scenario.Threads, scenario.Baseline = "requests/s", httpClients, echoCase
	st.add(scenario, kind{name: postCase, role: benchkit.Ours, level: "page",
		note: "leat serve --gateway; the answer is the receipt"}, (*stage).startDoor, s.post)
	st.add(scenario, kind{name: echoCase, role: benchkit.Floor,
		note: "a server that answers with the body"}, (*stage).startEcho, s.post)
	return scenario
}

// httpLines publishes a stream of messages in one request, beside doing so over QUIC.
func (s *suite) httpLines() *benchkit.Scenario {
	scenario, st := s.scenario("http-ndjson", fmt.Sprintf("publish messages of %d B to leat serve one after "+
		"the other, with an answer for each", httpSize))
	scenario.Threads, scenario.Baseline = 2, quicCase
	st.add(scenario, kind{name: linesCase, role: benchkit.Ours, level: "page",
		note: "one request, a line of JSON for each message and for each answer"}, (*stage).startDoor, s.postLines)
	st.add(scenario, kind{name: quicCase, role: benchkit.Floor, level: "page",
		note: "PublishAsync with receipts"}, (*stage).startDoor, s.publishQUIC)
	return scenario
}

// target is an HTTP server that is measured.
type target struct {
	url  string
	leat *leatAddresses // nil if it is another one
}

// httpCase is a case under way: its server is started by the first round.
type httpCase struct {
	target *target
	served served
}

func (st *stage) add(scenario *benchkit.Scenario, k kind,
	start func(*stage, context.Context) (*target, *process, error),
	run func(ctx context.Context, to *target) (benchkit.Sample, error)) {
	c := &httpCase{served: served{kind: k, stage: st}}
	c.served.start = func(ctx context.Context, s *stage) (system, []*process, error) {
		var p *process
		var err error
		c.target, p, err = start(s, ctx)
		return noSystem{}, []*process{p}, err
	}
	round := func(ctx context.Context, round int) (benchkit.Sample, error) {
		return c.served.measure(ctx, func(system) (benchkit.Sample, error) { return run(ctx, c.target) })
	}
	scenario.Cases = append(scenario.Cases, k.measured(round))
}

// noSystem stands for a server that no queue is opened at.
type noSystem struct{}

func (noSystem) open(context.Context, int) (*line, error) {
	return nil, errors.New("there is no queue")
}

// startDoor starts leat serve with a topic.
func (s *stage) startDoor(ctx context.Context) (*target, *process, error) {
	at, p, err := s.serveLeat(ctx)
	if err != nil {
		return nil, nil, err
	}
	bus, closeBus, err := at.dial(ctx)
	if err != nil {
		return nil, nil, err
	}
	err = bus.CreateTopic(ctx, httpTopic, topicConfig(leat.AckPage))
	url := "http://" + at.Gateway + "/v1/topics/" + httpTopic + "/messages"
	return &target{url: url, leat: at}, p, errors.Join(err, closeBus())
}

func (s *stage) startEcho(ctx context.Context) (*target, *process, error) {
	p, address, err := s.startServer(ctx, echoVerb)
	return &target{url: "http://" + address + "/"}, p, err
}

// post posts messages, as fast as the answers come.
func (s *suite) post(ctx context.Context, to *target) (sample benchkit.Sample, err error) {
	transport := &http.Transport{MaxIdleConnsPerHost: httpClients}
	defer transport.CloseIdleConnections()
	client := &http.Client{Transport: transport}
	posts := make([]poster, httpClients)
	var tasks sync.WaitGroup
	start := time.Now()
	end := start.Add(s.length)
	for i := range posts {
		tasks.Go(func() { posts[i].run(ctx, client, to.url, end) })
	}
	tasks.Wait()
	took := time.Since(start)
	all := benchkit.NewHistogram()
	for i := range posts {
		err = errors.Join(err, posts[i].err)
		all.Merge(posts[i].latencies)
	}
	sample.Measured(all)
	sample.Ops = sample.Latency.Count
	sample.Rate = float64(sample.Ops) / took.Seconds()
	return sample, err
}

// poster is one connection.
type poster struct {
	latencies *benchkit.Histogram
	err       error
}

func (p *poster) run(ctx context.Context, client *http.Client, url string, end time.Time) {
	p.latencies = benchkit.NewHistogram()
	value := newMessage(httpSize)
	for begun := time.Now(); ; {
		if p.err = postOne(ctx, client, url, value); p.err != nil {
			return
		}
		now := time.Now()
		p.latencies.Record(int64(now.Sub(begun)))
		if begun = now; now.After(end) {
			return
		}
	}
}

func postOne(ctx context.Context, client *http.Client, url string, value []byte) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, url, bytes.NewReader(value))
	if err != nil {
		return err
	}
	answer, err := client.Do(request)
	if err != nil {
		return err
	}
	text, err := io.ReadAll(answer.Body)
	err = errors.Join(err, answer.Body.Close())
	if err == nil && answer.StatusCode != http.StatusOK {
		err = fmt.Errorf("POST %s: %s %q", url, answer.Status, text)
	}
	return err
}
