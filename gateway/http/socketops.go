package httpdoor

import (
	"bytes"
	"context"
	"encoding/json"
	"net/http"
	"strconv"
	"sync"
	"sync/atomic"

	"github.com/leatbus/leat"
	"github.com/leatbus/leat/core"
	"github.com/leatbus/leat/internal/messagedoc"
)

// SocketRequest is what a client says over a WebSocket.
type SocketRequest struct {
	Op string `json:"op" enum:"publish,subscribe,credit,ack,unsubscribe,ping"`
	// Ref returns in the answer.
	Ref int64 `json:"ref,omitempty" doc:"Returns in the answer"`

	Topic   string          `json:"topic,omitempty" doc:"Of publish and subscribe"`
	Message json.RawMessage `json:"message,omitempty" doc:"Of publish: a Line"`
	Level   string          `json:"ack,omitempty" enum:"none,page,disk" doc:"Of publish: the level"`

	Sub       string `json:"sub,omitempty" maxLength:"64" doc:"Name of a subscription, which the client gives"`
	From      string `json:"from,omitempty" doc:"Of subscribe: as in a request of events"`
	Partition *int32 `json:"partition,omitempty" doc:"Of subscribe: only this one; of ack"`
	Group     string `json:"group,omitempty" doc:"Of subscribe: the stream group to join"`
	Credit    int64  `json:"credit,omitempty" minimum:"0" doc:"Of subscribe, credit: messages more to be sent"`
	Offset    *int64 `json:"offset,omitempty" doc:"Of ack: this one and all before it"`
}

// SocketAnswer is what a client hears over a WebSocket.
type SocketAnswer struct {
	Op      string          `json:"op" doc:"As in docs/http.md"`
	Ref     int64           `json:"ref,omitempty" doc:"Of the request"`
	Receipt *Receipt        `json:"receipt,omitempty" doc:"Of published"`
	Sub     string          `json:"sub,omitempty" doc:"The subscription that it is about"`
	At      string          `json:"at,omitempty" doc:"The cursor to go on from; not in a group"`
	Message json.RawMessage `json:"message,omitempty" doc:"A Message"`
	Gap     *Gap            `json:"gap,omitempty" doc:"What retention took before the subscription began"`
	Error   *Problem        `json:"error,omitempty" doc:"Of error and ended"`
}

// socketProducer is a producer of one connection.
type socketProducer struct {
	producer *leat.Producer
	spread   spread
	spoilt   atomic.Bool // it is of no use any more
}

// socketSub is a subscription of one connection.
type socketSub struct {
	socket *socket
	name   string
	sub    *leat.Subscription
	at     places // nil in a group
	group  bool
	stop   context.CancelFunc
	ended  chan struct{} // closed when nothing of it is sent any more
	credit atomic.Int64
	more   chan struct{} // capacity 1: credit has grown

	mu   sync.Mutex      // guards the following
	sent map[int32]int64 // by partition: the offset behind what was sent
}

// parseSocketRequest reads a frame. What was read is there also where the frame is wrong.
func parseSocketRequest(text []byte) (q SocketRequest, err error) {
	decoder := json.NewDecoder(bytes.NewReader(text))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&q); err != nil {
		return q, refuse(http.StatusBadRequest, "read frame", "%v", err)
	}
	if len(bytes.TrimSpace(text[decoder.InputOffset():])) > 0 {
		return q, refuse(http.StatusBadRequest, "read frame", "something follows the document")
	}
	return q, nil
}

// request does what a frame asks for. It is answered once.
func (s *socket) request(text []byte) {
	q, err := parseSocketRequest(text)
	answer := &SocketAnswer{Ref: q.Ref, Sub: q.Sub}
	if err == nil {
		switch q.Op {
		case "publish":
			if err = s.publish(&q); err == nil {
				return // answered when it is stored
			}
		case "subscribe":
			err = s.subscribe(&q, answer)
			if err == nil {
				return
			}
		case "unsubscribe":
			answer.Op, err = "unsubscribed", s.unsubscribe(&q)
		case "credit":
			answer.Op, err = "credited", s.grant(&q)
		case "ack":
			answer.Op, err = "acked", s.ack(&q)
		case "ping":
			answer.Op = "pong"
		default:
			err = refuse(http.StatusBadRequest, "read frame", "op %s: want publish, subscribe, credit, ack, "+
				"unsubscribe or ping", core.Quote(q.Op))
		}
	}
	if err != nil {
		answer.Op, answer.Error = "error", problemOf(err)
	}
	s.answer(answer)
}

func (s *socket) publish(q *SocketRequest) error {
	if err := core.Authorize(s.principal, core.ActionPublish, q.Topic); err != nil {
		return err
	}
	key := producerKey{topic: q.Topic}
	var err error
	if q.Level != "" {
		if key.ack, err = core.ParseAck(q.Level); err != nil {
			return err
		}
	}
	if q.Message == nil {
		return refuse(http.StatusBadRequest, "publish", "message is missing")
	}
	parsed, err := parseLine(q.Message)
	if err != nil {
		return err
	}
	byID := goesByID(&parsed.message, parsed.partition)
	key.manual = parsed.partition || byID
	p, err := s.producerFor(key)
	if err != nil {
		return err
	}
	if byID {
		id := parsed.message.ID
		if parsed.message.Partition, err = p.spread.partition(s.ctx, s.door.bus, q.Topic, id); err != nil {
			return err
		}
	}
	ref := q.Ref
	p.producer.PublishAsync(parsed.message, func(r leat.Receipt, err error) {
		if err != nil {
			if spoilt(err) {
				p.spoilt.Store(true)
			}
			s.answer(&SocketAnswer{Op: "error", Ref: ref, Error: problemOf(err)})
			return
		}
		s.answer(&SocketAnswer{Op: "published", Ref: ref, Receipt: &Receipt{r.Topic, r.Partition, r.Offset,
			r.Time.UTC(), r.Duplicate, r.Handle}})
	})
	return nil
}

func (s *socket) subscribe(q *SocketRequest, answer *SocketAnswer) error {
	op := "subscribe to topic " + core.Quote(q.Topic)
	if err := core.Authorize(s.principal, core.ActionRead, q.Topic); err != nil {
		return err
	}
	switch {
	case q.Sub == "" || len(q.Sub) > 64:
		return refuse(http.StatusBadRequest, op, "sub: want a name of 1 to 64 bytes")
	case s.subs[q.Sub] != nil:
		return refuse(http.StatusConflict, op, "sub %s is open already", core.Quote(q.Sub))
	case len(s.subs) >= socketSubs:
		return core.Errorf(core.CodeLimited, op, "more than %d subscriptions of one WebSocket", socketSubs)
	case q.Credit < 0 || q.Credit > socketCreditUp:
		return refuse(http.StatusBadRequest, op, "credit %d: want up to %d", q.Credit, socketCreditUp)
	case q.Group != "" && q.Partition != nil:
		return refuse(http.StatusBadRequest, op, "partition with a group, which shares them out itself")
	}
	sub := &socketSub{socket: s, name: q.Sub, group: q.Group != "", ended: make(chan struct{}),
		more: make(chan struct{}, 1), sent: map[int32]int64{}}
	sub.credit.Store(q.Credit)
	if q.Credit == 0 {
		sub.credit.Store(socketCredit)
	}
	gaps, err := sub.open(q)
	if err != nil {
		return err
	}
	s.subs[q.Sub] = sub
	var ctx context.Context
	ctx, sub.stop = context.WithCancel(s.ctx)
	answer.Op = "subscribed"
	if sub.at != nil {
		answer.At = sub.at.String()
	}
	s.answer(answer)
	for i := range gaps {
		s.tell(&SocketAnswer{Op: "gap", Sub: sub.name, Gap: &gaps[i]})
	}
	s.tasks.Go(func() { sub.run(ctx) })
	return nil
}

// open subscribes, from a place of the client, or as a member of a group.
func (b *socketSub) open(q *SocketRequest) ([]Gap, error) {
	d := b.socket.door
	if !b.group {
		from, partition := q.From, int32(-1)
		if from == "" {
			from = "latest"
		}
		if q.Partition != nil {
			if partition = *q.Partition; partition < 0 {
				return nil, refuse(http.StatusBadRequest, "subscribe", "partition %d: want 0 or more", partition)
			}
		}
		f, err := d.follow(b.socket.ctx, q.Topic, from, partition)
		if err != nil {
			return nil, err
		}
		b.sub, b.at = f.sub, f.at
		return f.gaps, nil
	}
	options := []leat.SubscribeOption{leat.Group(q.Group)}
	if q.From != "" {
		start, err := parseStart(q.From)
		if err != nil || start.places != nil {
			return nil, refuse(http.StatusBadRequest, "subscribe", "from: want earliest, latest, an offset or @TIME "+
				"with a group")
		}
		options = append(options, leat.From(start.at))
	}
	var err error
	b.sub, err = d.bus.Subscribe(q.Topic, options...)
	return nil, err
}

// run sends messages while there is credit.
func (b *socketSub) run(ctx context.Context) {
	defer close(b.ended)
	s := b.socket
	if !b.await(ctx) {
		return
	}
	for m, err := range b.sub.Messages(ctx) {
		if err != nil {
			s.tell(&SocketAnswer{Op: "ended", Sub: b.name, Error: problemOf(err)})
			return
		}
		if !s.wait(ctx) {
			return
		}
		b.mu.Lock()
		b.sent[m.Partition] = m.Offset + 1
		b.mu.Unlock()
		b.credit.Add(-1)
		s.push(socketFrame{b.frame(m), false})
		if !b.await(ctx) {
			return
		}
	}
	if ctx.Err() == nil {
		s.tell(&SocketAnswer{Op: "ended", Sub: b.name,
			Error: problemOf(core.NewError(core.CodeDraining, "follow topic", nil))})
	}
}

// await waits for credit, and reports whether there is some.
func (b *socketSub) await(ctx context.Context) bool {
	for b.credit.Load() <= 0 {
		select {
		case <-b.more:
		case <-ctx.Done():
			return false
		}
	}
	return true
}

// frame is the document of a message.
func (b *socketSub) frame(m *leat.Message) []byte {
	text := make([]byte, 0, 256+len(m.Key)+len(m.Value))
	text = append(text, `{"op":"message","sub":`...)
	text = messagedoc.AppendText(text, messagedoc.ValidText(b.name))
	if b.at != nil {
		b.at.passed(m.Partition, m.Offset+1)
		text = append(b.at.append(append(text, `,"at":"`...)), '"')
	}
	text = append(text, `,"message":`...)
	return append(messagedoc.Append(text, m), '}')
}

// subOf finds the subscription that a request is about.
func (s *socket) subOf(q *SocketRequest) (*socketSub, error) {
	if b := s.subs[q.Sub]; b != nil {
		return b, nil
	}
	return nil, refuse(http.StatusNotFound, q.Op, "there is no subscription %s", core.Quote(q.Sub))
}

func (s *socket) grant(q *SocketRequest) error {
	b, err := s.subOf(q)
	if err != nil {
		return err
	}
	if now := b.credit.Load(); q.Credit < 1 || q.Credit > socketCreditUp-now {
		return refuse(http.StatusBadRequest, "credit", "credit %d: want 1 to %s", q.Credit,
			strconv.FormatInt(socketCreditUp-max(now, 0), 10))
	}
	b.credit.Add(q.Credit)
	nudge(b.more)
	return nil
}

// ack acknowledges what was sent, up to an offset of a partition.
func (s *socket) ack(q *SocketRequest) error {
	b, err := s.subOf(q)
	if err != nil {
		return err
	}
	if !b.group || q.Partition == nil || q.Offset == nil {
		return refuse(http.StatusBadRequest, "ack", "want a subscription with a group, partition and offset")
	}
	b.mu.Lock()
	sent := b.sent[*q.Partition]
	b.mu.Unlock()
	if *q.Offset < 0 || *q.Offset >= sent {
		return refuse(http.StatusBadRequest, "ack", "offset %d of partition %d was not sent", *q.Offset,
			*q.Partition)
	}
	return b.sub.Backend().Ack(*q.Partition, *q.Offset)
}

// unsubscribe ends a subscription: what was acked is stored when it returns.
func (s *socket) unsubscribe(q *SocketRequest) error {
	b, err := s.subOf(q)
	if err != nil {
		return err
	}
	b.stop()
	<-b.ended
	delete(s.subs, q.Sub)
	return b.sub.Close()
}
