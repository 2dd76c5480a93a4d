package httpdoor

import (
	"cmp"
	"context"
	"encoding/json"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/leatbus/leat"
	"github.com/leatbus/leat/core"
	"github.com/leatbus/leat/internal/messagedoc"
)

const (
	eventPlaces   = 256 // partitions of one stream: each event carries the places in all of them
	heartbeatWait = 15 * time.Second
	eventRetry    = "retry: 1000\n\n" // ms until an EventSource connects again
	keptBytes     = 256 << 10         // a larger buffer is not kept
)

func (d *Door) eventRoutes() {
	d.handle(&huma.Operation{
		OperationID: "events", Method: http.MethodGet, Path: "/v1/topics/{topic}/events",
		Summary: "Follow a topic by server-sent events", Tags: []string{"read"},
		Description: "Each message is an event whose data is a Message and whose id is the cursor behind " +
			"it, over all partitions: an EventSource that connects again sends it as Last-Event-ID and goes " +
			"on exactly " +
			"there. An event gap tells what retention took meanwhile, an event problem why the stream ends. A " +
			"comment comes every 15 s. A topic of more than 256 partitions is read a partition at a time.",
		Parameters: []*huma.Param{topicParam(),
			queryParam("from", "earliest, latest (the default), an offset, @TIME or a cursor",
				&huma.Schema{Type: huma.TypeString}),
			queryParam("filter", "Only messages that pass this expression; see docs/filters.md",
				&huma.Schema{Type: huma.TypeString}),
			queryParam("partition", "Only this partition",
				&huma.Schema{Type: huma.TypeInteger, Minimum: new(0.0)}),
			headerParam("Last-Event-ID", "A cursor; wins over from"),
		},
		Responses: map[string]*huma.Response{"200": {Description: "The stream", Content: map[string]*huma.MediaType{
			"text/event-stream": {Schema: schemaOf[Message](d)}}}},
		Errors: []int{http.StatusBadRequest, http.StatusNotFound, http.StatusRequestedRangeNotSatisfiable},
	}, d.events)
}

// following is a subscription that a client follows, and where it is.
type following struct {
	sub  *leat.Subscription
	at   places
	gaps []Gap
}

// follow subscribes from a place that a client gives. partition may be -1, for all.
func (d *Door) follow(ctx context.Context, topic, from string, partition int32,
	options ...leat.SubscribeOption,
) (*following, error) {
	start, err := parseStart(from)
	if err != nil {
		return nil, refuse(http.StatusBadRequest, "follow topic", "from: %v", err)
	}
	info, err := d.topic(ctx, topic)
	if err != nil {
		return nil, err
	}
	f := &following{}
	if f.at, f.gaps, err = start.resolve(info, partition); err != nil {
		return nil, err
	}
	if len(f.at) > eventPlaces {
		return nil, refuse(http.StatusUnprocessableEntity, "follow topic "+core.Quote(topic),
			"%d partitions, at most %d: give partition", len(f.at), eventPlaces)
	}
	f.sub, err = d.bus.Subscribe(topic, append(options, leat.FromEach(f.at.positions()))...)
	return f, err
}

// events is the handler of a stream of events.
func (d *Door) events(w http.ResponseWriter, r *http.Request) error {
	query, err := queryOf(r, "from", "partition", "filter")
	if err != nil {
		return err
	}
	partition, err := partitionOf(query)
	if err != nil {
		return err
	}
	leave, err := d.enter()
	if err != nil {
		return err
	}
	defer leave()
	ctx, cancel := d.streamContext(r)
	defer cancel()
	from := cmp.Or(r.Header.Get("Last-Event-ID"), query.Get("from"), "latest")
	f, err := d.follow(ctx, r.PathValue("topic"), from, partition, leat.Filter(query.Get("filter")))
	if err != nil {
		return err
	}
	defer f.sub.Close()
	ctl := http.NewResponseController(w)
	_ = ctl.SetReadDeadline(time.Time{}) // net/http reads on, to notice that the client goes
	header := w.Header()
	header["Content-Type"] = []string{"text/event-stream"}
	header["Cache-Control"] = []string{"no-cache"}
	s := &eventStream{door: d, w: w, ctl: ctl, at: f.at}
	s.begin(f.gaps)
	s.run(ctx, f.sub)
	return nil
}

// eventStream writes events. A write that fails ends it: who does not read has gone.
type eventStream struct {
	door   *Door
	w      http.ResponseWriter
	ctl    *http.ResponseController
	at     places
	buf    []byte
	failed bool
}

// begin tells where the stream begins, so that a client that gets nothing else can go on there too.
func (s *eventStream) begin(gaps []Gap) {
	s.buf = append(s.buf, eventRetry...)
	s.buf = append(append(s.at.append(append(s.buf, "id: "...)), '\n'), '\n')
	for _, gap := range gaps {
		s.document("gap", gap)
	}
	s.flush()
}

// run writes messages until ctx ends or the client goes.
func (s *eventStream) run(ctx context.Context, sub *leat.Subscription) {
	for !s.failed {
		waiting, cancel := context.WithTimeout(ctx, s.door.heartbeat)
		err := s.follow(waiting, sub)
		closed := waiting.Err() == nil
		cancel()
		switch {
		case err != nil:
			s.door.logger.Warn("a stream of events has ended", "error", err)
			s.document("problem", problemOf(err))
			s.flush()
			return
		case ctx.Err() != nil || closed:
			return
		}
		s.buf = append(s.buf, ": still here\n\n"...)
		s.flush()
	}
}

// follow writes what comes, a batch at a time, until ctx ends.
func (s *eventStream) follow(ctx context.Context, sub *leat.Subscription) error {
	for b, err := range sub.Batches(ctx) {
		if err != nil {
			return err
		}
		err = s.batch(b)
		b.Release()
		if err != nil {
			return err
		}
		if s.flush(); s.failed {
			return nil
		}
	}
	return nil
}

func (s *eventStream) batch(b *leat.Batch) error {
	for m, err := range b.Messages() {
		if err != nil {
			return err
		}
		s.at.passed(m.Partition, m.Offset+1)
		s.buf = append(s.at.append(append(s.buf, "id: "...)), "\ndata: "...)
		s.buf = append(messagedoc.Append(s.buf, m), '\n', '\n')
		if len(s.buf) >= chunkBytes {
			s.write()
		}
	}
	s.at.passed(b.Partition, b.Next) // also what a filter leaves out
	return nil
}

// document writes an event of another kind.
func (s *eventStream) document(kind string, v any) {
	text, err := json.Marshal(v)
	if err != nil {
		panic("httpdoor: an event that JSON cannot spell") // numbers and texts
	}
	s.buf = append(append(append(s.buf, "event: "...), kind...), "\ndata: "...)
	s.buf = append(append(s.buf, text...), '\n', '\n')
}

func (s *eventStream) write() {
	if s.failed || len(s.buf) == 0 {
		return
	}
	_ = s.ctl.SetWriteDeadline(s.door.in(writeWait)) // a connection without deadlines waits for ever
	_, err := s.w.Write(s.buf)
	s.failed = err != nil
	if s.buf = s.buf[:0]; cap(s.buf) > keptBytes {
		s.buf = nil
	}
}

func (s *eventStream) flush() {
	s.write()
	if !s.failed {
		s.failed = s.ctl.Flush() != nil
	}
}
